// model_keep: copies of frozen weights for the CPU's products (weight_keep in kernels.h), in memory that a run leaves.
#include "model_internal.h"

static size_t copy_bytes(Backend *b, Weight *w) {
    return w->n_segments ? (b->k->weight_keep(b, w, NULL, NULL) + 63) / 64 * 64 : 0;
}

// The bytes of the copies that `most` bytes hold, layer after layer; memory NULL: computes only that. ws: of
// linear_workspace for every weight.
static size_t keep_layers(const Model *m, size_t most, uint8_t *memory, void *ws) {
    Backend *b = m->backend;
    size_t used = 0;
    for (int64_t i = 0; i < m->config.layers; i++)
        for (int p = 0; p < PROJ_COUNT; p++) {
            Weight *w = &m->layers[i].w[p];
            size_t bytes = copy_bytes(b, w);
            if (!bytes || bytes > most - used) continue;
            if (memory) b->k->weight_keep(b, w, memory + used, ws);
            used += bytes;
        }
    return used;
}

size_t model_kept_bytes(const Model *m, size_t most) { return keep_layers(m, most, NULL, NULL); }

static size_t workspace_bytes(const Model *m) {
    Backend *b = m->backend;
    size_t most = 0;
    for (int64_t i = 0; i < m->config.layers; i++)
        for (int p = 0; p < PROJ_COUNT; p++) {
            size_t bytes = m->layers[i].w[p].n_segments ? b->k->linear_workspace(b, &m->layers[i].w[p], 1) : 0;
            most = bytes > most ? bytes : most;
        }
    return most;
}

void model_keep(Model *m, size_t most) {
    Backend *b = m->backend;
    m->kept_bytes = model_kept_bytes(m, most);
    if (!m->kept_bytes) return;
    size_t bytes = workspace_bytes(m);
    void *ws = b->k->alloc(b, bytes);
    m->kept = b->k->alloc(b, m->kept_bytes);
    keep_layers(m, most, m->kept, ws);
    b->k->free(b, ws, bytes);
}
