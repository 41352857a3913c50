// opcases_matmul: linear and LoRA.
// Tolerances are those of sums, OP_SUM. PRODUCT: where activations are not float32, a product's weights (expanded
// blocks, LoRA's parameters) and what goes from one product to the next are rounded to their type: each term errs by a
// unit, and the worst of many sums by about four times their root mean square. TWO_PRODUCTS: one after the other.
#include "host.h"
#include "opcheck.h"

static const double PRODUCT = 4, TWO_PRODUCTS = 8;

static Mat absent(void) { return (Mat){.data = NULL, .dtype = DTYPE_F32}; }

static void keep(OpRun *r, Weight *w) {
    void *ws = OP_WORKSPACE(r, linear, w, r->size.t);
    size_t bytes = r->b->k->weight_keep(r->b, w, NULL, NULL);
    if (r->size.kept && bytes) CHECK(r->b->k->weight_keep(r->b, w, op_workspace(r, bytes), ws) == bytes);
}

static void linear_forward(OpRun *r, bool in_place) {
    int64_t t = r->size.t, n = r->size.n, k = r->size.k;
    Weight w = op_weight(r, n, k);
    keep(r, &w);
    Mat x = op_input(r, t, k);
    Mat out = (in_place ? op_inout : op_output)(r, "out", t, n, OP_SUM(k));
    op_rounded(r, PRODUCT);
    Mat residual = in_place ? out : r->size.residual ? op_input(r, t, n) : absent();
    OP_CALL(r, linear_forward, out, x, &w, residual, OP_WORKSPACE(r, linear, &w, t));
}

static void case_linear_forward(OpRun *r) { linear_forward(r, false); }

static void case_linear_forward_in_place(OpRun *r) { linear_forward(r, true); }

static void case_linear_backward(OpRun *r) {
    int64_t t = r->size.t, n = r->size.n, k = r->size.k;
    r->size.bias = false; // backward does not read it
    Weight w = op_weight(r, n, k);
    keep(r, &w);
    Mat dout = op_input(r, t, n);
    Mat dx = op_gradient(r, "dx", t, k, OP_SUM(n), r->size.accumulate);
    op_rounded(r, PRODUCT);
    OP_CALL(r, linear_backward, dx, dout, &w, r->size.accumulate, OP_WORKSPACE(r, linear, &w, t));
}

// The rows as parts of 1, 2, 4, ... rows and the rest; every other part has a residual, or accumulates.
enum { PARTS = 8 };
static size_t split(int64_t t, int64_t starts[PARTS + 1]) {
    size_t n = 0;
    for (int64_t at = 0, rows = 1; at < t; at += rows, rows *= 2) {
        if (n == PARTS - 1 || rows > t - at) rows = t - at;
        starts[n++] = at;
    }
    starts[n] = t;
    return n;
}

static void case_linears_forward(OpRun *r) {
    int64_t t = r->size.t, n = r->size.n, k = r->size.k, at[PARTS + 1];
    Weight w = op_weight(r, n, k);
    Mat x = op_input(r, t, k), out = op_output(r, "out", t, n, OP_SUM(k));
    op_rounded(r, PRODUCT);
    Mat residual = r->size.residual ? op_input(r, t, n) : absent();
    LinearCall parts[PARTS];
    size_t count = split(t, at);
    for (size_t i = 0; i < count; i++) {
        int64_t rows = at[i + 1] - at[i];
        parts[i] = (LinearCall){mat_rows(out, at[i], rows), mat_rows(x, at[i], rows),
                                residual.data ? mat_rows(residual, at[i], rows) : absent()};
    }
    OP_CALL(r, linears_forward, parts, count, &w, OP_WORKSPACE(r, linear, &w, t));
}

static void case_linears_backward(OpRun *r) {
    int64_t t = r->size.t, n = r->size.n, k = r->size.k, at[PARTS + 1];
    r->size.bias = false; // backward does not read it
    Weight w = op_weight(r, n, k);
    Mat dout = op_input(r, t, n);
    Mat dx = op_gradient(r, "dx", t, k, OP_SUM(n), r->size.accumulate);
    op_rounded(r, PRODUCT);
    LinearCall parts[PARTS];
    size_t count = split(t, at);
    for (size_t i = 0; i < count; i++) {
        int64_t rows = at[i + 1] - at[i];
        Mat out = mat_rows(dx, at[i], rows);
        parts[i] = (LinearCall){out, mat_rows(dout, at[i], rows), r->size.accumulate && i % 2 ? out : absent()};
    }
    OP_CALL(r, linears_backward, parts, count, &w, OP_WORKSPACE(r, linear, &w, t));
}

static const PassState *pass_state(OpRun *r) {
    return op_copy(r, &(PassState){.grad_scale = 0.125f, .stream = 23}, sizeof(PassState));
}

// The adapter covers columns [row_offset, row_offset + n) of y, five more follow. Tokens are not 0, 1, 2, ...
static Lora lora_of(OpRun *r) {
    Lora l = {
        .a = op_input_f32(r, r->size.rank, r->size.k).data,
        .b = op_input_f32(r, r->size.n, r->size.rank).data,
        .rank = r->size.rank,
        .rows = r->size.n,
        .row_offset = r->size.row_offset,
        .scale = 0.5f,
        .dropout = r->size.dropout,
        .keys = {.key = {.seed = 1234567890123u, .stream = 17, .module = 99, .row = 3}},
    };
    if (!r->size.row_offset) return l;
    AUTO_FREE int32_t *index = mem_alloc((size_t)r->size.t, sizeof *index);
    for (int64_t t = 0; t < r->size.t; t++) index[t] = (int32_t)(t * 3 + 1);
    l.keys.index = op_copy(r, index, (size_t)r->size.t * sizeof *index);
    for (int64_t t = 0; t < r->size.t; t++) index[t] = (int32_t)(t % 7);
    l.keys.row = op_copy(r, index, (size_t)r->size.t * sizeof *index);
    l.keys.state = pass_state(r);
    return l;
}

static void case_lora_forward(OpRun *r) {
    int64_t t = r->size.t, k = r->size.k;
    Lora l = lora_of(r);
    Mat x = op_input(r, t, k);
    Mat y = op_inout(r, "y", t, l.row_offset + l.rows + 5, OP_SUM(k));
    op_rounded(r, TWO_PRODUCTS);
    Mat xa = op_output(r, "xa", t, l.rank, OP_SUM(k));
    op_rounded(r, PRODUCT);
    OP_CALL(r, lora_forward, y, xa, x, &l, OP_WORKSPACE(r, lora, &l, t, k));
}

static void case_lora_backward(OpRun *r) {
    int64_t t = r->size.t, k = r->size.k;
    Lora l = lora_of(r);
    Mat x = op_input(r, t, k), xa = op_input(r, t, l.rank), dy = op_input(r, t, l.row_offset + l.rows + 5);
    if (!r->size.no_da) l.da = op_inout_f32(r, "da", l.rank, k, OP_SUM(t + l.rows)).data, op_rounded(r, TWO_PRODUCTS);
    if (!r->size.no_db) l.db = op_inout_f32(r, "db", l.rows, l.rank, OP_SUM(t)).data, op_rounded(r, PRODUCT);
    Mat dx = absent();
    if (!r->size.no_dx) dx = op_inout(r, "dx", t, k, OP_SUM(l.rows + l.rank)), op_rounded(r, TWO_PRODUCTS);
    OP_CALL(r, lora_backward, dx, dy, x, xa, &l, OP_WORKSPACE(r, lora, &l, t, k));
}

// Several pairs with one x, of different ranks and rows, with gaps between their columns of y; the third has no dA. The
// others have the columns of these, no gradients and no dropout. xa is each backend's own.
static void case_lora_pairs(OpRun *r) {
    enum { TRAINED = 3 };
    int64_t t = r->size.t, k = r->size.k, offset = r->size.row_offset, rank = r->size.rank, n = r->size.n;
    Lora l[LORA_MAX_PAIRS];
    for (int i = 0; i < TRAINED; i++) {
        l[i] = lora_of(r);
        l[i].row_offset = offset;
        l[i].scale = 0.5f / (float)(1 + i);
        l[i].keys.key.module += (uint32_t)i;
        l[TRAINED + i] = lora_of(r);
        l[TRAINED + i].row_offset = offset;
        l[TRAINED + i].scale = -0.25f;
        l[TRAINED + i].dropout = 0;
        offset += l[i].rows + 2;
        r->size.rank += 3, r->size.n += 5;
    }
    r->size.rank = rank, r->size.n = n;
    l->more = LORA_MAX_PAIRS - 1;
    Mat x = op_input(r, t, k), dy = op_input(r, t, offset);
    Mat y = op_inout(r, "y", t, offset, OP_SUM(2 * k));
    op_rounded(r, 2 * TWO_PRODUCTS);
    Mat xa = mat_of(op_workspace(r, (size_t)(t * lora_ranks(l)) * sizeof(float)), x.dtype, t, lora_ranks(l));
    static const char *const das[] = {"da 0", "da 1"}, *const dbs[] = {"db 0", "db 1", "db 2"};
    for (int i = 0; i < TRAINED; i++) {
        if (i < 2)
            l[i].da = op_inout_f32(r, das[i], l[i].rank, k, OP_SUM(t + l[i].rows)).data, op_rounded(r, TWO_PRODUCTS);
        l[i].db = op_inout_f32(r, dbs[i], l[i].rows, l[i].rank, OP_SUM(t + k)).data, op_rounded(r, TWO_PRODUCTS);
    }
    Mat dx = op_inout(r, "dx", t, k, OP_SUM(LORA_MAX_PAIRS * (n + rank)));
    op_rounded(r, 2 * TWO_PRODUCTS);
    void *ws = OP_WORKSPACE(r, lora, l, t, k);
    OP_CALL(r, lora_forward, y, xa, x, l, ws);
    OP_CALL(r, lora_backward, dx, dy, x, xa, l, ws);
}

static void case_dora_norm(OpRun *r) {
    int64_t n = r->size.n, k = r->size.k;
    r->size.bias = false;
    Weight w = op_weight(r, r->size.row_offset + n + 3, k);
    Lora l = lora_of(r);
    // norms near 1 + rank / 4 k: their root mean square is that of the terms
    Mat norm = op_output_f32(r, "norm", 1, n, OP_SUM(k + l.rank));
    op_rounded(r, PRODUCT);
    OP_CALL(r, dora_norm, norm.data, &w, &l, OP_WORKSPACE(r, dora, &w));
}

// Two pairs with columns of neither before, between and after them. Norms as of a weight's rows, one of them 0.
static const float *dora_norms(OpRun *r, int64_t n) {
    AUTO_FREE float *norm = op_input_floats(r, n);
    for (int64_t i = 0; i < n; i++) norm[i] = isnan(norm[i]) ? norm[i] : 0.5f + fabsf(norm[i]);
    norm[n - 1] = 0;
    return op_copy(r, norm, (size_t)n * sizeof *norm);
}

static int64_t dora_pairs(OpRun *r, Lora *l) {
    int64_t offset = r->size.row_offset;
    for (int i = 0; i < 2; i++) {
        l[i] = (Lora){.rank = 1, .rows = r->size.n + 5 * i, .row_offset = offset, .more = 1 - i};
        l[i].magnitude = op_input_f32(r, 1, l[i].rows).data;
        l[i].norm = dora_norms(r, l[i].rows);
        offset += l[i].rows + 2;
    }
    return offset;
}

static void case_dora_forward(OpRun *r) {
    Lora l[2];
    int64_t t = r->size.t, n = dora_pairs(r, l);
    const float *bias = r->size.bias ? op_input_f32(r, 1, n).data : NULL;
    Mat y = op_input(r, t, n);
    Mat out = op_output(r, "out", t, n, 16 * 0x1p-24);
    op_rounded(r, 1);
    OP_CALL(r, dora_forward, out, y, bias, l);
}

static void case_dora_backward(OpRun *r) {
    Lora l[2];
    int64_t t = r->size.t, n = dora_pairs(r, l);
    const float *bias = r->size.bias ? op_input_f32(r, 1, n).data : NULL;
    Mat y = op_input(r, t, n), dout = r->size.accumulate ? absent() : op_input(r, t, n);
    Mat dy =
        r->size.accumulate ? op_inout(r, "dy over dout", t, n, 16 * 0x1p-24) : op_output(r, "dy", t, n, 16 * 0x1p-24);
    op_rounded(r, 1);
    l[0].dmagnitude = op_inout_f32(r, "dmagnitude", 1, l[0].rows, OP_SUM(t)).data;
    if (!r->size.no_db) l[1].dmagnitude = op_inout_f32(r, "dmagnitude 1", 1, l[1].rows, OP_SUM(t)).data;
    OP_CALL(r, dora_backward, dy, dout.data ? dout : dy, y, bias, l);
}

// The decision of each element: with x = 1 and A = the unit row of column c, xa[t] is drop's factor at (t, c). All of
// `k` columns go through a rank-k adapter, so the masks of two backends are compared bit for bit.
static void case_lora_mask(OpRun *r) {
    int64_t t = r->size.t, k = r->size.k;
    float *ones = mem_alloc((size_t)(t * k), sizeof *ones), *unit = mem_calloc((size_t)(k * k), sizeof *unit);
    for (int64_t i = 0; i < t * k; i++) ones[i] = 1;
    for (int64_t i = 0; i < k; i++) unit[i * k + i] = 1;
    Mat x = op_values(r, ones, t, k);
    r->size.rank = k;
    Lora l = lora_of(r);
    l.a = op_copy(r, unit, (size_t)(k * k) * sizeof *unit);
    mem_free(ones);
    mem_free(unit);
    Mat y = op_inout(r, "y", t, l.row_offset + l.rows + 5, OP_SUM(k));
    op_rounded(r, TWO_PRODUCTS);
    Mat xa = op_output(r, "xa", t, k, 0);
    op_split(r, 1);
    OP_CALL(r, lora_forward, y, xa, x, &l, OP_WORKSPACE(r, lora, &l, t, k));
}

// ---- sizes ----

static const OpSize linears[] = {
    OP_EVERY_DTYPE(.t = 1, .n = 33, .k = 512),
    OP_EVERY_DTYPE(.t = 67, .n = 130, .k = 256, .accumulate = true),
    {.t = 1, .n = 576, .k = 576, .dtype = DTYPE_Q4_1},
    {.t = 2, .n = 77, .k = 1536, .dtype = DTYPE_Q4_1, .bias = true, .accumulate = true},
    {.t = 3, .n = 192, .k = 100, .dtype = DTYPE_F32, .residual = true, .accumulate = true},
    {.t = 4, .n = 1, .k = 576, .dtype = DTYPE_BF16, .bias = true, .residual = true},
    {.t = 5, .n = 100, .k = 3, .dtype = DTYPE_F32},
    {.t = 16, .n = 960, .k = 576, .dtype = DTYPE_Q4_1, .residual = true},
    {.t = 127, .n = 192, .k = 576, .dtype = DTYPE_Q4_1, .row_map = true, .accumulate = true},
    {.t = 127, .n = 961, .k = 576, .dtype = DTYPE_Q8_0, .row_map = true, .segments = 3, .bias = true},
    {.t = 40, .n = 200, .k = 320, .dtype = DTYPE_NF4, .row_map = true, .segments = 1, .accumulate = true},
    {.t = 40, .n = 200, .k = 328, .dtype = DTYPE_U4_G, .row_map = true, .accumulate = true},
    {.t = 67, .n = 130, .k = 584, .dtype = DTYPE_I8_G, .row_map = true},
    {.t = 67, .n = 130, .k = 584, .dtype = DTYPE_NF4_G, .row_map = true, .bias = true},
    {.t = 513, .n = 100, .k = 576, .dtype = DTYPE_Q8_0, .bias = true, .residual = true, .accumulate = true},
    {.t = 513, .n = 576, .k = 100, .dtype = DTYPE_F16, .residual = true},
    // around the tiles of products
    {.t = 15, .n = 31, .k = 17, .dtype = DTYPE_F32},
    {.t = 16, .n = 33, .k = 577, .dtype = DTYPE_BF16, .accumulate = true},
    {.t = 17, .n = 16, .k = 31, .dtype = DTYPE_F16, .bias = true},
    {.t = 31, .n = 575, .k = 33, .dtype = DTYPE_F32, .residual = true},
    {.t = 33, .n = 577, .k = 15, .dtype = DTYPE_BF16},
    {.t = 577, .n = 15, .k = 1, .dtype = DTYPE_F32, .accumulate = true},
    OP_EVERY_DTYPE(.t = 33, .n = 70, .k = 256, .kept = true),
    {.t = 9, .n = 577, .k = 33, .dtype = DTYPE_F32, .residual = true, .kept = true},
    {.t = 17, .n = 33, .k = 2048, .dtype = DTYPE_BF16}, // rows a multiple of 4096 bytes apart
    {.t = 13, .n = 1024, .k = 65, .dtype = DTYPE_F32, .residual = true},
    {.t = 19, .n = 1030, .k = 1024, .dtype = DTYPE_F32},
    {.t = 127, .n = 961, .k = 576, .dtype = DTYPE_Q8_0, .row_map = true, .segments = 3, .bias = true, .kept = true},
};
static const OpSize loras[] = {
    {.t = 1, .n = 576, .k = 576, .rank = 16},
    {.t = 1, .n = 192, .k = 576, .rank = 8, .dropout = 0.1f, .row_offset = 100},
    {.t = 3, .n = 100, .k = 101, .rank = 1, .dropout = 0.5f, .no_da = true},
    {.t = 3, .n = 7, .k = 100, .rank = 5, .row_offset = 2, .no_db = true},
    {.t = 127, .n = 576, .k = 576, .rank = 16, .dropout = 0.05f},
    {.t = 127, .n = 100, .k = 1536, .rank = 64, .row_offset = 1, .no_dx = true},
    {.t = 513, .n = 192, .k = 576, .rank = 16, .dropout = 0.1f, .row_offset = 3},
    {.t = 513, .n = 577, .k = 99, .rank = 8, .no_da = true, .no_db = true},
};
static const OpSize lora_pairs[] = {
    {.t = 1, .n = 100, .k = 64, .rank = 8},
    {.t = 67, .n = 33, .k = 101, .rank = 5, .row_offset = 3},
    {.t = 127, .n = 96, .k = 128, .rank = 16},
    {.t = 67, .n = 33, .k = 100, .rank = 8, .dropout = 0.1f, .row_offset = 1},
};
static const OpSize dora_norms_[] = {
    OP_EVERY_DTYPE(.n = 33, .k = 256, .rank = 8),
    OP_EVERY_DTYPE(.n = 70, .k = 512, .rank = 3, .row_offset = 9),
    {.n = 3, .k = 101, .rank = 1, .dtype = DTYPE_F32},
    {.n = 130, .k = 576, .rank = 16, .dtype = DTYPE_BF16, .row_offset = 100},
    {.n = 961, .k = 576, .rank = 16, .dtype = DTYPE_Q8_0, .row_map = true, .segments = 3, .row_offset = 70},
    {.n = 200, .k = 320, .rank = 64, .dtype = DTYPE_NF4, .row_map = true, .segments = 1},
};
static const OpSize doras[] = {
    {.t = 1, .n = 576},
    {.t = 3, .n = 7, .bias = true, .row_offset = 2},
    {.t = 67, .n = 100, .row_offset = 64, .accumulate = true},
    {.t = 127, .n = 576, .bias = true, .no_db = true},
    {.t = 513, .n = 193, .row_offset = 1, .bias = true, .accumulate = true},
};
static const OpSize masks[] = {
    // no_da: A is not random, so there is no NaN in it
    {.t = 1, .n = 3, .no_da = true, .k = 64, .dropout = 0.5f},
    {.t = 127, .n = 3, .k = 101, .dropout = 0.1f},
    {.t = 513, .n = 3, .k = 64, .dropout = 0.9f, .row_offset = 1},
};
const OpCase op_cases_matmul[] = {
    OP_CASE(linear_forward, linears),
    OP_CASE(linear_forward_in_place, linears),
    OP_CASE(linear_backward, linears),
    OP_CASE(linears_forward, linears),
    OP_CASE(linears_backward, linears),
    OP_CASE(lora_forward, loras),
    OP_CASE(lora_backward, loras),
    OP_CASE(lora_pairs, lora_pairs),
    OP_CASE(lora_mask, masks),
    OP_CASE(dora_norm, dora_norms_),
    OP_CASE(dora_forward, doras),
    OP_CASE(dora_backward, doras),
    {0},
};
