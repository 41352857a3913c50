// adapter_dora: the norms of DoRA's rows, which follow A and B, and magnitudes as they begin.
#include "adapter_internal.h"

typedef void EachPart(const Adapter *a, const AdapterPair *pair, const Weight *w, Lora l, void *to);

// Calls `each` for every trained projection: its weight, and its pair, whose rows begin at row_offset there.
static void each_part(const Adapter *a, EachPart *each, void *to) {
    for (int64_t layer = 0; layer < a->model->layers; layer++) {
        model_stream_enter(a->base, layer);
        for (Projection p = 0; p < PROJ_COUNT; p++) {
            AdapterPair pair;
            if (!adapter_pair(a, layer, p, &pair)) continue;
            Lora l = {.a = a->params + pair.a->offset,
                      .b = a->params + pair.b_offset,
                      .rank = pair.a->rows,
                      .rows = pair.rows,
                      .scale = pair.a->scale};
            const Weight *w = model_layer_weight(&a->base->layers[layer], p, &l.row_offset);
            each(a, &pair, w, l, to);
        }
    }
}

static void add_workspace(const Adapter *a, const AdapterPair *pair, const Weight *w, Lora l, void *to) {
    size_t *most = to, bytes = a->backend->k->dora_workspace(a->backend, w);
    if (bytes > *most) *most = bytes;
}

void adapter_dora_reserve(Adapter *a) {
    Backend *b = a->backend;
    if (!a->n_norms) return;
    each_part(a, add_workspace, &a->norm_ws_bytes);
    a->norms = b->k->alloc(b, (size_t)a->n_norms * sizeof(float));
    a->norm_ws = b->k->alloc(b, a->norm_ws_bytes);
}

void adapter_dora_release(Adapter *a) {
    Backend *b = a->backend;
    if (a->norms) b->k->free(b, a->norms, (size_t)a->n_norms * sizeof(float));
    if (a->norm_ws) b->k->free(b, a->norm_ws, a->norm_ws_bytes);
}

static void norm_part(const Adapter *a, const AdapterPair *pair, const Weight *w, Lora l, void *to) {
    a->backend->k->dora_norm(a->backend, a->norms + pair->norm_offset, w, &l, a->norm_ws);
}

void adapter_update_norms(const Adapter *a) {
    if (a->norms && !a->base->outline) each_part(a, norm_part, NULL);
}

void adapter_start_magnitudes(Adapter *a) {
    Backend *b = a->backend;
    adapter_update_norms(a);
    for (const AdapterSegment *s = a->segments; s < a->segments + a->n_segments; s++)
        if (s->kind == SEGMENT_MAGNITUDE)
            b->k->copy(b, a->params + s->offset, a->norms + s->norm, (size_t)s->rows * sizeof(float));
}
