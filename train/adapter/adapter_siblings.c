// adapter_siblings: an adapter in the form in which SGLang computes all of it (adapter.h). SGLang stacks q, k and v,
// and gate and up: it fails on q without v, and drops k or v without q, and one of gate and up (0.5.23, layers/lora).
#include <string.h>

#include "adapter_internal.h"

#define QKV (PROJ_BIT(PROJ_Q) | PROJ_BIT(PROJ_K) | PROJ_BIT(PROJ_V))
#define QV (PROJ_BIT(PROJ_Q) | PROJ_BIT(PROJ_V))
#define GATE_UP (PROJ_BIT(PROJ_GATE) | PROJ_BIT(PROJ_UP))

// Gives the projections of `wanted` that have none the rank of one of `any` that has one. Returns whether it did.
static bool fill_group(AdapterRank *layer, uint32_t any, uint32_t wanted) {
    AdapterRank first = {0};
    bool added = false;
    for (int p = 0; p < PROJ_COUNT; p++)
        if ((any & PROJ_BIT(p)) && layer[p].rank && !first.rank) first = layer[p];
    for (int p = 0; p < PROJ_COUNT && first.rank; p++) {
        if (!(wanted & PROJ_BIT(p)) || layer[p].rank) continue;
        layer[p] = first;
        added = true;
    }
    return added;
}

static bool fill_ranks(AdapterRank *each, const Adapter *a, const Model *m) {
    const AdapterConfig *c = &a->config;
    uint32_t available = adapter_available(&m->config);
    bool added = false;
    for (int64_t l = 0; l < m->config.layers; l++) {
        AdapterRank *layer = each + l * PROJ_COUNT;
        bool here = !c->layers;
        for (int64_t i = 0; c->layers && i < c->n_layers; i++) here |= c->layers[i] == l;
        for (Projection p = 0; p < PROJ_COUNT && here; p++)
            if (model_layer_has(&m->config, l, p)) layer[p] = adapter_rank_at(c, l, p);
        added |= fill_group(layer, QKV, QV & available);
        added |= fill_group(layer, GATE_UP, GATE_UP & available);
    }
    return added;
}

// The rest of `to` is 0.
static void copy_pairs(const Adapter *to, float *out, const Adapter *from, const float *in) {
    for (int64_t l = 0; l < from->model->layers; l++)
        for (int p = 0; p < PROJ_COUNT; p++) {
            AdapterPair x, y;
            if (!adapter_pair(from, l, (Projection)p, &x) || !adapter_pair(to, l, (Projection)p, &y)) continue;
            if (module_is_expert(x.a->module)) { // whose pairs are one block
                int64_t n = from->model->experts * x.a->rows * (x.a->cols + x.rows);
                memcpy(out + y.a->offset, in + x.a->offset, (size_t)n * sizeof *out);
                continue;
            }
            memcpy(out + y.a->offset, in + x.a->offset, (size_t)(x.a->rows * x.a->cols) * sizeof *out);
            memcpy(out + y.b_offset, in + x.b_offset, (size_t)(x.rows * x.b->cols) * sizeof *out);
        }
}

int adapter_fill_siblings(Adapter **out, const Model *m, const Adapter *a, Err *err) {
    AUTO(adapter_free) Adapter *filled = NULL;
    AUTO_CALL(adapter_config_clear) AdapterConfig c = {0};
    AdapterRank *each = mem_calloc((size_t)m->config.layers * PROJ_COUNT, sizeof *each);
    *out = NULL;
    if (a->config.labels || !fill_ranks(each, a, m)) {
        mem_free(each);
        return 0;
    }
    adapter_config_copy(&c, &a->config);
    adapter_config_set_each(&c, each, m);
    if (adapter_outline(&filled, m, &c, err)) return -1;
    adapter_reserve(filled, false);
    AUTO_FREE float *host = mem_calloc((size_t)filled->count, sizeof *host), *in = adapter_download(a);
    copy_pairs(filled, host, a, in);
    adapter_set_chat_template(filled, a->chat_template);
    if (adapter_upload(filled, host, "the adapter", err)) return -1;
    *out = mem_take(&filled);
    return 0;
}
