#include "pass.h"

static TokenKeys pass_keys(const Pass *p, uint32_t module, const int32_t *token) {
    const PassOptions *o = p->o;
    TokenPlaces at = token ? p->last_places : p->places;
    TokenKeys keys = {.index = at.index, .row = at.row, .first = at.first, .state = p->state};
    if (o) keys.key = (RngKey){.seed = o->seed, .module = module, .row = o->row};
    return keys;
}

static TokenPlaces places_from(TokenPlaces p, int64_t first) {
    return (TokenPlaces){p.index ? p.index + first : NULL, p.row ? p.row + first : NULL, p.first + first};
}

Pass pass_from_row(const Pass *p, int64_t first) {
    Pass part = *p;
    part.places = places_from(p->places, first);
    part.last_places = places_from(p->last_places, first);
    return part;
}

static Lora lora_of(const Pass *p, const AdapterPair *pair, const int32_t *token) {
    const PassOptions *o = p->o;
    float *params = p->a->params, *grad = p->a->grad;
    return (Lora){.a = params + pair->a->offset,
                  .b = params + pair->b_offset,
                  .da = grad ? grad + pair->a->offset : NULL,
                  .db = grad ? grad + pair->b_offset : NULL,
                  .rank = pair->a->rows,
                  .rows = pair->rows,
                  .scale = pair->a->scale,
                  .dropout = o ? o->dropout : 0,
                  .keys = pass_keys(p, rng_module(pair->a->name), token),
                  .magnitude = pair->magnitude ? params + pair->magnitude_offset : NULL,
                  .norm = pair->magnitude ? p->a->norms + pair->norm_offset : NULL,
                  .dmagnitude = pair->magnitude && grad ? grad + pair->magnitude_offset : NULL};
}

// Adds the pairs as they began, which the weights are without. Dropout is that of the trained branch alone.
static int add_starts(const Pass *p, Lora *loras, int n) {
    if (!p->a || !p->a->start) return n;
    for (int i = 0; i < n; i++) {
        const Lora *l = &loras[i];
        loras[n + i] = (Lora){.a = p->a->start + (l->a - p->a->params),
                              .b = p->a->start + (l->b - p->a->params),
                              .rank = l->rank,
                              .rows = l->rows,
                              .row_offset = l->row_offset,
                              .scale = -l->scale};
    }
    return 2 * n;
}

static Tensor *linear(const Pass *p, Tensor *x, const Weight *w, Tensor *residual, const Lora *loras, int n_loras) {
    if (!n_loras || !loras->magnitude) return op_linear(p->t, x, w, residual, loras, n_loras);
    Tensor *y = op_dora(p->t, op_linear(p->t, x, w, NULL, loras, n_loras), w->bias, loras, n_loras);
    return residual ? op_add(p->t, residual, y) : y;
}

Tensor *pass_project(const Pass *p, int64_t layer, Projection which, Tensor *x, Tensor *residual,
                     const int32_t *token) {
    AdapterPair pair;
    bool trained = p->a && adapter_pair(p->a, layer, which, &pair);
    Lora loras[2] = {{0}};
    if (trained) loras[0] = lora_of(p, &pair, token);
    return linear(p, x, &p->m->layers[layer].w[which], residual, loras, add_starts(p, loras, trained));
}

Tensor *pass_experts(const Pass *p, int64_t layer, Projection which, Tensor *x, const MoeRouting *r) {
    const Weight *w = p->m->layers[layer].experts + (which - PROJ_EXPERT_GATE) * p->m->config.experts;
    AdapterPair pair;
    if (!p->a || !adapter_pair(p->a, layer, which, &pair)) return op_grouped_linear(p->t, x, w, r, NULL);
    Lora lora = lora_of(p, &pair, NULL);
    return op_grouped_linear(p->t, x, w, r, &lora);
}

// One pair for each trained part. Adjacent parts that share A are one pair.
static int stacked_loras(const Pass *p, int64_t layer, Projection first, int n, const int32_t *token, Lora *loras) {
    int n_loras = 0;
    int64_t row = 0;
    for (int i = 0; i < n; row += p->m->layers[layer].w[first + i].rows, i++) {
        AdapterPair pair;
        if (!p->a || !adapter_pair(p->a, layer, first + (Projection)i, &pair)) continue;
        Lora lora = lora_of(p, &pair, token), *before = n_loras ? &loras[n_loras - 1] : NULL;
        lora.row_offset = row;
        if (before && before->a == lora.a && before->row_offset + before->rows == row)
            before->rows += lora.rows;
        else
            loras[n_loras++] = lora;
    }
    return n_loras;
}

static const Weight *stacked_weight(const Pass *p, int64_t layer, Projection first) {
    const ModelLayer *l = &p->m->layers[layer];
    if (first == PROJ_CONV_B) return &l->conv_in;
    return first == PROJ_Q ? &l->qkv : first == PROJ_K ? &l->kv : &l->gate_up;
}

Tensor *pass_stacked(const Pass *p, int64_t layer, Projection first, int n, Tensor *x, const int32_t *token) {
    Lora loras[LORA_MAX_PAIRS] = {{0}};
    int n_loras = add_starts(p, loras, stacked_loras(p, layer, first, n, token, loras));
    return linear(p, x, stacked_weight(p, layer, first), NULL, loras, n_loras);
}

void pass_split(const Pass *p, int64_t layer, Projection first, int n, Tensor *all, Tensor **out) {
    int64_t col = 0;
    for (int i = 0; i < n; i++) {
        int64_t cols = p->m->layers[layer].w[first + i].rows;
        out[i] = op_columns(p->t, all, col, cols);
        col += cols;
    }
}

void pass_project_stacked(const Pass *p, int64_t layer, Projection first, int n, Tensor *x, const int32_t *token,
                          Tensor **out) {
    if (stacked_weight(p, layer, first)->rows) {
        pass_split(p, layer, first, n, pass_stacked(p, layer, first, n, x, token), out);
        return;
    }
    for (int i = 0; i < n; i++) out[i] = pass_project(p, layer, first + i, x, NULL, token);
}

bool pass_is_narrow(const Pass *p, int64_t layer) { return layer == p->m->config.layers - 1 && p->last_rows; }

Tensor *pass_qkv(const Pass *p, int64_t layer, Tensor *x, Tensor *qkv[3]) {
    const ModelLayer *l = &p->m->layers[layer];
    if (l->qkv.rows) {
        pass_project_stacked(p, layer, PROJ_Q, 3, x, NULL, qkv);
        return x;
    }
    bool narrow = pass_is_narrow(p, layer);
    pass_project_stacked(p, layer, PROJ_K, 2, x, NULL, qkv + 1);
    if (narrow) x = op_gather_rows(p->t, x, p->last_rows, p->n_last);
    qkv[0] = pass_project(p, layer, PROJ_Q, x, NULL, narrow ? p->last_rows : NULL);
    return x;
}

static bool is_recomputed(const Pass *p, Recompute level) {
    if (!p->o) return false;
    return level == RECOMPUTE_FFN ? p->o->recompute == RECOMPUTE_FFN : p->o->recompute >= level;
}

void pass_recompute_begin(const Pass *p, Recompute level) {
    if (is_recomputed(p, level)) tape_checkpoint_begin(p->t);
}

void pass_recompute_end(const Pass *p, Recompute level) {
    if (is_recomputed(p, level)) tape_checkpoint_end(p->t);
}

Tensor *pass_norm(const Pass *p, const Norm *n, Tensor *x) {
    const ModelConfig *c = &p->m->config;
    if (!n->weight) return x;
    float eps = c->norm_eps / (c->residual_scale * c->residual_scale);
    if (c->arch->norm == NORM_KIND_LAYER) return op_layernorm(p->t, x, n->weight, n->bias, eps);
    return op_rmsnorm(p->t, x, n->weight, eps);
}

Tensor *pass_noise(const Pass *p, Tensor *x, const PassInputs *in) {
    const PassOptions *o = p->o;
    if (!o || o->neftune_alpha <= 0) return x;
    TokenKeys keys = pass_keys(p, rng_module("neftune"), NULL);
    const ModelConfig *c = &p->m->config; // Granite's factor follows the noise, that of the Gemmas does not
    float scale = c->arch->scales ? c->embed_scale / c->residual_scale : 1;
    return op_neftune(p->t, x, in->at.neftune, o->neftune_alpha * scale, &keys);
}
