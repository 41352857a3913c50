// Padding (kernels.h): a pass that is rounded up to more tokens, samples and scored rows gives what the reference gives
// without them, and rows of padding become 0 (the logarithm of attention's empty sum: -inf).
//
// Each case makes its matrices with PAD rows more than the op needs. The reference sees the first rows alone; what it
// leaves is filled with what padding must be.
#include "padding_cases.h"

#include <math.h>
#include <string.h>

enum { PAD = 7, SPARE_SAMPLES = 2 };

static bool pads(const OpRun *r) { return !r->b->host_memory; }

// The rows of m that the op is given.
static Mat given(const OpRun *r, Mat m) {
    if (!pads(r)) m.rows -= PAD;
    return m;
}

static Mat input(OpRun *r, int64_t rows, int64_t cols) { return given(r, op_input(r, rows + PAD, cols)); }

// Gradients from above are 0 in rows of padding.
static Mat gradient_input(OpRun *r, int64_t rows, int64_t cols) {
    float *x = op_input_floats(r, (rows + PAD) * cols);
    memset(x + rows * cols, 0, (size_t)(PAD * cols) * sizeof *x);
    Mat m = op_values(r, x, rows + PAD, cols);
    mem_free(x);
    return given(r, m);
}

static Mat output(OpRun *r, const char *name, int64_t rows, int64_t cols, bool f32, double tolerance, float filling) {
    Mat m = (f32 ? op_output_f32 : op_output)(r, name, rows + PAD, cols, tolerance);
    float *x = m.data;
    for (int64_t i = rows * cols; !pads(r) && i < m.rows * cols; i++) x[i] = filling;
    return given(r, m);
}

static Mat activations(OpRun *r, const char *name, int64_t rows, int64_t cols, double tolerance, double roundings) {
    Mat m = output(r, name, rows, cols, false, tolerance, 0);
    op_rounded(r, roundings);
    return m;
}

// n integers of the op, then PAD that are -1.
static int32_t *integers(OpRun *r, int64_t n, int64_t first, int64_t step, int64_t below) {
    int32_t *host = mem_alloc((size_t)(n + PAD), sizeof *host);
    for (int64_t i = 0; i < n + PAD; i++) host[i] = i < n ? (int32_t)((first + i * step) % below) : -1;
    int32_t *p = op_copy(r, host, (size_t)(n + PAD) * sizeof *host);
    mem_free(host);
    return p;
}

// ---- rows ----

// Without its first row, which number -1 would be.
static Mat behind_first(Mat m) {
    m.data = (char *)m.data + mat_stride(m) * dtype_info(m.dtype)->bytes;
    m.rows--;
    return m;
}

static void case_gather_rows_forward(OpRun *r) {
    Mat x = op_input(r, 2 * r->size.t + 2, r->size.k), out = activations(r, "out", r->size.t, r->size.k, 0, 0);
    r->b->k->gather_rows_forward(r->b, out, behind_first(x), integers(r, r->size.t, 1, 2, 1 << 30));
}

static void case_gather_rows_backward(OpRun *r) {
    Mat dout = input(r, r->size.t, r->size.k); // not 0: index -1 passes nothing on
    Mat dx = behind_first(op_inout(r, "dx", 2 * r->size.t + 2, r->size.k, 0));
    r->b->k->gather_rows_backward(r->b, dx, dout, integers(r, r->size.t, 1, 2, 1 << 30), r->size.accumulate);
}

static void case_scatter_rows(OpRun *r) {
    Mat x = input(r, r->size.t, r->size.k), dst = op_inout(r, "dst", 3 * r->size.t + 1, r->size.k, 0);
    r->b->k->scatter_rows(r->b, behind_first(dst), x, integers(r, r->size.t, 0, 3, 1 << 30));
}

// ---- attention: tokens in no sample, and samples without tokens ----

static const int32_t starts[] = {0, 5, 6, 40, 40, 40};
enum { SAMPLES = 3, TOKENS = 40 };

static AttentionShape shape_of(OpRun *r) {
    int32_t lengths[SAMPLES + SPARE_SAMPLES], positions[TOKENS + PAD] = {0};
    for (int s = 0; s < SAMPLES + SPARE_SAMPLES; s++) {
        lengths[s] = starts[s + 1] - starts[s];
        for (int32_t i = 0; i < lengths[s]; i++) positions[starts[s] + i] = i;
    }
    return (AttentionShape){
        .heads = r->size.heads,
        .kv_heads = r->size.kv,
        .head_size = r->size.d,
        .samples = pads(r) ? SAMPLES + SPARE_SAMPLES : SAMPLES,
        .q_start = op_copy(r, starts, sizeof starts),
        .k_start = op_copy(r, starts, sizeof starts),
        .k_len = op_copy(r, lengths, sizeof lengths),
        .q_pos = op_copy(r, positions, sizeof positions),
        .window = r->size.window,
        .scale = 1 / sqrtf((float)r->size.d),
        .bidirectional = r->size.bidirectional,
    };
}

static void case_attention(OpRun *r) {
    const Kernels *k = r->b->k;
    AttentionShape s = shape_of(r);
    int64_t queries = s.heads * s.head_size, keys = s.kv_heads * s.head_size;
    AttentionCall c = {.shape = &s, .q = input(r, TOKENS, queries)};
    c.k = input(r, TOKENS, keys);
    c.v = input(r, TOKENS, keys);
    c.dout = gradient_input(r, TOKENS, queries);
    c.out = activations(r, "out", TOKENS, queries, 5e-6, 4);
    c.lse = output(r, "lse", TOKENS, s.heads, true, 5e-6, -INFINITY);
    c.ws = op_workspace(r, k->attention_workspace(r->b, &s, c.q, c.k, false));
    k->attention_forward(r->b, &c);
    c.dq = activations(r, "dq", TOKENS, queries, 2e-5, 8);
    c.dk = activations(r, "dk", TOKENS, keys, 2e-5, 8);
    c.dv = activations(r, "dv", TOKENS, keys, 2e-5, 8);
    c.ws = op_workspace(r, k->attention_workspace(r->b, &s, c.q, c.k, true));
    k->attention_backward(r->b, &c);
}

// ---- LoRA: what padding adds to the parameters' gradients is 0 ----

static void case_lora_backward(OpRun *r) {
    int64_t t = r->size.t, k = r->size.k, rank = r->size.rank;
    Lora l = {
        .a = op_input_f32(r, rank, k).data,
        .b = op_input_f32(r, r->size.n, rank).data,
        .rank = rank,
        .rows = r->size.n,
        .scale = 0.5f,
        .dropout = r->size.dropout,
        .keys = {.key = {.seed = 5, .module = 2}, .index = integers(r, t, 3, 2, 1 << 20)},
    };
    l.keys.row = integers(r, t, 0, 1, 3);
    Mat x = input(r, t, k), xa = input(r, t, rank), dy = gradient_input(r, t, r->size.n);
    l.da = op_inout_f32(r, "da", rank, k, OP_SUM(t + r->size.n)).data, op_rounded(r, 8);
    l.db = op_inout_f32(r, "db", r->size.n, rank, OP_SUM(t)).data, op_rounded(r, 4);
    void *ws = op_workspace(r, r->b->k->lora_workspace(r->b, &l, x.rows, k));
    r->b->k->lora_backward(r->b, (Mat){.dtype = r->b->activation}, dy, x, xa, &l, ws);
}

// ---- losses ----

static const PassState state = {.grad_scale = 0.125f};

static HeadResult *loss_output(OpRun *r) {
    HeadResult *result = op_workspace(r, sizeof *result);
    op_output_at(r, "loss", &result->loss, sizeof result->loss, OP_DOUBLES, 1e-6), op_rounded(r, 1);
    op_output_at(r, "correct", &result->correct, sizeof result->correct, OP_EXACT, 0), op_rounded(r, 1);
    return result;
}

static void case_head_loss(OpRun *r) {
    int64_t m = r->size.t, v = r->size.n, c = r->size.k;
    Weight w = op_weight(r, v, c);
    Mat x = input(r, m, c);
    HeadLoss h = {.targets = integers(r, m, 5, 31, v), .label_smoothing = r->size.smoothing};
    h.state = op_copy(r, &state, sizeof state);
    HeadResult *result = loss_output(r);
    Mat dx = activations(r, "dx", m, c, 2 * OP_SUM(c), 8);
    void *ws = op_workspace(r, r->b->k->head_loss_workspace(r->b, &w, &h, x.rows));
    r->b->k->head_loss(r->b, result, dx, x, &w, &h, ws);
}

static void case_class_loss(OpRun *r) {
    int64_t m = r->size.t, n = r->size.n, c = r->size.k;
    Mat x = input(r, m, c);
    ClassHead h = {.w = op_input_f32(r, n, c).data, .bias = op_input_f32(r, 1, n).data, .classes = n};
    h.dw = op_inout_f32(r, "dw", n, c, OP_SUM(m + c)).data;
    h.dbias = op_inout_f32(r, "dbias", 1, n, OP_SUM(m + c)).data;
    h.loss = r->size.class_loss;
    h.labels = integers(r, m, 1, 3, h.loss == CLASS_SOFTMAX ? n : 1);
    h.values = op_input_f32(r, m, n).data;
    h.state = op_copy(r, &state, sizeof state);
    HeadResult *result = loss_output(r);
    Mat dx = activations(r, "dx", m, c, 2 * OP_SUM(c + n), 0);
    void *ws = op_workspace(r, r->b->k->class_loss_workspace(r->b, &h, x.rows));
    r->b->k->class_loss(r->b, result, dx, x, &h, ws);
}

// ---- sizes ----

static const OpSize rows[] = {{.t = 5, .k = 64}, {.t = 20, .k = 33, .accumulate = true}};
static const OpSize attention[] = {
    {.heads = 4, .kv = 2, .d = 64},
    {.heads = 3, .kv = 1, .d = 80, .window = 6},
    {.heads = 2, .kv = 2, .d = 32, .bidirectional = true},
};
static const OpSize loras[] = {{.t = 20, .n = 48, .k = 64, .rank = 8, .dropout = 0.2f}};
static const OpSize heads[] = {
    {.t = 9, .n = 500, .k = 64, .dtype = DTYPE_F16},
    {.t = 130, .n = 300, .k = 96, .dtype = DTYPE_Q8_0, .smoothing = 0.1f},
};
static const OpSize classes[] = {{.t = 6, .n = 5, .k = 32}, {.t = 6, .n = 5, .k = 32, .class_loss = CLASS_SQUARES}};

const OpCase padding_cases[] = {
    OP_CASE(gather_rows_forward, rows), OP_CASE(gather_rows_backward, rows),
    OP_CASE(scatter_rows, rows),        OP_CASE(attention, attention),
    OP_CASE(lora_backward, loras),      OP_CASE(head_loss, heads),
    OP_CASE(class_loss, classes),       {0},
};
