// opcheck: buffers, random inputs, comparison.
#include "opcheck.h"

#include <stdio.h>
#include <string.h>

static void *new_buffer(OpRun *r, size_t bytes) {
    CHECK(r->n_buffers < OP_MAX_BUFFERS);
    void *data = r->b->k->alloc(r->b, bytes);
    r->buffers[r->n_buffers].data = data;
    r->buffers[r->n_buffers++].bytes = bytes;
    return data;
}

void *op_copy(OpRun *r, const void *host, size_t bytes) {
    void *data = new_buffer(r, bytes);
    r->b->k->upload(r->b, data, host, bytes);
    return data;
}

// Uniform with unit variance.
static float *random_floats(int64_t n, uint32_t stream) {
    float *x = mem_alloc((size_t)n, sizeof *x);
    for (int64_t i = 0; i < n; i += 4) {
        uint32_t words[4];
        rng_philox((RngKey){.seed = 7, .stream = stream}, (uint32_t)(i / 4 >> 16), (uint32_t)(i / 4 & 0xFFFF), words);
        for (int64_t j = 0; j < 4 && i + j < n; j++) x[i + j] = 1.7320508f * rng_symmetric(words[j]);
    }
    return x;
}

static float *input_floats(OpRun *r, int64_t n) {
    float *x = random_floats(n, (uint32_t)r->n_inputs);
    // In two places: an op may rightly never look at one of them (rows that are not gathered).
    if (r->n_inputs++ == r->poison) x[n / 3] = x[n / 2] = NAN;
    return x;
}

static Mat floats(void *data, int64_t rows, int64_t cols) {
    return mat_of(data, DTYPE_F32, rows, cols);
}

Mat op_input(OpRun *r, int64_t rows, int64_t cols) {
    float *x = input_floats(r, rows * cols);
    void *data = op_copy(r, x, (size_t)(rows * cols) * sizeof *x);
    mem_free(x);
    return floats(data, rows, cols);
}

void *op_workspace(OpRun *r, size_t bytes) {
    void *nan = mem_alloc(bytes, 1);
    memset(nan, 0xFF, bytes);
    void *data = op_copy(r, nan, bytes);
    mem_free(nan);
    return data;
}

void op_output_at(OpRun *r, const char *name, void *data, size_t bytes, OpKind kind, double tolerance) {
    CHECK(r->n_outputs < OP_MAX_OUTPUTS);
    r->outputs[r->n_outputs++] = (OpOutput){name, data, bytes, kind, tolerance, 0};
}

void *op_output_bytes(OpRun *r, const char *name, size_t bytes, OpKind kind, double tolerance, const void *start) {
    void *data = start ? op_copy(r, start, bytes) : op_workspace(r, bytes);
    op_output_at(r, name, data, bytes, kind, tolerance);
    return data;
}

Mat op_output(OpRun *r, const char *name, int64_t rows, int64_t cols, double tolerance) {
    size_t bytes = (size_t)(rows * cols) * sizeof(float);
    return floats(op_output_bytes(r, name, bytes, OP_FLOATS, tolerance, NULL), rows, cols);
}

Mat op_inout(OpRun *r, const char *name, int64_t rows, int64_t cols, double tolerance) {
    float *x = input_floats(r, rows * cols);
    size_t bytes = (size_t)(rows * cols) * sizeof *x;
    Mat m = floats(op_output_bytes(r, name, bytes, OP_FLOATS, tolerance, x), rows, cols);
    mem_free(x);
    return m;
}

Mat op_gradient(OpRun *r, const char *name, int64_t rows, int64_t cols, double tolerance, bool accumulate) {
    return (accumulate ? op_inout : op_output)(r, name, rows, cols, tolerance);
}

// ---- weights ----

static void put_half(uint8_t *p, float f) {
    uint16_t h = f32_to_f16(f);
    memcpy(p, &h, sizeof h);
}

// One row of random elements in its dtype. Blocks are random bytes under scales that make the elements small.
static void fill_row(uint8_t *row, DType t, int64_t k, const float *noise) {
    const DTypeInfo *info = dtype_info(t);
    float size = 1 / sqrtf((float)k);
    if (info->block == 1) {
        for (int64_t i = 0; i < k; i++) {
            float x = noise[i] * size;
            uint16_t h = t == DTYPE_F16 ? f32_to_f16(x) : f32_to_bf16(x);
            memcpy(row + i * info->bytes, t == DTYPE_F32 ? (void *)&x : (void *)&h, (size_t)info->bytes);
        }
        return;
    }
    for (int64_t block = 0; block < k / info->block; block++, row += info->bytes) {
        const float *x = noise + block * info->block;
        for (int i = 0; i < info->bytes; i++) row[i] = (uint8_t)(int)(x[i % info->block] * 1e4f + (float)i);
        float d = size * (1.5f + x[0] / 4);
        switch (t) {
        case DTYPE_Q8_0:
            put_half(row, d / 64);
            break;
        case DTYPE_Q4_K:
        case DTYPE_Q5_K:
            put_half(row, d / 256), put_half(row + 2, d / 40);
            break;
        case DTYPE_Q6_K:
            put_half(row + 208, d / 1024);
            break;
        case DTYPE_Q2_K:
            put_half(row + 80, d / 20), put_half(row + 82, d / 15);
            break;
        case DTYPE_Q3_K:
            put_half(row + 108, d / 64);
            break;
        case DTYPE_IQ4_NL:
            put_half(row, d / 100);
            break;
        case DTYPE_IQ4_XS:
            put_half(row, d / 2000);
            break;
        case DTYPE_MXFP4:
            row[0] = (uint8_t)(128 + (int)log2f(d / 8));
            break;
        case DTYPE_NF4: // a code for the scale of the row
            break;
        case DTYPE_Q4_1:
        case DTYPE_Q5_1:
            put_half(row, d / 8), put_half(row + 2, -d);
            break;
        default:
            put_half(row, d / 8);
        }
    }
}

static WeightSegment random_segment(OpRun *r, DType t, int64_t rows, int64_t k) {
    size_t row_bytes;
    CHECK(dtype_bytes(t, (size_t)k, &row_bytes), "%lld columns of %s", (long long)k, dtype_info(t)->name);
    float *noise = random_floats(rows * k, 1000 + (uint32_t)r->n_buffers);
    uint8_t *data = mem_alloc((size_t)rows, row_bytes);
    for (int64_t i = 0; i < rows; i++) fill_row(data + (size_t)i * row_bytes, t, k, noise + i * k);
    WeightSegment s = {.data = op_copy(r, data, (size_t)rows * row_bytes), .dtype = t, .rows = rows};
    if (t == DTYPE_NF4) {
        for (int64_t i = 0; i < rows; i++) noise[i] = (2 + noise[i] / 4) / (255 * 255 * sqrtf((float)k));
        s.row_scale = op_copy(r, noise, (size_t)rows * sizeof *noise);
    }
    mem_free(data);
    mem_free(noise);
    if (!r->size.row_map) return s;
    int32_t *map = mem_alloc((size_t)rows, sizeof *map); // llama's permutation of one head of `rows` rows, roughly
    for (int64_t i = 0; i < rows; i++) map[i] = (int32_t)(i % 2 ? rows - 1 - i / 2 : i / 2);
    s.row_map = op_copy(r, map, (size_t)rows * sizeof *map);
    mem_free(map);
    return s;
}

// Segment i takes the dtype that follows by i where the columns allow it, and an uneven share of the rows.
Weight op_weight(OpRun *r, int64_t n, int64_t k) {
    Weight w = {.name = "w", .rows = n, .cols = k, .n_segments = r->size.segments ? r->size.segments : 1};
    int64_t left = n;
    for (int i = 0; i < w.n_segments; i++) {
        int64_t rows = i + 1 == w.n_segments ? left : left / 3 + 1;
        DType t = (DType)((r->size.dtype + i) % (DTYPE_Q5_1 + 1));
        if (r->size.segments < 2) t = r->size.dtype;
        w.segments[i] = random_segment(r, t, rows, k);
        left -= rows;
    }
    if (r->size.bias) w.bias = op_input(r, 1, n).data;
    return w;
}

// ---- running and comparing ----

void op_size_text(const OpSize *s, char *text, size_t size) {
    snprintf(
        text, size,
        "t=%lld n=%lld k=%lld heads=%lld kv=%lld d=%lld rotated=%lld rank=%lld layout=%lld window=%lld experts=%lld "
        "used=%lld%s%s%s %s segments=%d%s%s%s%s glu=%d activation=%d dropout=%g smoothing=%g softcap=%g",
        (long long)s->t, (long long)s->n, (long long)s->k, (long long)s->heads, (long long)s->kv, (long long)s->d,
        (long long)s->rotated, (long long)s->rank, (long long)s->layout, (long long)s->window, (long long)s->experts,
        (long long)s->used, s->renormalise ? " renormalise" : "", s->uneven ? " uneven" : "",
        s->bidirectional ? " bidirectional" : "", dtype_info(s->dtype)->name, s->segments, s->row_map ? " row_map" : "",
        s->bias ? " bias" : "", s->residual ? " residual" : "", s->accumulate ? " accumulate" : "", (int)s->glu,
        (int)s->activation, (double)s->dropout, (double)s->smoothing, (double)s->softcap);
}

OpRun *op_run(const OpCase *c, const OpSize *size, Backend *b, int poison) {
    OpRun *r = mem_calloc(1, sizeof *r);
    *r = (OpRun){.b = b, .size = *size, .poison = poison};
    c->run(r);
    b->k->sync(b);
    return r;
}

void op_run_free(OpRun *r) {
    if (!r) return;
    for (int i = 0; i < r->n_buffers; i++) r->b->k->free(r->b, r->buffers[i].data, r->buffers[i].bytes);
    mem_free(r);
}

static void *fetch(const OpRun *r, const OpOutput *o) {
    void *host = mem_alloc(o->bytes, 1);
    r->b->k->download(r->b, host, o->data, o->bytes);
    return host;
}

static double element(const OpOutput *o, const void *data, size_t i) {
    return o->kind == OP_FLOATS ? (double)((const float *)data)[i] : ((const double *)data)[i];
}

static size_t element_count(const OpOutput *o) {
    return o->bytes / (o->kind == OP_FLOATS ? sizeof(float) : sizeof(double));
}

// Index of the first element that breaks the rule, or -1. *limit: the absolute tolerance it was held to.
static int64_t first_breach(const OpOutput *o, const void *want, const void *got, OpRule rule, double *limit) {
    size_t n = element_count(o);
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        double x = element(o, want, i);
        if (isfinite(x)) squares += x * x / (double)n;
    }
    *limit = o->tolerance * fmax(sqrt(squares), o->floor);
    for (size_t i = 0; i < n; i++) {
        double w = element(o, want, i), g = element(o, got, i);
        if (rule == OP_NAN_SHOWS ? isnan(w) && !isnan(g) : !(w == g || fabs(w - g) <= *limit)) return (int64_t)i;
    }
    return -1;
}

static bool output_agrees(const OpOutput *o, const void *want, const void *got, OpRule rule, char *message,
                          size_t size) {
    if (rule == OP_SAME_BITS || o->kind == OP_EXACT) {
        if (!memcmp(want, got, o->bytes)) return true;
        size_t at = 0;
        while (((const char *)want)[at] == ((const char *)got)[at]) at++;
        snprintf(message, size, "output %s differs from byte %zu of %zu on", o->name, at, o->bytes);
        return false;
    }
    double limit;
    int64_t at = first_breach(o, want, got, rule, &limit);
    if (at < 0) return true;
    snprintf(message, size, "output %s[%lld]: got %.9g, want %.9g, tolerance %.3g", o->name, (long long)at,
             element(o, got, (size_t)at), element(o, want, (size_t)at), limit);
    return false;
}

bool op_agree(const OpRun *want, const OpRun *got, OpRule rule, char *message, size_t size) {
    CHECK(want->n_outputs == got->n_outputs && want->n_outputs > 0);
    bool agree = true;
    for (int i = 0; i < want->n_outputs && agree; i++) {
        void *w = fetch(want, want->outputs + i), *g = fetch(got, got->outputs + i);
        agree = output_agrees(want->outputs + i, w, g, rule, message, size);
        mem_free(w);
        mem_free(g);
    }
    return agree;
}

bool op_shows_nan(const OpRun *r) {
    bool shows = false;
    for (int i = 0; i < r->n_outputs && !shows; i++) {
        const OpOutput *o = r->outputs + i;
        void *data = fetch(r, o);
        if (o->kind == OP_EXACT)
            shows = true;
        else
            for (size_t j = 0; j < element_count(o) && !shows; j++) shows = isnan(element(o, data, j));
        mem_free(data);
    }
    return shows;
}
