// decoder: builds the graph of a decoder. One block builder serves training, evaluation, plain logits and cached
// generation: they differ in the source of keys and values and in the rows that the last block computes. Families
// differ in the flags of the configuration: norms and their places, biases (in the weights), windows, RoPE,
// feed-forward.
#include "decoder.h"

#include "moe_block.h"

// ---- parts of a block ----

// x + the projection's output, which is normed first if the family has that norm.
static Tensor *project_onto(const Pass *p, int64_t layer, Projection which, NormSite post, Tensor *h, Tensor *x,
                            const int32_t *token) {
    const Norm *n = &p->m->layers[layer].norms[post];
    if (!n->weight) return pass_project(p, layer, which, h, x, token);
    return op_add(p->t, x, pass_norm(p, n, pass_project(p, layer, which, h, NULL, token)));
}

// Heads of q or k: norm, then rotation.
static Tensor *heads(const Pass *p, int64_t layer, NormSite site, Tensor *x, const int32_t *pos) {
    const Model *m = p->m;
    const ModelConfig *c = &m->config;
    const float *weight = m->layers[layer].norms[site].weight;
    bool local = c->layer_sliding[layer] && c->rope_local.scaling != ROPE_NONE;
    if (weight) x = op_head_rmsnorm(p->t, x, weight, c->norm_eps, c->head_size);
    if (c->rope.scaling == ROPE_NONE) return x;
    return op_rope(p->t, x, local ? m->cos_sin_local : m->cos_sin, pos, c->head_size,
                   local ? c->rope_local.rotated : c->rope.rotated);
}

// Keys or values written into the cache, for later steps too.
static Tensor *into_cache(const Pass *p, const Mat *cache, int64_t layer, Tensor *x) {
    return op_cache_write(p->t, tape_external(p->t, cache[layer]), x, p->cache_row);
}

// Up to the down projection: the part that RECOMPUTE_FFN recomputes.
static Tensor *build_mid(const Pass *p, int64_t layer, Tensor *h, const int32_t *token) {
    const ModelConfig *c = &p->m->config;
    if (!c->has_glu) return op_activation(p->t, pass_project(p, layer, PROJ_UP, h, NULL, token), c->activation);
    Tensor *mid[2];
    pass_project_stacked(p, layer, PROJ_GATE, 2, h, token, mid);
    return op_glu(p->t, mid[0], mid[1], c->glu);
}

static Tensor *build_ffn(const Pass *p, int64_t layer, Tensor *x, const int32_t *token) {
    const ModelConfig *c = &p->m->config;
    const ModelLayer *l = &p->m->layers[layer];
    pass_recompute_begin(p, RECOMPUTE_FFN);
    Tensor *h = pass_norm(p, &l->norms[NORM_FFN], x), *mid;
    MoeRouting routing;
    if (l->experts)
        mid = moe_mid(p->t, c, l, h, &routing);
    else
        mid = build_mid(p, layer, h, token);
    pass_recompute_end(p, RECOMPUTE_FFN);
    if (l->experts) return moe_down(p->t, c, l, mid, x, &routing);
    return project_onto(p, layer, PROJ_DOWN, NORM_POST_FFN, mid, x, token);
}

static Tensor *build_block(const Pass *p, int64_t layer, Tensor *x) {
    const ModelConfig *c = &p->m->config;
    bool narrow = pass_is_narrow(p, layer);
    const int32_t *token = narrow ? p->last_rows : NULL;
    Tensor *qkv[3];
    pass_qkv(p, layer, pass_norm(p, &p->m->layers[layer].norms[NORM_ATTN], x), qkv);
    Tensor *q = heads(p, layer, NORM_Q, qkv[0], narrow ? p->last_pos : p->pos);
    Tensor *k = heads(p, layer, NORM_K, qkv[1], p->pos), *v = qkv[2];
    if (p->cache) {
        k = into_cache(p, p->cache->k, layer, k);
        v = into_cache(p, p->cache->v, layer, v);
    }
    if (narrow) x = op_gather_rows(p->t, x, p->last_rows, p->n_last);
    AttentionShape shape = narrow ? p->last_attention : p->attention;
    shape.window = c->layer_sliding[layer] ? c->window : 0;
    Tensor *mix = op_attention(p->t, q, k, v, &shape);
    x = project_onto(p, layer, PROJ_O, NORM_POST_ATTN, mix, x, token);
    return build_ffn(p, layer, x, token);
}

// ---- whole graphs ----

static Tensor *embed(Tape *t, const Model *m, const int32_t *ids, const int32_t *pos, int64_t tokens) {
    Tensor *x = op_embed(t, &m->embedding, ids, tokens, m->config.embed_scale);
    return m->config.positions_table ? op_embed_add(t, x, &m->position_embedding, pos) : x;
}

static Tensor *build_blocks(const Pass *p, Tensor *x) {
    for (int64_t i = 0; i < p->m->config.layers; i++) {
        if (p->o && p->o->recompute == RECOMPUTE_OFFLOAD) tape_offload(p->t, x);
        pass_recompute_begin(p, RECOMPUTE_BLOCKS);
        x = build_block(p, i, x);
        pass_recompute_end(p, RECOMPUTE_BLOCKS);
    }
    return pass_norm(p, &p->m->final_norm, x);
}

void decoder_build_loss(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, const PassOptions *o) {
    CHECK(in->shape.scored > 0, "a row without supervised tokens has no loss");
    Pass p = {.t = t, .m = m, .a = a, .o = o, .state = in->at.state, .pos = in->at.pos, .places = pass_places(in)};
    p.attention = pass_row_attention(m, in);
    pass_keep_scored(&p, in);
    Tensor *x = build_blocks(&p, pass_noise(&p, embed(t, m, in->at.ids, in->at.pos, in->shape.tokens), in));
    HeadLoss loss = {.targets = in->at.target,
                     .state = in->at.state,
                     .label_smoothing = o->label_smoothing,
                     .softcap = m->config.final_softcap};
    if (a && a->config.labels)
        pass_class_loss(&p, x, in);
    else
        op_head_loss(t, x, &m->head, &loss, in->result);
}

void decoder_build_logits(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, Mat out) {
    Pass p = {.t = t, .m = m, .a = a, .pos = in->at.pos, .attention = pass_row_attention(m, in)};
    Tensor *x = build_blocks(&p, embed(t, m, in->at.ids, in->at.pos, in->shape.tokens));
    op_logits(t, x, &m->head, out, m->config.final_softcap);
}

void decoder_build_class_logits(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, Mat out) {
    Pass p = {.t = t, .m = m, .a = a, .pos = in->at.pos, .attention = pass_row_attention(m, in)};
    pass_keep_scored(&p, in);
    op_logits(t, build_blocks(&p, embed(t, m, in->at.ids, in->at.pos, in->shape.tokens)), &a->class_head, out, 0);
}

void decoder_build_decode(Tape *t, const Model *m, const Adapter *a, const DecodeInputs *in, const KvCache *cache,
                          Mat out) {
    Pass p = {.t = t, .m = m, .a = a, .pos = in->pos, .cache = cache, .cache_row = in->cache_row};
    p.attention = pass_attention(&m->config, in->samples);
    p.attention.q_start = in->q_start;
    p.attention.k_start = in->k_start;
    p.attention.k_len = in->k_len;
    p.attention.q_pos = in->pos;
    if (in->samples < in->tokens) {
        p.last_rows = in->last;
        p.n_last = in->samples;
        p.last_pos = in->last_pos;
        p.last_attention = p.attention;
        p.last_attention.q_start = in->last_q_start;
        p.last_attention.q_pos = in->last_pos;
    }
    Tensor *x = build_blocks(&p, embed(t, m, in->ids, in->pos, in->tokens));
    op_logits(t, x, &m->head, out, m->config.final_softcap);
}
