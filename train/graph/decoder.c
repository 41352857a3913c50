// decoder: a block of a decoder. It serves training, evaluation, plain logits and cached generation: they differ in the
// source of keys and values and in the rows that the last block computes. Families differ in the flags of the
// configuration: norms and their places, biases (in the weights), windows, RoPE, feed-forward.
#include "pass.h"

// x + the projection's output, which is normed first if the family has that norm.
static Tensor *project_onto(const Pass *p, int64_t layer, Projection which, NormSite post, Tensor *h, Tensor *x,
                            const int32_t *token) {
    const Norm *n = &p->m->layers[layer].norms[post];
    if (!n->weight) return pass_project(p, layer, which, h, x, token);
    return op_add(p->t, x, pass_norm(p, n, pass_project(p, layer, which, h, NULL, token)));
}

// The rotation of a layer. last: of last_rows only.
static RopeTable rope_of(const Pass *p, int64_t layer, bool last) {
    const Model *m = p->m;
    const ModelConfig *c = &m->config;
    bool local = c->layer_sliding[layer] && c->rope_local.scaling != ROPE_NONE;
    if (p->cos_sin && !local)
        return (RopeTable){p->cos_sin, last ? p->last_rotation : p->rotation, c->head_size, c->rope.rotated,
                           c->arch->interleaved_rope};
    return (RopeTable){local ? m->cos_sin_local : m->cos_sin, last ? p->last_pos : p->pos, c->head_size,
                       local ? c->rope_local.rotated : c->rope.rotated, c->arch->interleaved_rope};
}

static bool is_rotated(const ModelConfig *c, int64_t layer) {
    return c->rope.scaling != ROPE_NONE && !c->layer_unrotated[layer];
}

// Heads of q or k: norm, then rotation. last: x has last_rows only.
static Tensor *heads(const Pass *p, int64_t layer, NormSite site, Tensor *x, bool last) {
    const ModelConfig *c = &p->m->config;
    const float *weight = p->m->layers[layer].norms[site].weight;
    RopeTable rope = rope_of(p, layer, last);
    int64_t group = c->arch->wide_qk_norms ? tensor_cols(x) : c->head_size;
    if (site == NORM_Q && p->m->cos_sin_query) rope.cos_sin = p->m->cos_sin_query;
    if (weight) x = op_head_rmsnorm(p->t, x, weight, c->norm_eps, group);
    return !is_rotated(c, layer) ? x : op_rope(p->t, x, tensor_cols(x), &rope);
}

// Queries, keys and values of h, the first two with their heads' norms and rotation. Where they are columns of one
// matrix, q and k rotate together.
static void build_qkv(const Pass *p, int64_t layer, Tensor *h, Tensor *qkv[3]) {
    const ModelLayer *l = &p->m->layers[layer];
    bool narrow = pass_is_narrow(p, layer), norms = l->norms[NORM_Q].weight || l->norms[NORM_K].weight;
    if (l->qkv.rows && !norms && !p->m->cos_sin_query && is_rotated(&p->m->config, layer)) {
        RopeTable rope = rope_of(p, layer, false);
        Tensor *all = pass_stacked(p, layer, PROJ_Q, 3, h, NULL);
        all = op_rope(p->t, all, l->w[PROJ_Q].rows + l->w[PROJ_K].rows, &rope);
        pass_split(p, layer, PROJ_Q, 3, all, qkv);
        return;
    }
    pass_qkv(p, layer, h, qkv);
    qkv[0] = heads(p, layer, NORM_Q, qkv[0], narrow);
    qkv[1] = heads(p, layer, NORM_K, qkv[1], false);
}

// Keys or values written into the cache, for later steps too.
static Tensor *into_cache(const Pass *p, const Mat *cache, int64_t layer, Tensor *x) {
    return op_cache_write(p->t, tape_external(p->t, cache[layer]), x, p->cache_row);
}

// Routed experts up to the down projection: the inner activations of the chosen experts for h, scaled by their weights.
// *onto, to which its result is added, gets its biases.
static Tensor *moe_mid(const Pass *p, int64_t layer, Tensor *h, Tensor **onto, MoeRouting *r) {
    const ModelConfig *c = &p->m->config;
    const ModelLayer *l = &p->m->layers[layer];
    *r = op_moe_route(p->t, op_linear(p->t, h, &l->router, NULL, NULL, 0), c->experts_used,
                      c->renormalise_experts ? MOE_RENORMALISED : MOE_SOFTMAX);
    if (l->down_bias) *onto = op_moe_bias(p->t, *onto, l->down_bias, r);
    Tensor *x = op_moe_gather(p->t, h, r);
    Tensor *gate = pass_experts(p, layer, PROJ_EXPERT_GATE, x, r), *up = pass_experts(p, layer, PROJ_EXPERT_UP, x, r);
    return op_moe_scale(p->t, op_glu(p->t, gate, up, c->glu), r);
}

static Tensor *ffn_mid(const Pass *p, int64_t layer, Tensor *h, const int32_t *token) {
    const ModelConfig *c = &p->m->config;
    if (!c->has_glu) return op_activation(p->t, pass_project(p, layer, PROJ_UP, h, NULL, token), c->activation);
    Tensor *mid[2];
    pass_project_stacked(p, layer, PROJ_GATE, 2, h, token, mid);
    return op_glu(p->t, mid[0], mid[1], c->glu);
}

// The inner activations of the expert that every token uses, times the gate of each row.
static Tensor *shared_mid(const Pass *p, int64_t layer, Tensor *h, const int32_t *token) {
    const Weight *scale = &p->m->layers[layer].shared_gate;
    Tensor *gate = pass_project(p, layer, PROJ_SHARED_GATE, h, NULL, token);
    Tensor *up = pass_project(p, layer, PROJ_SHARED_UP, h, NULL, token);
    MoeRouting row = op_moe_route(p->t, op_linear(p->t, h, scale, NULL, NULL, 0), 1, MOE_SIGMOID);
    return op_moe_scale(p->t, op_glu(p->t, gate, up, p->m->config.glu), &row);
}

// RECOMPUTE_FFN recomputes all before the down projection.
static Tensor *build_experts(const Pass *p, int64_t layer, Tensor *x, const int32_t *token) {
    const ModelLayer *l = &p->m->layers[layer];
    MoeRouting r;
    pass_recompute_begin(p, RECOMPUTE_FFN);
    Tensor *h = pass_norm(p, &l->norms[NORM_FFN], x);
    Tensor *shared = l->shared_gate.rows ? shared_mid(p, layer, h, token) : NULL;
    Tensor *mid = moe_mid(p, layer, h, &x, &r);
    pass_recompute_end(p, RECOMPUTE_FFN);
    if (shared) x = pass_project(p, layer, PROJ_SHARED_DOWN, shared, x, token);
    return op_moe_combine(p->t, pass_experts(p, layer, PROJ_EXPERT_DOWN, mid, &r), x, &r);
}

// h: x after the norm.
static Tensor *build_ffn(const Pass *p, int64_t layer, Tensor *h, Tensor *x, const int32_t *token) {
    pass_recompute_begin(p, RECOMPUTE_FFN);
    Tensor *mid = ffn_mid(p, layer, h, token);
    pass_recompute_end(p, RECOMPUTE_FFN);
    return project_onto(p, layer, PROJ_DOWN, NORM_POST_FFN, mid, x, token);
}

// Rows of a chunk of the feed-forward layer.
static int64_t ffn_chunk(int64_t rows) {
    enum { LEAST = 8192, ROUND = 128 };
    int64_t even = (rows + TAPE_MAX_STACKED - 1) / TAPE_MAX_STACKED;
    return max64(LEAST, (even + ROUND - 1) / ROUND * ROUND);
}

// Of many rows a chunk at a time: the inner activations, the widest of a block, are in memory for one chunk, also in
// backward if they are recomputed. Chunks follow from the number of rows alone, so that bits do not depend on
// recomputation. The last chunk is built first: backward adds to the adapters' gradients in the order of the rows.
static Tensor *build_ffn_chunks(const Pass *p, int64_t layer, Tensor *h, Tensor *x, const int32_t *token) {
    Tensor *parts[TAPE_MAX_STACKED];
    int64_t rows = tensor_rows(x), chunk = ffn_chunk(rows), n = (rows + chunk - 1) / chunk;
    if (n == 1) return build_ffn(p, layer, h, x, token);
    for (int64_t i = n; i-- > 0;) {
        int64_t first = i * chunk, count = min64(chunk, rows - first);
        Pass part = pass_from_row(p, first);
        Tensor *part_x = op_rows(p->t, x, first, count);
        Tensor *part_h = h == x ? part_x : op_rows(p->t, h, first, count);
        parts[i] = build_ffn(&part, layer, part_h, part_x, token);
    }
    return op_stack(p->t, parts, (int)n);
}

// What attention gives of queries, keys and values.
static Tensor *attend(const Pass *p, int64_t layer, Tensor *const qkv[3]) {
    const ModelConfig *c = &p->m->config;
    Tensor *q = qkv[0], *k = qkv[1], *v = qkv[2];
    if (p->cache) {
        k = into_cache(p, p->cache->k, layer, k);
        v = into_cache(p, p->cache->v, layer, v);
    }
    AttentionShape shape = pass_is_narrow(p, layer) ? p->last_attention : p->attention;
    shape.window = c->layer_sliding[layer] ? c->window : 0;
    shape.sinks = p->m->layers[layer].sinks;
    return op_attention(p->t, q, k, v, &shape);
}

// C * conv(B * x) of the three inputs of a short convolution. The products B * x are cached as keys are.
static Tensor *convolve(const Pass *p, int64_t layer, Tensor *const in[3]) {
    ShortConv conv = {p->m->layers[layer].conv, p->m->config.conv_taps, p->attention};
    Tensor *x = op_glu(p->t, in[0], in[2], GLU_LINEAR);
    if (p->cache) x = into_cache(p, p->cache->k, layer, x);
    Tensor *mix = op_glu(p->t, in[1], op_short_conv(p->t, x, tensor_rows(in[1]), &conv), GLU_LINEAR);
    return pass_is_narrow(p, layer) ? op_gather_rows(p->t, mix, p->last_rows, p->n_last) : mix;
}

Tensor *decoder_block(const Pass *p, int64_t layer, Tensor *x) {
    const ModelConfig *c = &p->m->config;
    const ModelLayer *l = &p->m->layers[layer];
    bool narrow = pass_is_narrow(p, layer), conv = c->layer_conv[layer];
    const int32_t *token = narrow ? p->last_rows : NULL;
    Tensor *in[3];
    Tensor *h = pass_norm(p, &l->norms[NORM_ATTN], x);
    if (conv)
        pass_project_stacked(p, layer, PROJ_CONV_B, 3, h, NULL, in);
    else
        build_qkv(p, layer, h, in);
    if (narrow) x = op_gather_rows(p->t, x, p->last_rows, p->n_last);
    if (narrow && c->arch->parallel) h = op_gather_rows(p->t, h, p->last_rows, p->n_last);
    Tensor *mix = conv ? convolve(p, layer, in) : attend(p, layer, in);
    x = project_onto(p, layer, conv ? PROJ_CONV_OUT : PROJ_O, NORM_POST_ATTN, mix, x, token);
    if (l->experts) return build_experts(p, layer, x, token);
    return build_ffn_chunks(p, layer, c->arch->parallel ? h : pass_norm(p, &l->norms[NORM_FFN], x), x, token);
}
