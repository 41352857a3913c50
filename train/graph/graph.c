// graph: whole graphs: the embedding, the blocks (decoder.c, encoder.c), and one of the ends.
#include "graph.h"

#include "pass.h"

// ---- the rows of a pass as attention sees them ----

static AttentionShape attention_of(const ModelConfig *c, int64_t samples) {
    return (AttentionShape){.heads = c->heads,
                            .kv_heads = c->kv_heads,
                            .head_size = c->head_size,
                            .samples = samples,
                            .softcap = c->attn_softcap,
                            .scale = c->query_scale};
}

// Every token is a query.
static AttentionShape row_attention(const Model *m, const PassInputs *in) {
    AttentionShape s = attention_of(&m->config, in->shape.samples);
    s.q_start = s.k_start = in->at.start;
    s.k_len = in->at.length;
    s.q_pos = in->at.pos;
    s.longest = in->shape.longest;
    return s;
}

// The last block computes the scored positions only. With padding, scored == tokens does not mean that every token is
// scored.
static void keep_scored(Pass *p, const PassInputs *in) {
    bool padded = !in->backend->host_memory;
    if (in->shape.scored == in->shape.tokens && !padded) return;
    p->last_places =
        (TokenPlaces){.index = padded ? in->at.scored_key_index : in->at.position, .row = in->at.scored_key_row};
    p->last_rows = in->at.position;
    p->n_last = in->shape.scored;
    p->last_pos = in->at.q_pos;
    p->last_rotation = in->at.scored_rotation;
    p->last_attention = p->attention;
    p->last_attention.q_start = in->at.q_start;
    p->last_attention.q_pos = in->at.q_pos;
    p->last_attention.longest = 0;
}

// ---- stages of a pipeline ----

bool graph_has_gradient_at(const Adapter *a, int64_t layer) {
    return a && a->grad && a->n_segments && a->segments[0].layer >= 0 && a->segments[0].layer < layer;
}

static Boundary boundary_of(const Pass *p, const PassInputs *in, void *activation, void *grad) {
    DType dtype = in->backend->activation;
    int64_t rows = in->shape.tokens, cols = p->m->config.hidden;
    return (Boundary){mat_of(activation, dtype, rows, cols), mat_of(grad, dtype, rows, cols)};
}

static Tensor *receive(const Pass *p, const PassInputs *in) {
    bool graded = graph_has_gradient_at(p->a, p->m->first_layer);
    CHECK(p->o && p->o->edges, "a later stage of a pipeline needs its edges");
    Boundary b = boundary_of(p, in, p->o->edges->in, graded ? p->o->edges->in_grad : NULL);
    return op_receive(p->t, &b);
}

static void send(const Pass *p, Tensor *x, const PassInputs *in) {
    Boundary b = boundary_of(p, in, p->o->edges->out, p->o->edges->out_grad);
    op_send(p->t, x, &b);
}

// ---- from ids to the last hidden states ----

static Tensor *embed(const Pass *p, const int32_t *ids, int64_t tokens) {
    const Model *m = p->m;
    Tensor *x = op_embed(p->t, &m->embedding, ids, tokens, m->config.embed_scale / m->config.residual_scale);
    return m->config.positions_table ? op_embed_add(p->t, x, &m->position_embedding, p->pos) : x;
}

static Tensor *embed_encoder(const Pass *p, const PassInputs *in) {
    const Model *m = p->m;
    Tensor *x = pass_noise(p, op_embed(p->t, &m->embedding, in->at.ids, in->shape.tokens, 1), in);
    if (m->config.positions_table) x = op_embed_add(p->t, x, &m->position_embedding, in->at.pos);
    if (m->config.token_types) x = op_embed_add(p->t, x, &m->type_embedding, in->at.type);
    return pass_norm(p, &m->embed_norm, x);
}

// The layer before the adapter's classifier that is trained with it.
static Tensor *class_dense(const Pass *p, Tensor *x) {
    const Adapter *a = p->a;
    AdapterHead head = adapter_head(a);
    float *grad = a->grad;
    return op_dense(p->t, x, &a->class_dense, grad ? grad + head.dense->offset : NULL,
                    grad ? grad + head.dense_bias->offset : NULL);
}

// What an encoder's head reads: the states of labelled tokens, the pooler's output for each sample, or for masked
// language modelling (and classifiers that share its layers) the transformed states of all rows of x.
static Tensor *encoder_end(const Pass *p, Tensor *x) {
    const Model *m = p->m;
    x = pass_norm(p, &m->final_norm, x);
    const Architecture *arch = m->config.arch;
    bool classifies = p->a && p->a->config.labels;
    if (classifies && p->a->config.problem == PROBLEM_TOKENS && !arch->masked_pooler) return x;
    if (classifies && p->a->class_dense.rows) return op_activation(p->t, class_dense(p, x), arch->class_activation);
    if (classifies && !arch->masked_pooler)
        return op_activation(p->t, op_linear(p->t, x, &m->pooler, NULL, NULL, 0), ACTIVATION_TANH);
    x = op_activation(p->t, op_linear(p->t, x, &m->masked_dense, NULL, NULL, 0), m->config.masked_activation);
    return pass_norm(p, &m->masked_norm, x);
}

static Tensor *blocks(const Pass *p, Tensor *x) {
    const Model *m = p->m;
    bool encoder = m->config.arch->encoder, normed_after = encoder && m->config.arch->norms & PROJ_BIT(NORM_POST_ATTN);
    for (int64_t i = m->first_layer; i < m->end_layer; i++) {
        if (m->stream) tape_stage(p->t, &m->stream->stages, (int)i);
        if (p->o && p->o->recompute == RECOMPUTE_OFFLOAD) tape_offload(p->t, x);
        pass_recompute_begin(p, RECOMPUTE_BLOCKS);
        x = normed_after ? encoder_block(p, i, x) : decoder_block(p, i, x);
        pass_recompute_end(p, RECOMPUTE_BLOCKS);
    }
    if (m->stream) tape_stage(p->t, &m->stream->stages, TAPE_NO_STAGE);
    if (!model_is_last(m)) return x;
    if (p->states) return pass_norm(p, &m->final_norm, x);
    if (!encoder) return pass_norm(p, p->a && p->a->config.labels ? &m->final_norm : &m->head_norm, x);
    return encoder_end(p, x);
}

// The last hidden states: of all positions, or of the scored ones only.
static Tensor *hidden(Pass *p, const PassInputs *in, bool scored_only) {
    bool encoder = p->m->config.arch->encoder;
    if (in->rope == &p->m->config.rope) { // of a teacher: a table of its own
        p->cos_sin = in->at.cos_sin;
        p->rotation = in->at.rotation;
    }
    p->attention = row_attention(p->m, in);
    p->attention.bidirectional = encoder;
    if (scored_only) keep_scored(p, in);
    if (!model_is_first(p->m)) return blocks(p, receive(p, in));
    return blocks(p, encoder ? embed_encoder(p, in) : pass_noise(p, embed(p, in->at.ids, in->shape.tokens), in));
}

// ---- the ends ----

// The adapter's classifier over x [samples, C].
static void class_loss(const Pass *p, Tensor *x, const PassInputs *in) {
    const Adapter *a = p->a;
    AdapterHead head = adapter_head(a);
    static const ClassLoss losses[] = {[PROBLEM_MULTI_LABEL] = CLASS_SIGMOID, [PROBLEM_REGRESSION] = CLASS_SQUARES};
    ClassHead h = {.loss = problem_is_each(a->config.problem) ? losses[a->config.problem] : CLASS_SOFTMAX,
                   .w = a->params + head.weight->offset,
                   .bias = head.bias ? a->params + head.bias->offset : NULL,
                   .dw = a->grad ? a->grad + head.weight->offset : NULL,
                   .dbias = a->grad && head.bias ? a->grad + head.bias->offset : NULL,
                   .labels = in->at.target,
                   .values = in->at.values,
                   .classes = a->config.labels,
                   .state = in->at.state,
                   .label_smoothing = p->o->label_smoothing,
                   .predicted = in->predicted,
                   .logits = in->logits};
    op_class_loss(p->t, x, &h, in->result);
}

static Pass scored_pass(Tape *t, const Model *m, const Adapter *a, const PassInputs *in, const PassOptions *o) {
    return (Pass){.t = t,
                  .m = m,
                  .a = a,
                  .o = o,
                  .state = in->at.state,
                  .pos = in->at.pos,
                  .places = {.index = in->at.key_index, .row = in->at.key_row}};
}

// The reference's losses are rounded as those of the policy are.
static HeadLoss token_losses(const Pass *p, const PassInputs *in, double *out) {
    return (HeadLoss){.targets = in->at.target,
                      .state = in->at.state,
                      .label_smoothing = out ? 0 : p->o->label_smoothing,
                      .softcap = p->m->config.final_softcap,
                      .token_loss = out,
                      .as_in_training = out != NULL};
}

void graph_build_top_logits(Tape *t, const PassInputs *in, const PassTeacher *teacher) {
    const Model *m = teacher->model;
    Pass p = scored_pass(t, m, teacher->adapter, in, &PASS_OPTIONS_EVAL);
    TopLogits top = {in->soft_ids, in->soft_values, teacher->loss.k, teacher->vocab, m->config.final_softcap};
    op_top_logits(t, hidden(&p, in, true), &m->head, &top);
}

static SoftTargets soft_targets(const PassInputs *in, const PassTeacher *teacher) {
    if (!teacher) return (SoftTargets){0};
    SoftTargets s = teacher->loss;
    s.ids = in->extras.soft.given ? in->at.soft_ids : in->soft_ids;
    s.values = in->extras.soft.given ? in->at.soft_values : in->soft_values;
    return s;
}

static void build_reference(Tape *t, const Model *m, const PassInputs *in, const PassPreference *preference) {
    Pass p = scored_pass(t, m, preference->reference, in, &PASS_OPTIONS_EVAL);
    Tensor *x = hidden(&p, in, true);
    HeadLoss loss = token_losses(&p, in, in->reference_loss);
    op_head_loss(t, x, &m->head, &loss, in->result);
}

static void preference_loss(const Pass *p, Tensor *x, const PassInputs *in) {
    PreferenceHead h = {token_losses(p, in, in->token_loss), p->o->preference->loss};
    h.preference.sequences = in->shape.samples;
    h.preference.start = in->at.q_start;
    h.preference.answer = in->at.answer;
    h.preference.desirable = in->at.desirable;
    h.preference.policy = in->token_loss;
    h.preference.reference = in->reference_loss;
    h.preference.state = in->at.state;
    op_preference_loss(p->t, x, &p->m->head, &h, in->result);
}

void graph_build_vectors(Tape *t, const Model *m, const Adapter *a, const PassInputs *in, const PassOptions *o) {
    Pass p = scored_pass(t, m, a, in, o);
    p.states = true;
    Tensor *x = hidden(&p, in, true);
    op_pool(t, x, in->at.q_start, mat_of(in->vectors, DTYPE_F32, in->shape.samples, m->config.hidden));
}

void graph_build_loss(Tape *t, const Model *m, const Adapter *a, const PassInputs *in, const PassOptions *o) {
    bool classifier = a && a->config.labels;
    CHECK(in->shape.scored > 0, "a row without supervised tokens has no loss");
    CHECK(classifier || m->head.rows || !model_is_last(m), "a model without a head");
    if (o->preference && preference_has_reference(o->preference->loss.kind)) build_reference(t, m, in, o->preference);
    if (o->teacher && o->teacher->model) graph_build_top_logits(t, in, o->teacher);
    Pass p = scored_pass(t, m, a, in, o);
    Tensor *x = hidden(&p, in, true);
    HeadLoss loss = token_losses(&p, in, NULL);
    loss.soft = soft_targets(in, o->teacher);
    if (!model_is_last(m))
        send(&p, x, in);
    else if (classifier)
        class_loss(&p, x, in);
    else if (o->preference)
        preference_loss(&p, x, in);
    else
        op_head_loss(t, x, &m->head, &loss, in->result);
}

void graph_build_logits(Tape *t, const Model *m, const Adapter *a, const PassInputs *in, Mat out) {
    Pass p = {.t = t, .m = m, .a = a, .pos = in->at.pos};
    op_logits(t, hidden(&p, in, false), &m->head, out, m->config.final_softcap);
}

void graph_build_class_logits(Tape *t, const Model *m, const Adapter *a, const PassInputs *in, Mat out) {
    Pass p = {.t = t, .m = m, .a = a, .pos = in->at.pos};
    op_logits(t, hidden(&p, in, true), &a->class_head, out, 0);
}

void graph_build_decode(Tape *t, const Model *m, const Adapter *a, const DecodeInputs *in, const KvCache *cache,
                        Mat out) {
    Pass p = {.t = t, .m = m, .a = a, .pos = in->pos, .cache = cache, .cache_row = in->cache_row};
    p.cos_sin = in->cos_sin;
    p.rotation = in->rotation;
    p.attention = attention_of(&m->config, in->samples);
    p.attention.q_start = in->q_start;
    p.attention.k_start = in->k_start;
    p.attention.k_len = in->k_len;
    p.attention.q_pos = in->pos;
    if (in->samples < in->tokens) {
        p.last_rows = in->last;
        p.n_last = in->samples;
        p.last_pos = in->last_pos;
        p.last_rotation = in->last;
        p.last_attention = p.attention;
        p.last_attention.q_start = in->last_q_start;
        p.last_attention.q_pos = in->last_pos;
    }
    op_logits(t, blocks(&p, embed(&p, in->ids, in->tokens)), &m->head, out, m->config.final_softcap);
}
