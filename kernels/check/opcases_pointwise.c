// opcases_pointwise: the ops that touch each element once, normalisation, expansion and the optimizer.
//
// Tolerances, relative to the output's root mean square. EXACT: no rounding, or the same single rounding on any
// machine. FEW: a handful of float32 roundings (2^-24 each) of terms a few times the root mean square.
#include "opcheck.h"

#include <math.h>
#include <string.h>

static const double EXACT = 0, FEW = 1e-6;

static int32_t *indices(OpRun *r, int64_t count, int64_t first, int64_t step) {
    AUTO_FREE int32_t *index = mem_alloc((size_t)count, sizeof *index);
    for (int64_t i = 0; i < count; i++) index[i] = (int32_t)(first + i * step);
    int32_t *copy = op_copy(r, index, (size_t)count * sizeof *index);
    return copy;
}

static void case_expand(OpRun *r) {
    Weight w = op_weight(r, r->size.n, r->size.k);
    OP_CALL(r, expand, op_output_f32(r, "dst", r->size.n, r->size.k, EXACT), &w, 0);
    OP_CALL(r, expand, op_output_f32(r, "part", r->size.n / 2, r->size.k, EXACT), &w, r->size.n / 3);
}

static void case_weight_finite(OpRun *r) {
    Weight w = op_weight(r, r->size.n, r->size.k);
    bool finite = OP_CALL(r, weight_finite, &w);
    uint8_t *out = op_output_bytes(r, "finite", 1, OP_EXACT, 0, NULL);
    OP_CALL(r, upload, out, &finite, 1);
}

static void case_embed_forward(OpRun *r) {
    Weight w = op_weight(r, r->size.n, r->size.k);
    AUTO_FREE int32_t *ids = mem_alloc((size_t)r->size.t, sizeof *ids);
    for (int64_t t = 0; t < r->size.t; t++) ids[t] = (int32_t)(t * 7919 % r->size.n);
    Mat out = op_output(r, "out", r->size.t, r->size.k, EXACT);
    OP_CALL(r, embed_forward, out, &w, op_copy(r, ids, (size_t)r->size.t * sizeof *ids), 1.7f, false);
    Mat sum = op_inout(r, "sum", r->size.t, r->size.k, FEW);
    OP_CALL(r, embed_forward, sum, &w, op_copy(r, ids, (size_t)r->size.t * sizeof *ids), 1.7f, true);
}

static void case_neftune(OpRun *r) {
    Mat x = op_inout(r, "x", r->size.t, r->size.k, FEW);
    const float *magnitude = op_input_f32(r, r->size.t, 1).data;
    TokenKeys keys = {.key = {.seed = 3, .stream = 4, .module = 5, .row = 6}};
    OP_CALL(r, neftune, x, magnitude, 5, &keys);
}

// k columns, or heads of d columns each by themselves.
static void case_rmsnorm_forward(OpRun *r) {
    int64_t groups = r->size.heads ? r->size.heads : 1, group = r->size.heads ? r->size.d : r->size.k;
    Mat x = op_input(r, r->size.t, groups * group), weight = op_input_f32(r, 1, group);
    Mat out = op_output(r, "out", r->size.t, groups * group, OP_SUM(group));
    Mat rstd = op_output_f32(r, "rstd", r->size.t, groups, OP_SUM(group));
    OP_CALL(r, rmsnorm_forward, out, rstd, x, weight.data, 1e-5f);
}

static void case_rmsnorm_backward(OpRun *r) {
    int64_t groups = r->size.heads ? r->size.heads : 1, group = r->size.heads ? r->size.d : r->size.k;
    Mat x = op_input(r, r->size.t, groups * group), weight = op_input_f32(r, 1, group);
    Mat dout = op_input(r, r->size.t, groups * group), rstd = op_input_f32(r, r->size.t, groups);
    Mat dx = op_gradient(r, "dx", r->size.t, groups * group, OP_SUM(group), r->size.accumulate);
    OP_CALL(r, rmsnorm_backward, dx, dout, x, rstd, weight.data, r->size.accumulate);
}

static void case_layernorm_forward(OpRun *r) {
    Mat x = op_input(r, r->size.t, r->size.k), weight = op_input_f32(r, 1, r->size.k),
        bias = op_input_f32(r, 1, r->size.k);
    Mat out = op_output(r, "out", r->size.t, r->size.k, OP_SUM(r->size.k));
    Mat stats = op_output_f32(r, "stats", r->size.t, 2, OP_SUM(r->size.k));
    OP_CALL(r, layernorm_forward, out, stats, x, weight.data, bias.data, 1e-5f);
}

static void case_layernorm_backward(OpRun *r) {
    Mat x = op_input(r, r->size.t, r->size.k), weight = op_input_f32(r, 1, r->size.k);
    Mat dout = op_input(r, r->size.t, r->size.k), stats = op_input_f32(r, r->size.t, 2);
    Mat dx = op_gradient(r, "dx", r->size.t, r->size.k, OP_SUM(r->size.k), r->size.accumulate);
    OP_CALL(r, layernorm_backward, dx, dout, x, stats, weight.data, r->size.accumulate);
}

static void rope(OpRun *r, bool inverse) {
    int64_t rotated = r->size.rotated ? r->size.rotated : r->size.d;
    Mat x = op_inout(r, "x", r->size.t, r->size.heads * r->size.d, FEW);
    Mat cos_sin = op_input_f32(r, r->size.t, rotated);
    int32_t *pos = indices(r, r->size.t, r->size.t - 1, -1);
    RopeTable table = {cos_sin.data, pos, r->size.d, rotated, r->size.interleaved};
    OP_CALL(r, rope, x, &table, inverse);
}

static void case_rope(OpRun *r) { rope(r, false); }

static void case_rope_inverse(OpRun *r) { rope(r, true); }

static void case_gather_rows_forward(OpRun *r) {
    Mat x = op_input(r, 2 * r->size.t + 1, r->size.k);
    int32_t *index = indices(r, r->size.t, 1, 2);
    OP_CALL(r, gather_rows_forward, op_output(r, "out", r->size.t, r->size.k, EXACT), x, index);
}

static void case_gather_rows_backward(OpRun *r) {
    Mat dout = op_input(r, r->size.t, r->size.k);
    Mat dx = op_gradient(r, "dx", 2 * r->size.t + 1, r->size.k, EXACT, r->size.accumulate);
    OP_CALL(r, gather_rows_backward, dx, dout, indices(r, r->size.t, 1, 2), r->size.accumulate);
}

static void case_scatter_rows(OpRun *r) {
    Mat x = op_input(r, r->size.t, r->size.k), dst = op_inout(r, "dst", 3 * r->size.t, r->size.k, EXACT);
    OP_CALL(r, scatter_rows, dst, x, indices(r, r->size.t, 3 * r->size.t - 1, -2));
}

static void case_add(OpRun *r) {
    Mat dst = op_inout(r, "dst", r->size.t, r->size.k, EXACT);
    OP_CALL(r, add, dst, op_input(r, r->size.t, r->size.k));
}

static void case_argmax(OpRun *r) {
    Mat logits = op_input_f32(r, r->size.t, r->size.n);
    OP_CALL(r, argmax, op_output_bytes(r, "out", (size_t)r->size.t * sizeof(int32_t), OP_EXACT, 0, NULL), logits);
}

// Ties, both zeros, infinities, NaN of either sign.
static void case_argmax_special(OpRun *r) {
    enum { ROWS = 8, N = 37 };
    float x[ROWS][N];
    for (int i = 0; i < ROWS * N; i++) x[i / N][i % N] = -1;
    x[0][3] = x[0][30] = 2;
    x[1][5] = -0.0f, x[1][6] = 0.0f;
    x[2][9] = INFINITY, x[2][20] = INFINITY;
    x[3][36] = NAN;
    x[4][0] = -NAN;
    for (int i = 0; i < N; i++) x[5][i] = -INFINITY;
    x[6][36] = 1;
    x[7][0] = 1e-40f;
    Mat logits = mat_of(op_copy(r, x, sizeof x), DTYPE_F32, ROWS, N);
    OP_CALL(r, argmax, op_output_bytes(r, "out", ROWS * sizeof(int32_t), OP_EXACT, 0, NULL), logits);
}

// Several passes, one of them with a loss that is no number or too large.
static void case_tally(OpRun *r) {
    const HeadResult passes[] = {{1234.56789, 3, {0}},
                                 {-0x1p-33 * 3, 1, {-1, 2.5, 0x1p-33, -1e3}},
                                 {(double)r->size.n / 7, r->size.n, {3}},
                                 {0, 0, {0}},
                                 {HEAD_TALLY_LIMIT - 0x1p-23, 2, {0}},
                                 {r->size.bias ? -HEAD_TALLY_LIMIT : 1, 1, {0}},
                                 {r->size.bias ? NAN : -1e-3, 5, {0, r->size.bias ? -1 : INFINITY}}};
    const HeadTally start = {.loss = {5, 0xfffffff0}, .sums = {{1, 2}}, .correct = 7};
    HeadTally *t = op_output_bytes(r, "tally", sizeof start, OP_EXACT, 0, &start);
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++)
        OP_CALL(r, tally, t, op_copy(r, &passes[i], sizeof passes[i]));
}

// Gradients up to the limit and beyond, ties of the rounding, NaN where poisoned.
static void case_fixed_add(OpRun *r) {
    size_t n = (size_t)r->size.n;
    int64_t *start = mem_alloc(n, sizeof *start), zero = 0;
    for (size_t i = 0; i < n; i++) start[i] = (int64_t)i << 40;
    Mat g = op_input_f32(r, 1, r->size.n);
    float special[] = {0x1p-45f, 0x1.8p-44f, -0x1p-45f, 100, -7.9999995f, 8, -8, INFINITY};
    if (n >= 8 && r->size.bias) OP_CALL(r, upload, g.data, special, sizeof special);
    int64_t *acc = op_output_bytes(r, "acc", n * sizeof *start, OP_EXACT, 0, start);
    int64_t *bad = op_output_bytes(r, "bad", sizeof zero, OP_EXACT, 0, &zero);
    OP_CALL(r, fixed_add, acc, g.data, r->size.n, 8, 1, bad);
    mem_free(start);
}

static void case_fixed_to_f32(OpRun *r) {
    size_t n = (size_t)r->size.n;
    AUTO_FREE int64_t *acc = mem_alloc(n, sizeof *acc);
    for (size_t i = 0; i < n; i++) acc[i] = (int64_t)(i * 0x9E3779B97F4A7C15u) >> i % 60;
    Mat g = op_output_f32(r, "g", 1, r->size.n, EXACT);
    OP_CALL(r, fixed_to_f32, g.data, op_copy(r, acc, n * sizeof *acc), r->size.n);
}

static void case_sqnorm(OpRun *r) {
    Mat g = op_input_f32(r, 1, r->size.n);
    // A sum of n positive doubles in another order: far below n * 2^-53.
    double *out = op_output_bytes(r, "out", sizeof *out, OP_DOUBLES, 1e-13, NULL);
    OP_CALL(r, sqnorm, out, g.data, r->size.n);
}

static void case_adamw(OpRun *r) {
    int64_t n = r->size.n;
    Mat g = op_input_f32(r, 1, n), p = op_inout_f32(r, "p", 1, n, FEW), m = op_inout_f32(r, "m", 1, n, FEW);
    AUTO_FREE float *second = mem_alloc((size_t)n, sizeof *second);
    for (int64_t i = 0; i < n; i++) second[i] = 0.1f + (float)(i % 13);
    float *v = op_output_bytes(r, "v", (size_t)n * sizeof *v, OP_FLOATS, FEW, second);
    AdamwSegment segments[] = {{0, n / 3, 1}, {n / 3 + 1, n - n / 3 - 1, 16}}; // one element between them stays
    Adamw o = {.lr = 1e-2,
               .beta1 = 0.9,
               .beta2 = 0.999,
               .epsilon = 1e-8,
               .weight_decay = 0.1,
               .max_grad_norm = 0.5, // of a norm of 1
               .square = op_copy(r, &(double){1}, sizeof(double)),
               .bad = op_copy(r, &(int64_t){0}, sizeof(int64_t)),
               .step = r->size.t,
               .segments = segments,
               .n_segments = 2};
    OP_CALL(r, adamw, p.data, m.data, v, g.data, &o);
}

// ---- sizes ----

static const OpSize weights[] = {
    OP_EVERY_DTYPE(.t = 5, .n = 37, .k = 512),
    OP_EVERY_DTYPE(.t = 131, .n = 300, .k = 256),
    {.t = 3, .n = 7, .k = 100, .dtype = DTYPE_F32},
    {.t = 3, .n = 7, .k = 100, .dtype = DTYPE_F16},
    {.t = 3, .n = 7, .k = 100, .dtype = DTYPE_BF16},
    {.t = 60, .n = 192, .k = 576, .dtype = DTYPE_Q4_1, .row_map = true},
    {.t = 60, .n = 193, .k = 576, .dtype = DTYPE_Q8_0, .row_map = true, .segments = 4},
    {.t = 60, .n = 192, .k = 576, .dtype = DTYPE_NF4, .row_map = true},
    {.t = 60, .n = 192, .k = 584, .dtype = DTYPE_U4_G, .row_map = true},
    {.t = 1, .n = 10, .k = 576, .dtype = DTYPE_F16, .segments = 3},
};
// k = 1: layernorm's x - mean and variance are 0, so only its bias is left.
// clang-format off
#define ROWS \
    {.t = 1, .k = 576}, {.t = 3, .k = 100}, {.t = 127, .k = 576}, {.t = 513, .k = 100}, \
    {.t = 1, .k = 576, .accumulate = true}, {.t = 3, .k = 101, .accumulate = true}, \
    {.t = 127, .k = 1, .accumulate = true}, {.t = 513, .k = 576, .accumulate = true}
// clang-format on
static const OpSize rows[] = {ROWS};
static const OpSize groups[] = {
    ROWS,
    {.t = 1, .heads = 9, .d = 64},
    {.t = 127, .heads = 3, .d = 128},
    {.t = 33, .heads = 5, .d = 7, .accumulate = true},
    {.t = 3, .heads = 4, .d = 256, .accumulate = true},
};
static const OpSize heads[] = {
    {.t = 1, .heads = 9, .d = 64},
    {.t = 3, .heads = 3, .d = 80},
    {.t = 127, .heads = 3, .d = 128},
    {.t = 513, .heads = 2, .d = 64},
    {.t = 5, .heads = 1, .d = 2},
    {.t = 7, .heads = 3, .d = 6},
    {.t = 33, .heads = 3, .d = 128, .rotated = 96},
    {.t = 3, .heads = 5, .d = 7, .rotated = 6},
    {.t = 127, .heads = 2, .d = 80, .rotated = 2},
    {.t = 127, .heads = 3, .d = 64, .interleaved = true},
    {.t = 33, .heads = 3, .d = 128, .rotated = 64, .interleaved = true},
    {.t = 3, .heads = 5, .d = 7, .rotated = 6, .interleaved = true},
};
static const OpSize logits[] = {{.t = 1, .n = 49152}, {.t = 3, .n = 100}, {.t = 127, .n = 1001}, {.t = 5, .n = 1}};
static const OpSize none[] = {{.t = 1}};
// t: the optimizer step.
static const OpSize flat[] = {
    {.t = 1, .n = 8},      {.t = 1, .n = 100, .bias = true},   {.t = 2, .n = 4096}, {.t = 100, .n = 4097},
    {.t = 7, .n = 100003}, {.t = 1, .n = 65536, .bias = true},
};

const OpCase op_cases_pointwise[] = {
    OP_CASE(expand, weights),
    OP_HOST_CASE(weight_finite, weights),
    OP_CASE(embed_forward, weights),
    OP_CASE(neftune, rows),
    OP_CASE(rmsnorm_forward, groups),
    OP_CASE(rmsnorm_backward, groups),
    OP_CASE(layernorm_forward, rows),
    OP_CASE(layernorm_backward, rows),
    OP_CASE(rope, heads),
    OP_CASE(rope_inverse, heads),
    OP_CASE(gather_rows_forward, rows),
    OP_CASE(gather_rows_backward, rows),
    OP_CASE(scatter_rows, rows),
    OP_CASE(add, rows),
    OP_CASE(argmax, logits),
    OP_CASE(argmax_special, none),
    OP_CASE(tally, flat),
    OP_CASE(fixed_add, flat),
    OP_CASE(fixed_to_f32, flat),
    OP_CASE(sqnorm, flat),
    OP_CASE(adamw, flat),
    {0},
};
