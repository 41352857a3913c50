// adapter_start: A and B that begin as a part of W (PiSSA, OLoRA). PEFT subtracts this part from W; here W stays as it
// is, in any type, and the pair as it began is subtracted from each product: y = W x + s B A x - s B0 A0 x.
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "adapter_internal.h"
#include "leading.h"

// ---- computing it: some modules at a time, each by one thread ----

typedef struct Task {
    const AdapterConfig *config;
    Leading part;
    float *w, *a, *b; // W of the module; A and B to be written
    float scale;
    pthread_t thread;
    bool runs;
} Task;

static void *compute(void *of) {
    Task *t = of;
    const Leading *m = &t->part;
    int64_t r = m->rank;
    bool svd = t->config->init == ADAPTER_PISSA;
    AUTO_FREE double *u = mem_alloc((size_t)(r * m->rows), sizeof *u), *v = mem_alloc((size_t)(r * m->cols), sizeof *v);
    AUTO_FREE double *s = mem_alloc((size_t)r, sizeof *s);
    if (!svd)
        leading_qr(u, v, m);
    else if (t->config->svd_steps < 0)
        leading_svd(u, s, v, m);
    else
        leading_svd_random(u, s, v, m, t->config->svd_steps);
    for (int64_t i = 0; i < r; i++) {
        double factor = svd ? sqrt(s[i] / (double)t->scale) : 1;
        for (int64_t j = 0; j < m->cols; j++) t->a[i * m->cols + j] = (float)(factor * v[i * m->cols + j]);
        for (int64_t j = 0; j < m->rows; j++) t->b[j * r + i] = (float)(factor * u[i * m->rows + j]);
    }
    return NULL;
}

static void compute_all(Task *tasks, int64_t n) {
    for (int64_t i = 1; i < n; i++) tasks[i].runs = pthread_create(&tasks[i].thread, NULL, compute, &tasks[i]) == 0;
    for (int64_t i = 0; i < n; i++)
        if (!tasks[i].runs) compute(&tasks[i]);
    for (int64_t i = 0; i < n; i++)
        if (tasks[i].runs) pthread_join(tasks[i].thread, NULL);
}

// w [rows of the trained parts, cols] in host memory.
static void expand_module(float *w, const Adapter *a, const AdapterSegment *s, int64_t cols) {
    Backend *b = a->backend;
    for (Projection p = 0; p < PROJ_COUNT; p++) {
        int64_t rows, in, row;
        if (!(s->parts & PROJ_BIT(p))) continue;
        model_projection_shape(a->model, p, &rows, &in);
        size_t bytes = (size_t)(rows * cols) * sizeof *w;
        const Weight *from = model_layer_weight(&a->base->layers[s->layer], p, &row);
        float *to = b->host_memory ? w : b->k->alloc(b, bytes);
        b->k->expand(b, mat_of(to, DTYPE_F32, rows, cols), from, row);
        if (!b->host_memory) {
            b->k->download(b, w, to, bytes);
            b->k->sync(b);
            b->k->free(b, to, bytes);
        }
        w += rows * cols;
    }
}

static int begin_task(Task *t, const Adapter *a, const AdapterSegment *s, uint64_t seed, float *host, Err *err) {
    const AdapterSegment *b = s + 1;
    int64_t n = b->rows * s->cols;
    *t = (Task){0};
    if (s->rows > min64(b->rows, s->cols)) { // parts of a fused matrix
        err_input(err, "lora_r is %ld; init_lora_weights pissa and olora expect at most the smaller side of %s",
                  s->rows, s->name);
        return -1;
    }
    *t = (Task){.config = &a->config,
                .part = {.rows = b->rows, .cols = s->cols, .rank = s->rows, .seed = seed ^ rng_module(s->name)},
                .w = mem_alloc((size_t)n, sizeof *t->w),
                .a = host + s->offset,
                .b = host + b->offset,
                .scale = s->scale};
    t->part.w = t->w;
    expand_module(t->w, a, s, s->cols);
    if (a->backend->k->status(a->backend, err)) return -1;
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(t->w[i]))
            return err_input(err, "init_lora_weights: the weight under %s holds a value that is not finite", s->name);
    return 0;
}

int adapter_start_new(Adapter *a, uint64_t seed, float *host, Err *err) {
    enum { MOST_THREADS = 64 };
    Task tasks[MOST_THREADS] = {0};
    int64_t at_once = min64(MOST_THREADS, max64(1, a->backend->threads)), n = 0;
    int rc = 0;
    if (a->base->outline) return 0;
    for (int64_t i = 0; i < a->n_segments && !rc; i++) {
        if (a->segments[i].kind == SEGMENT_A) rc = begin_task(&tasks[n++], a, &a->segments[i], seed, host, err);
        if (n < at_once && i + 1 < a->n_segments && !rc) continue;
        if (!rc) compute_all(tasks, n);
        while (n > 0) mem_free(tasks[--n].w);
    }
    return rc;
}

// ---- the same as plain LoRA ----

// Of the rank 2 r with the same scale.
static AdapterRank doubled(AdapterRank r, bool rslora) {
    return (AdapterRank){2 * r.rank, rslora ? (float)((double)r.alpha * sqrt(2)) : 2 * r.alpha};
}

static AdapterConfig plain_config(const AdapterConfig *c) {
    AdapterConfig to;
    adapter_config_copy(&to, c);
    AdapterRank rank = doubled((AdapterRank){c->rank, c->alpha}, c->rslora);
    to.rank = rank.rank, to.alpha = rank.alpha;
    for (int64_t i = 0; i < to.n_each; i++) to.each[i] = doubled(to.each[i], c->rslora);
    to.init = ADAPTER_UNIFORM;
    to.was_rank = c->rank;
    return to;
}

// Rows of B' [rows, 2 r] from those of B and B0, or back to B.
static void join_b(float *plain, const float *b, const float *b0, const AdapterSegment *s) {
    for (int64_t i = 0; i < s->rows; i++)
        for (int64_t j = 0; j < s->cols; j++) {
            plain[i * 2 * s->cols + j] = b[i * s->cols + j];
            plain[i * 2 * s->cols + s->cols + j] = -b0[i * s->cols + j];
        }
}

// params [plain->count] of the plain adapter.
static void join(const Adapter *a, const Adapter *plain, float *params) {
    AUTO_FREE float *now_copy = NULL, *start_copy = NULL;
    const float *now = adapter_on_host(a, a->params, &now_copy), *start = adapter_on_host(a, a->start, &start_copy);
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdapterSegment *s = &a->segments[i];
        size_t n = (size_t)(s->rows * s->cols);
        float *to = params + plain->segments[i].offset;
        if (s->kind == SEGMENT_B) {
            join_b(to, now + s->offset, start + s->offset, s);
            continue;
        }
        memcpy(to, now + s->offset, n * sizeof *to);
        if (s->kind == SEGMENT_A) memcpy(to + n, start + s->offset, n * sizeof *to);
    }
}

int adapter_plain(Adapter **out, const Model *m, const Adapter *a, Err *err) {
    AUTO(adapter_free) Adapter *plain = NULL;
    *out = NULL;
    if (!a->start) return 0;
    AUTO_CALL(adapter_config_clear) AdapterConfig c = plain_config(&a->config);
    if (adapter_outline(&plain, m, &c, err)) return -1;
    adapter_reserve(plain, false);
    AUTO_FREE float *params = mem_alloc((size_t)plain->count, sizeof *params);
    join(a, plain, params);
    a->backend->k->upload(a->backend, plain->params, params, (size_t)plain->count * sizeof *params);
    a->backend->k->sync(a->backend);
    if (a->labels.count) adapter_name_labels(plain, &a->labels);
    adapter_set_chat_template(plain, a->chat_template);
    *out = mem_take(&plain);
    return 0;
}

bool adapter_take_plain(Adapter *a, const Adapter *plain) {
    if (plain->n_segments != a->n_segments || plain->count < a->count) return false;
    AUTO_FREE float *now = adapter_download(a), *from = adapter_download(plain), *whole = NULL;
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdapterSegment *s = &a->segments[i], *p = &plain->segments[i];
        bool twice_cols = s->kind == SEGMENT_B, twice_rows = s->kind == SEGMENT_A;
        if (p->kind != s->kind || p->rows != s->rows << twice_rows || p->cols != s->cols << twice_cols) return false;
        for (int64_t row = 0; row < s->rows; row++)
            memcpy(now + s->offset + row * s->cols, from + p->offset + row * p->cols, (size_t)s->cols * sizeof *now);
    }
    Backend *b = a->backend;
    AUTO_FREE float *before = adapter_download(a);
    b->k->upload(b, a->params, now, (size_t)a->count * sizeof *now);
    whole = mem_alloc((size_t)plain->count, sizeof *whole);
    join(a, plain, whole);
    if (memcmp(whole, from, (size_t)plain->count * sizeof *whole) == 0) return true;
    b->k->upload(b, a->params, before, (size_t)a->count * sizeof *before); // of another start
    b->k->sync(b);
    return false;
}
