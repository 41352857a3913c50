#include "optimizer.h"

#include <math.h>
#include <string.h>

// 2^19 is where the fixed-point sum would overflow (kernels.h, fixed_add).
static const double SUM_RANGE = 0x1p19;

static void *device_alloc(const Adapter *a, size_t count, size_t size) {
    return a->backend->k->alloc(a->backend, count * size);
}

static void device_free(const Adapter *a, void *p, size_t count, size_t size) {
    if (p) a->backend->k->free(a->backend, p, count * size);
}

// Elements after the sum: bad, counts, square.
static size_t tail_size(const Optimizer *o) { return (size_t)o->n_counts + 2; }

static size_t vector_size(const Optimizer *o) { return (size_t)o->adapter->count + tail_size(o); }

Optimizer *optimizer_new(Adapter *a, const OptimizerOptions *options, int64_t n_counts) {
    CHECK(a->grad, "an adapter loaded for inference");
    Optimizer *o = mem_calloc(1, sizeof *o);
    size_t n = (size_t)a->count;
    o->adapter = a;
    o->options = *options;
    o->m = device_alloc(a, n, sizeof *o->m);
    o->v = device_alloc(a, n, sizeof *o->v);
    o->n_counts = n_counts;
    o->sum = device_alloc(a, vector_size(o), sizeof *o->sum);
    o->bad = o->sum + n;
    o->counts = o->bad + 1;
    o->square = (double *)(o->counts + n_counts);
    o->host_tail = mem_calloc(tail_size(o), sizeof *o->host_tail);
    o->unscale = 1;
    o->segments = mem_calloc((size_t)a->n_segments, sizeof *o->segments);
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdapterSegment *s = &a->segments[i];
        bool fast = s->kind == SEGMENT_B || s->kind == SEGMENT_MAGNITUDE; // as in PEFT's create_loraplus_optimizer
        float factor = fast ? (float)options->loraplus_ratio : 1.0f;
        o->segments[i] = (AdamwSegment){.offset = s->offset, .count = s->rows * s->cols, .lr_factor = factor};
    }
    return o;
}

void optimizer_free(Optimizer *o) {
    if (!o) return;
    size_t n = (size_t)o->adapter->count;
    device_free(o->adapter, o->m, n, sizeof *o->m);
    device_free(o->adapter, o->v, n, sizeof *o->v);
    device_free(o->adapter, o->sum, vector_size(o), sizeof *o->sum);
    mem_free(o->host_tail);
    mem_free(o->segments);
    mem_free(o);
}

void optimizer_begin(Optimizer *o) {
    Backend *b = o->adapter->backend;
    b->k->zero(b, o->sum, vector_size(o) * sizeof *o->sum);
}

void optimizer_begin_row(Optimizer *o) {
    Backend *b = o->adapter->backend;
    b->k->zero(b, o->adapter->grad, (size_t)o->adapter->count * sizeof *o->adapter->grad);
}

void optimizer_end_row(Optimizer *o, int64_t rows_in_step) {
    Backend *b = o->adapter->backend;
    float limit = (float)(SUM_RANGE / (double)rows_in_step);
    b->k->fixed_add(b, o->sum, o->adapter->grad, o->adapter->count, limit, o->unscale, o->bad);
}

void optimizer_reduce(Optimizer *o) {
    Backend *b = o->adapter->backend;
    b->k->all_reduce(b, o->sum, o->adapter->count + 1 + o->n_counts);
}

void optimizer_queue(Optimizer *o, double learning_rate) {
    Backend *b = o->adapter->backend;
    const OptimizerOptions *p = &o->options;
    Adamw adamw = {.lr = learning_rate,
                   .beta1 = p->beta1,
                   .beta2 = p->beta2,
                   .epsilon = p->epsilon,
                   .weight_decay = p->weight_decay,
                   .max_grad_norm = p->max_grad_norm,
                   .square = o->square,
                   .bad = o->bad,
                   .step = o->updates + 1,
                   .segments = o->segments,
                   .n_segments = o->adapter->n_segments};
    b->k->fixed_to_f32(b, o->adapter->grad, o->sum, o->adapter->count);
    b->k->sqnorm(b, o->square, o->adapter->grad, o->adapter->count);
    b->k->adamw(b, o->adapter->params, o->m, o->v, o->adapter->grad, &adamw);
    adapter_update_norms(o->adapter);
}

bool optimizer_fetch(Optimizer *o, double *norm, const int64_t **counts) {
    Backend *b = o->adapter->backend;
    double square;
    b->k->download(b, o->host_tail, o->bad, tail_size(o) * sizeof *o->host_tail);
    memcpy(&square, &o->host_tail[1 + o->n_counts], sizeof square);
    if (counts) *counts = o->host_tail + 1;
    *norm = o->host_tail[0] ? NAN : sqrt(square);
    if (!isfinite(*norm)) return false;
    o->updates++;
    return true;
}
