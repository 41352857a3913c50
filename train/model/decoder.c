// decoder: builds the decoder graph. One block builder serves training, evaluation, plain logits and cached generation:
// they differ in where keys and values come from and in which rows the last block goes on with.
#include "decoder.h"

#include <math.h>

// One pass: what every block needs to know.
typedef struct Pass {
    Tape *t;
    const Model *m;
    const Adapter *a;
    const DecoderOptions *o;
    const int32_t *pos;       // [T] rope positions
    AttentionShape attention; // queries = all rows
    // the last block goes on with these rows only; last_rows NULL: with all
    const int32_t *last_rows, *last_pos;
    int64_t n_last;
    AttentionShape last_attention; // queries = last_rows
    // cached generation
    const KvCache *cache; // NULL: keys and values are those of this row
    const int32_t *cache_row;
} Pass;

static Lora lora_of(const Pass *p, const AdapterSegment *a, const int32_t *token) {
    const AdapterSegment *b = a + 1;
    const DecoderOptions *o = p->o;
    char name[128];
    adapter_tensor_name(a, name, sizeof name);
    float *grad = p->a->grad;
    return (Lora){
        .a = p->a->params + a->offset,
        .b = p->a->params + b->offset,
        .da = grad ? grad + a->offset : NULL,
        .db = grad ? grad + b->offset : NULL,
        .rank = a->rows,
        .rows = b->rows,
        .scale = adapter_scale(&p->a->config),
        .dropout = o ? o->dropout : 0,
        .key = {.seed = o ? o->seed : 0, .stream = o ? o->step : 0, .module = rng_module(name), .row = o ? o->row : 0},
        .token = token};
}

// token: index of each row of x in the packed row (NULL: 0, 1, 2, ...), for dropout masks.
static Tensor *project(const Pass *p, int64_t layer, Projection which, Tensor *x, Tensor *residual,
                       const int32_t *token) {
    const AdapterSegment *a = p->a ? adapter_segment(p->a, layer, which) : NULL;
    Lora lora;
    if (a) lora = lora_of(p, a, token);
    return op_linear(p->t, x, &p->m->layers[layer].w[which], residual, a ? &lora : NULL, a != NULL);
}

static Tensor *build_keys(const Pass *p, int64_t layer, Tensor *h) {
    Tensor *k = project(p, layer, PROJ_K, h, NULL, NULL);
    k = op_rope(p->t, k, p->m->cos_sin, p->pos, p->m->config.head_size, p->m->config.head_size);
    if (!p->cache) return k;
    return op_cache_write(p->t, tape_external(p->t, p->cache->k[layer]), k, p->cache_row);
}

static Tensor *build_values(const Pass *p, int64_t layer, Tensor *h) {
    Tensor *v = project(p, layer, PROJ_V, h, NULL, NULL);
    if (!p->cache) return v;
    return op_cache_write(p->t, tape_external(p->t, p->cache->v[layer]), v, p->cache_row);
}

static Tensor *build_block(const Pass *p, int64_t layer, Tensor *x) {
    const ModelConfig *c = &p->m->config;
    const ModelLayer *l = &p->m->layers[layer];
    bool narrow = layer == c->layers - 1 && p->last_rows;
    const int32_t *token = narrow ? p->last_rows : NULL;
    Tensor *h = op_rmsnorm(p->t, x, l->norms[NORM_ATTN].weight, c->norm_eps);
    Tensor *k = build_keys(p, layer, h), *v = build_values(p, layer, h);
    if (narrow) {
        h = op_gather_rows(p->t, h, p->last_rows, p->n_last);
        x = op_gather_rows(p->t, x, p->last_rows, p->n_last);
    }
    Tensor *q = project(p, layer, PROJ_Q, h, NULL, token);
    q = op_rope(p->t, q, p->m->cos_sin, narrow ? p->last_pos : p->pos, c->head_size, c->head_size);
    Tensor *mix = op_attention(p->t, q, k, v, narrow ? &p->last_attention : &p->attention);
    x = project(p, layer, PROJ_O, mix, x, token);
    h = op_rmsnorm(p->t, x, l->norms[NORM_FFN].weight, c->norm_eps);
    Tensor *gate = project(p, layer, PROJ_GATE, h, NULL, token), *up = project(p, layer, PROJ_UP, h, NULL, token);
    return project(p, layer, PROJ_DOWN, op_glu(p->t, gate, up, c->glu), x, token);
}

static Tensor *build_blocks(const Pass *p, Tensor *x) {
    for (int64_t i = 0; i < p->m->config.layers; i++) {
        bool checkpoint = p->o && p->o->checkpoint;
        if (checkpoint) tape_checkpoint_begin(p->t);
        x = build_block(p, i, x);
        if (checkpoint) tape_checkpoint_end(p->t);
    }
    return op_rmsnorm(p->t, x, p->m->final_norm.weight, p->m->config.norm_eps);
}

static AttentionShape attention_shape(const ModelConfig *c, int64_t samples) {
    return (AttentionShape){.heads = c->heads,
                            .kv_heads = c->kv_heads,
                            .head_size = c->head_size,
                            .samples = samples,
                            .scale = 1.0f / sqrtf((float)c->head_size)};
}

static AttentionShape row_attention(const Model *m, const RowInputs *in) {
    AttentionShape s = attention_shape(&m->config, in->samples);
    s.q_start = s.k_start = in->start;
    s.k_len = in->length;
    s.q_pos = in->pos;
    return s;
}

void decoder_build_loss(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, const DecoderOptions *o) {
    CHECK(in->scored > 0, "a row without supervised tokens has no loss");
    Pass p = {.t = t, .m = m, .a = a, .o = o, .pos = in->pos, .attention = row_attention(m, in)};
    if (in->scored < in->tokens) {
        p.last_rows = in->position;
        p.n_last = in->scored;
        p.last_pos = in->q_pos;
        p.last_attention = p.attention;
        p.last_attention.q_start = in->q_start;
        p.last_attention.q_pos = in->q_pos;
    }
    Tensor *x = op_embed(t, &m->embedding, in->ids, in->tokens, 1.0f);
    if (o->neftune_alpha > 0) {
        RngKey key = {.seed = o->seed, .stream = o->step, .module = rng_module("neftune"), .row = o->row};
        x = op_neftune(t, x, in->neftune, o->neftune_alpha, key);
    }
    HeadLoss loss = {.targets = in->target, .grad_scale = o->grad_scale, .label_smoothing = o->label_smoothing};
    op_head_loss(t, build_blocks(&p, x), &m->head, &loss, in->result);
}

void decoder_build_logits(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, Mat out) {
    Pass p = {.t = t, .m = m, .a = a, .pos = in->pos, .attention = row_attention(m, in)};
    Tensor *x = op_embed(t, &m->embedding, in->ids, in->tokens, 1.0f);
    op_logits(t, build_blocks(&p, x), &m->head, out, 0);
}

void decoder_build_decode(Tape *t, const Model *m, const Adapter *a, const DecodeInputs *in, const KvCache *cache,
                          Mat out) {
    Pass p = {.t = t, .m = m, .a = a, .pos = in->pos, .cache = cache, .cache_row = in->cache_row};
    p.attention = attention_shape(&m->config, in->samples);
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
    Tensor *x = op_embed(t, &m->embedding, in->ids, in->tokens, 1.0f);
    op_logits(t, build_blocks(&p, x), &m->head, out, 0);
}
