#include "strided_backend.h"

#include <string.h>

enum { MOST_PENDING = 8 };
typedef struct Strided {
    Kernels kernels;
    struct {
        void *to;
        const void *from;
        size_t bytes;
    } pending[MOST_PENDING];
    int n_pending, transfers, key_gradients;
} Strided;

// ---- matrices with gaps: the slots that meet them work on copies without ----

static Mat packed(Mat m) {
    if (!m.data || mat_stride(m) == m.cols) return m;
    float *copy = mem_alloc((size_t)(m.rows * m.cols), sizeof *copy);
    for (int64_t r = 0; r < m.rows; r++)
        memcpy(copy + r * m.cols, (float *)m.data + r * m.stride, (size_t)m.cols * sizeof *copy);
    return mat_of(copy, m.dtype, m.rows, m.cols);
}

// Ends `copy`; what was written to it goes back to m.
static void unpack(Mat m, Mat copy, bool written) {
    if (m.data == copy.data) return;
    for (int64_t r = 0; r < m.rows && written; r++)
        memcpy((float *)m.data + r * m.stride, (float *)copy.data + r * m.cols, (size_t)m.cols * sizeof(float));
    mem_free(copy.data);
}

static void strided_rmsnorm_forward(Backend *b, Mat out, Mat rstd, Mat x, const float *weight, float eps) {
    Mat from = packed(x);
    kernels_ref.rmsnorm_forward(b, out, rstd, from, weight, eps);
    unpack(x, from, false);
}

static void strided_rmsnorm_backward(Backend *b, Mat dx, Mat dout, Mat x, Mat rstd, const float *weight,
                                     bool accumulate) {
    Mat from = packed(x), to = packed(dx);
    kernels_ref.rmsnorm_backward(b, to, dout, from, rstd, weight, accumulate);
    unpack(x, from, false);
    unpack(dx, to, true);
}

static void strided_rope(Backend *b, Mat x, const RopeTable *table, bool inverse) {
    Mat copy = packed(x);
    kernels_ref.rope(b, copy, table, inverse);
    unpack(x, copy, true);
}

static AttentionCall packed_call(const AttentionCall *c) {
    AttentionCall p = *c;
    p.q = packed(c->q), p.k = packed(c->k), p.v = packed(c->v);
    p.dq = packed(c->dq), p.dk = packed(c->dk), p.dv = packed(c->dv);
    return p;
}

static void unpack_call(const AttentionCall *c, const AttentionCall *p) {
    unpack(c->q, p->q, false);
    unpack(c->k, p->k, false);
    unpack(c->v, p->v, false);
    unpack(c->dq, p->dq, true);
    unpack(c->dk, p->dk, true);
    unpack(c->dv, p->dv, true);
}

static void strided_attention_forward(Backend *b, const AttentionCall *c) {
    AttentionCall p = packed_call(c);
    kernels_ref.attention_forward(b, &p);
    unpack_call(c, &p);
}

static void strided_attention_backward(Backend *b, const AttentionCall *c) {
    ((Strided *)b->state)->key_gradients += c->dk.data != NULL;
    AttentionCall p = packed_call(c);
    kernels_ref.attention_backward(b, &p);
    unpack_call(c, &p);
}

static void strided_glu_forward(Backend *b, Mat out, Mat gate, Mat up, GluKind kind) {
    Mat g = packed(gate), u = packed(up);
    kernels_ref.glu_forward(b, out, g, u, kind);
    unpack(gate, g, false);
    unpack(up, u, false);
}

static void strided_glu_backward(Backend *b, Mat dgate, Mat dup, Mat dout, Mat gate, Mat up, GluKind kind) {
    Mat g = packed(gate), u = packed(up), dg = packed(dgate), du = packed(dup);
    kernels_ref.glu_backward(b, dg, du, dout, g, u, kind);
    unpack(gate, g, false);
    unpack(up, u, false);
    unpack(dgate, dg, true);
    unpack(dup, du, true);
}

static void strided_scatter_rows(Backend *b, Mat dst, Mat x, const int32_t *index) {
    Mat from = packed(x);
    kernels_ref.scatter_rows(b, dst, from, index);
    unpack(x, from, false);
}

// ---- transfers ----

static void transfer_later(Backend *b, void *to, const void *from, size_t bytes) {
    Strided *s = b->state;
    CHECK(s->n_pending < MOST_PENDING);
    s->pending[s->n_pending].to = to;
    s->pending[s->n_pending].from = from;
    s->pending[s->n_pending++].bytes = bytes;
    s->transfers++;
}

static void strided_settle(Backend *b) {
    Strided *s = b->state;
    for (int i = 0; i < s->n_pending; i++) memcpy(s->pending[i].to, s->pending[i].from, s->pending[i].bytes);
    s->n_pending = 0;
}

// ---- weights: one float32 segment and the bias after it ----

static size_t strided_weight_bytes(Backend *b, const Weight *w, bool fp8) {
    (void)b;
    (void)fp8;
    return (size_t)(w->rows * (w->cols + (w->bias != NULL))) * sizeof(float);
}

static void strided_weight_place(Backend *b, Weight *w, bool fp8, void *memory) {
    (void)fp8;
    float *data = memory, *bias = data + w->rows * w->cols;
    kernels_ref.expand(b, mat_of(data, DTYPE_F32, w->rows, w->cols), w, 0);
    if (w->bias) memcpy(bias, w->bias, (size_t)w->rows * sizeof *bias);
    *w = (Weight){.name = w->name,
                  .segments = {{.data = data, .dtype = DTYPE_F32, .rows = w->rows}},
                  .n_segments = 1,
                  .rows = w->rows,
                  .cols = w->cols,
                  .bias = w->bias ? bias : NULL};
}

static void strided_close(Backend *b) { mem_free(b->state); }

Backend *strided_open(void) {
    Strided *s = mem_calloc(1, sizeof *s);
    Kernels *k = &s->kernels;
    *k = kernels_ref;
    k->name = "strided";
    k->close = strided_close;
    k->rmsnorm_forward = strided_rmsnorm_forward;
    k->rmsnorm_backward = strided_rmsnorm_backward;
    k->rope = strided_rope;
    k->attention_forward = strided_attention_forward;
    k->attention_backward = strided_attention_backward;
    k->glu_forward = strided_glu_forward;
    k->glu_backward = strided_glu_backward;
    k->offload = k->reload = transfer_later;
    k->settle = strided_settle;
    k->scatter_rows = strided_scatter_rows;
    k->weight_bytes = strided_weight_bytes;
    k->weight_place = strided_weight_place;
    Backend *b = mem_calloc(1, sizeof *b);
    *b = (Backend){.k = k, .threads = 1, .activation = DTYPE_F32, .state = s};
    return b;
}

int strided_transfers(const Backend *b) { return ((const Strided *)b->state)->transfers; }

int strided_key_gradients(const Backend *b) { return ((const Strided *)b->state)->key_gradients; }
