// matmul_cpu: y = x W^T of a frozen weight that stays as stored, and its backward.
//
// A panel of W is expanded and packed once, by all threads together, and then multiplied by all rows of x: forward
// takes panels of rows of W, backward panels of its columns, so that each element of a result is one sum in float32,
// rounded once. The bits of a row depend on the shape of W, and on whether x has few rows (decoding): then a thread
// expands some rows of W and takes dot products.
//
// The number of rows of an expert varies, so its unit of work is a panel of one thread, which multiplies all rows of
// the expert by it, without barriers between panels or experts.
#include "gemm.h"

enum {
    TILE_N = 192,          // columns of the result in a product: whole strips
    FEW_T = 8,             // at most so many rows of x: dot products
    FEW_ROWS = 8,          // rows of W that a thread expands for them
    BACKWARD_ROWS = 32,    // rows of W that a thread packs at a time: a multiple of K_STEP
    BLOCK_COLS = 256,      // whole blocks of every type
    PANEL_BYTES = 8 << 20, // of a panel of all threads, if one strip or BLOCK_COLS columns need no more
    EXPERT_BYTES = 1 << 20 // of a panel of one thread
};
_Static_assert(TILE_N % STRIP == 0 && BACKWARD_ROWS % K_STEP == 0, "whole tiles");

// Rows of W in a panel of forward: as many as fit `bytes`, at least a strip.
static int64_t forward_panel(const Weight *w, int64_t bytes) {
    int64_t rows = bytes / (int64_t)sizeof(Part) / gemm_strip_size(w->cols) * STRIP;
    return min64(max64(rows, STRIP), (w->rows + STRIP - 1) / STRIP * STRIP);
}

// A panel of backward: all rows of as many columns as fit `bytes`; a part of the rows of BLOCK_COLS columns if W is so
// tall that these do not.
typedef struct BackwardPanel {
    int64_t rows, cols;
} BackwardPanel;
static BackwardPanel backward_panel(const Weight *w, int64_t bytes) {
    int64_t parts = bytes / (int64_t)sizeof(Part), column = gemm_strip_size(w->rows) / STRIP;
    int64_t cols = max64(parts / column / BLOCK_COLS * BLOCK_COLS, BLOCK_COLS);
    cols = min64(cols, (w->cols + STRIP - 1) / STRIP * STRIP);
    int64_t rows = max64(parts / PARTS / cols / BACKWARD_ROWS, 1) * BACKWARD_ROWS;
    return (BackwardPanel){min64(rows, w->rows), cols};
}

// Parts of the larger panel; elements of the rows that a thread expands at a time.
static int64_t panel_parts(const Weight *w, int64_t bytes) {
    BackwardPanel p = backward_panel(w, bytes);
    return max64(gemm_packed_size(w->cols, forward_panel(w, bytes)), gemm_packed_size(p.rows, p.cols));
}
static int64_t scratch_elements(const Weight *w) {
    int64_t floats = FEW_ROWS * w->cols * (int64_t)(sizeof(float) / sizeof(Act));
    return max64(max64(STRIP, BACKWARD_ROWS) * gemm_row_stride(w->cols), floats);
}

// A panel; the parts of x or dout; scratch of each thread; backward: sums [T, columns of the panel] if a panel has not
// all rows of W.
size_t CPU_FN(linear_workspace)(Backend *b, const Weight *w, int64_t t) {
    BackwardPanel p = backward_panel(w, PANEL_BYTES);
    size_t sums = p.rows < w->rows ? (size_t)(t * p.cols) * sizeof(float) : 0;
    int64_t parts = panel_parts(w, PANEL_BYTES) + max64(gemm_left_size(t, w->rows), gemm_left_size(t, w->cols));
    return (size_t)parts * sizeof(Part) + (size_t)(b->threads * scratch_elements(w)) * sizeof(Act) + sums;
}

// ---- a kept copy: all rows packed for forward, then all columns for backward, panel of rows after panel of rows ----

static const Part *kept_rows(const Weight *w, int64_t row) {
    return (const Part *)w->kept + row / STRIP * gemm_strip_size(w->cols);
}
static const Part *kept_columns(WeightPart p) {
    int64_t above = gemm_packed_size(p.row, p.w->cols), left = p.col / STRIP * gemm_strip_size(p.rows);
    return (const Part *)p.w->kept + gemm_packed_size(p.w->cols, p.w->rows) + above + left;
}

// Rows [t, t + p.m) and columns [n, n + p.n) of out = x W^T + bias + residual.
static void forward_tile(Mat out, const Weight *w, Mat residual, int64_t t, int64_t n, Product p) {
    Output o = {.stride = out.cols, .bias = w->bias ? w->bias + n : NULL};
    if (out.dtype == DTYPE_F32)
        o.f32 = f32_row(out, t) + n;
    else
        o.act = act_row(out, t) + n;
    if (residual.data) o.residual = act_row(residual, t) + n, o.residual_stride = residual.cols;
    gemm(o, p);
}

// Packs rows [row, row + count) of W for forward, by the threads of the team.
static void pack_rows(Part *panel, const Weight *w, int64_t row, int64_t count, Act *scratch) {
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < count; i += STRIP)
        gemm_pack_weight_rows(panel + i / STRIP * gemm_strip_size(w->cols), w, row + i, min64(STRIP, count - i),
                              scratch);
}

// ---- the rows of several calls, cut into tiles of at most GEMM_ROWS rows that follow each other ----

typedef struct RowTile {
    const LinearCall *call;
    int64_t t, rows;
    int64_t before; // rows of the calls before this one
} RowTile;

// Of a call; those with at most `few` rows have none.
static int64_t tiles_of(const LinearCall *p, int64_t few) {
    return p->in.rows > few ? (p->in.rows + GEMM_ROWS - 1) / GEMM_ROWS : 0;
}

static int64_t count_tiles(const LinearCall *calls, size_t n, int64_t few) {
    int64_t tiles = 0;
    for (size_t i = 0; i < n; i++) tiles += tiles_of(&calls[i], few);
    return tiles;
}

static int64_t count_rows(const LinearCall *calls, size_t n) {
    int64_t rows = 0;
    for (size_t i = 0; i < n; i++) rows += calls[i].in.rows;
    return rows;
}

static RowTile find_tile(const LinearCall *calls, int64_t tile, int64_t few) {
    RowTile r = {.call = calls};
    for (; tile >= tiles_of(r.call, few); r.call++) {
        tile -= tiles_of(r.call, few);
        r.before += r.call->in.rows;
    }
    r.t = tile * GEMM_ROWS;
    r.rows = min64(GEMM_ROWS, r.call->in.rows - r.t);
    return r;
}

// The rows of all calls as left operands, by the threads of the team, in `memory` if they are copied.
static void copy_calls(Part *memory, const LinearCall *calls, size_t n) {
    for (size_t i = 0; i < n && gemm_copies(calls->in.cols);
         memory += gemm_left_size(calls[i].in.rows, calls[i].in.cols), i++)
        (void)gemm_left_by_team(memory, calls[i].in);
}

// The left operand of a tile, from element k on.
static Left left_of(Part *memory, RowTile r, int64_t k) {
    Mat in = r.call->in;
    Left rows = gemm_copies(in.cols) ? (Left){memory + gemm_left_size(r.before, in.cols), gemm_left_row(in.cols)}
                                     : gemm_left(NULL, act_row(in, 0), in.cols, in.rows, in.cols);
    return gemm_left_at(rows, r.t, k);
}

// Of the calls with more than FEW_T rows.
static void forward_panels(Backend *b, const LinearCall *calls, size_t n, const Weight *w, Part *panel) {
    int64_t size = forward_panel(w, PANEL_BYTES), strip = gemm_strip_size(w->cols), k = w->cols;
    int64_t tiles = count_tiles(calls, n, FEW_T);
    Part *left = panel + gemm_packed_size(k, size);
    Act *all_scratch = (Act *)(left + gemm_left_size(count_rows(calls, n), k));
    if (!tiles) return;
#pragma omp parallel num_threads(b->threads)
    {
        Act *scratch = all_scratch + omp_get_thread_num() * scratch_elements(w);
        copy_calls(left, calls, n);
        for (int64_t n0 = 0; n0 < w->rows; n0 += size) {
            int64_t count = min64(size, w->rows - n0);
            const Part *packed = w->kept ? kept_rows(w, n0) : panel;
            if (!w->kept) pack_rows(panel, w, n0, count, scratch);
#pragma omp for collapse(2) schedule(dynamic)
            for (int64_t tile = 0; tile < tiles; tile++)
                for (int64_t i = 0; i < count; i += TILE_N) {
                    RowTile r = find_tile(calls, tile, FEW_T);
                    Product p = {r.rows,
                                 min64(TILE_N, count - i),
                                 k,
                                 .a = left_of(left, r, 0),
                                 .b = packed + i / STRIP * strip,
                                 .alpha = 1};
                    forward_tile(r.call->out, w, r.call->residual, r.t, n0 + i, p);
                }
        }
    }
}

static float dot(const Act *x, const float *w, int64_t k) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < k; i++) sum += act_load(x[i]) * w[i];
    return sum;
}

// Columns [n, n + count) of out, for few rows of x.
static void few_rows(Mat out, Mat x, const Weight *w, Mat residual, int64_t n, int64_t count, float *rows) {
    cpu_expand_rows(rows, w, n, count);
    for (int64_t t = 0; t < x.rows; t++)
        for (int64_t i = 0; i < count; i++) {
            float y = dot(act_row(x, t), rows + i * w->cols, w->cols) + (w->bias ? w->bias[n + i] : 0);
            if (residual.data) y += act_load(act_row(residual, t)[n + i]);
            if (out.dtype == DTYPE_F32)
                f32_row(out, t)[n + i] = y;
            else
                act_row(out, t)[n + i] = act_store(y);
        }
}

static void few_rows_forward(Backend *b, const LinearCall *p, const Weight *w, void *ws) {
#pragma omp parallel num_threads(b->threads)
    {
        float *rows = (float *)((Act *)ws + omp_get_thread_num() * scratch_elements(w));
#pragma omp for schedule(dynamic)
        for (int64_t n = 0; n < w->rows; n += FEW_ROWS)
            few_rows(p->out, p->in, w, p->residual, n, min64(FEW_ROWS, w->rows - n), rows);
    }
}

void CPU_FN(linears_forward)(Backend *b, const LinearCall *calls, size_t n, const Weight *w, void *ws) {
    for (const LinearCall *p = calls; p < calls + n; p++) {
        CHECK_ACT(p->in, p->in.rows, w->cols);
        // NOLINTNEXTLINE(bugprone-branch-clone): equal in copies with activations in float32
        CHECK_MATRIX(p->out, p->out.dtype == DTYPE_F32 ? DTYPE_F32 : ACT_DTYPE, p->in.rows, w->rows);
        if (p->residual.data) CHECK_ACT(p->residual, p->in.rows, w->rows);
        if (p->in.rows <= FEW_T) few_rows_forward(b, p, w, ws);
    }
    forward_panels(b, calls, n, w, ws);
}

void CPU_FN(linear_forward)(Backend *b, Mat out, Mat x, const Weight *w, Mat residual, void *ws) {
    CPU_FN(linears_forward)(b, &(LinearCall){out, x, residual}, 1, w, ws);
}

// A tile of dx (+)= the product of rows of dout with a panel that has all rows of W.
static void backward_tile(Mat dx, bool accumulate, int64_t t, int64_t col, Product p) {
    Act *to = act_row(dx, t) + col;
    gemm((Output){.act = to, .stride = dx.cols, .residual = accumulate ? to : NULL, .residual_stride = dx.cols}, p);
}

// dx (+)= sums, for the columns of a panel.
static void round_sums(Mat dx, const float *sums, int64_t col, int64_t cols, bool accumulate) {
#pragma omp for
    for (int64_t t = 0; t < dx.rows; t++)
        for (int64_t i = 0; i < cols; i++) {
            Act *to = act_row(dx, t) + col + i;
            *to = act_store(sums[t * cols + i] + (accumulate ? act_load(*to) : 0));
        }
}

typedef struct BackwardCall {
    const LinearCall *calls;
    size_t n;
    int64_t panel_rows;
    Part *panel, *left;
    float *sums; // of all rows; used if a panel has not all rows of W
} BackwardCall;

// Packs a part of W for backward, by the threads of the team.
static void pack_columns(Part *panel, WeightPart all, Act *scratch) {
#pragma omp for schedule(dynamic)
    for (int64_t n = 0; n < all.rows; n += BACKWARD_ROWS) {
        WeightPart p = {all.w, all.row + n, min64(BACKWARD_ROWS, all.rows - n), all.col, all.cols};
        gemm_pack_weight_part(panel + gemm_strip_row(n), gemm_strip_size(all.rows), p, scratch);
    }
}

// Columns [i, i + p.n) of those in `all`, for a tile of rows of dx. first: of the panels of these columns.
static void backward_product(const BackwardCall *c, RowTile r, WeightPart all, int64_t i, bool first, Product p) {
    if (p.k == all.rows)
        backward_tile(r.call->out, r.call->residual.data, r.t, all.col + i, p);
    else
        gemm((Output){.f32 = c->sums + (r.before + r.t) * all.cols + i, .stride = all.cols, .add = !first}, p);
}

// Columns [col, col + cols) of dx (+)= dout W, by the threads of the team.
static void backward_columns(const BackwardCall *c, WeightPart all, Act *scratch) {
    int64_t tiles = count_tiles(c->calls, c->n, 0), before = 0;
    for (int64_t row = 0; row < all.rows; row += c->panel_rows) {
        int64_t k = min64(c->panel_rows, all.rows - row), strip = gemm_strip_size(k);
        WeightPart part = {all.w, row, k, all.col, all.cols};
        const Part *panel = all.w->kept ? kept_columns(part) : c->panel;
        if (!all.w->kept) pack_columns(c->panel, part, scratch);
#pragma omp for collapse(2) schedule(dynamic)
        for (int64_t tile = 0; tile < tiles; tile++)
            for (int64_t i = 0; i < all.cols; i += TILE_N) {
                RowTile r = find_tile(c->calls, tile, 0);
                Product p = {r.rows,
                             min64(TILE_N, all.cols - i),
                             k,
                             .a = left_of(c->left, r, row),
                             .b = panel + i / STRIP * strip,
                             .alpha = 1};
                backward_product(c, r, all, i, row == 0, p);
            }
    }
    for (size_t i = 0; c->panel_rows < all.rows && i < c->n; before += c->calls[i++].in.rows)
        round_sums(c->calls[i].out, c->sums + before * all.cols, all.col, all.cols, c->calls[i].residual.data);
}

void CPU_FN(linears_backward)(Backend *b, const LinearCall *calls, size_t n, const Weight *w, void *ws) {
    for (const LinearCall *p = calls; p < calls + n; p++) {
        CHECK_ACT(p->in, p->out.rows, w->rows);
        CHECK_ACT(p->out, p->out.rows, w->cols);
    }
    BackwardPanel size = backward_panel(w, PANEL_BYTES);
    Part *panel = ws, *left = panel + panel_parts(w, PANEL_BYTES);
    Act *all_scratch = (Act *)(left + gemm_left_size(count_rows(calls, n), w->rows));
    float *sums = (float *)(all_scratch + b->threads * scratch_elements(w));
    BackwardCall c = {calls, n, size.rows, panel, left, sums};
#pragma omp parallel num_threads(b->threads)
    {
        Act *scratch = all_scratch + omp_get_thread_num() * scratch_elements(w);
        copy_calls(left, calls, n);
        for (int64_t col = 0; col < w->cols; col += size.cols) {
            WeightPart all = {w, 0, w->rows, col, min64(size.cols, w->cols - col)};
            backward_columns(&c, all, scratch);
        }
    }
}

void CPU_FN(linear_backward)(Backend *b, Mat dx, Mat dout, const Weight *w, bool accumulate, void *ws) {
    CPU_FN(linears_backward)(b, &(LinearCall){dx, dout, accumulate ? dx : (Mat){0}}, 1, w, ws);
}

size_t CPU_FN(weight_keep)(Backend *b, Weight *w, void *memory, void *ws) {
    int64_t rows = backward_panel(w, PANEL_BYTES).rows;
    if (memory) {
        w->kept = memory;
#pragma omp parallel num_threads(b->threads)
        {
            Act *scratch = (Act *)ws + omp_get_thread_num() * scratch_elements(w);
            pack_rows(memory, w, 0, w->rows, scratch);
            for (int64_t row = 0; row < w->rows; row += rows) {
                WeightPart part = {w, row, min64(rows, w->rows - row), 0, w->cols};
                pack_columns((Part *)kept_columns(part), part, scratch);
            }
        }
    }
    return (size_t)(gemm_packed_size(w->cols, w->rows) + gemm_packed_size(w->rows, w->cols)) * sizeof(Part);
}

// ---- experts: W and the number of rows differ from product to product ----

// Columns of dx in a unit of work: all rows of W for them.
static int64_t expert_cols(const Weight *w) { return backward_panel(w, EXPERT_BYTES).cols; }

static int64_t expert_panel(const Weight *w) {
    return max64(gemm_packed_size(w->cols, forward_panel(w, EXPERT_BYTES)), gemm_packed_size(w->rows, expert_cols(w)));
}

// Bytes of a thread's panel and scratch.
static size_t expert_bytes(const Weight *w) {
    return (size_t)expert_panel(w) * sizeof(Part) + (size_t)scratch_elements(w) * sizeof(Act);
}
static Part *expert_memory(void *ws, const Weight *w) {
    return (Part *)((char *)ws + (size_t)omp_get_thread_num() * expert_bytes(w));
}
static Part *expert_parts(Backend *b, void *ws, const Weight *w) {
    return (Part *)((char *)ws + (size_t)b->threads * expert_bytes(w));
}

// Of each thread; then the parts of x or dout.
size_t CPU_FN(grouped_linear_workspace)(Backend *b, const Weight *experts, const MoePlan *plan) {
    int64_t rows = plan->tokens * plan->used;
    int64_t parts = max64(gemm_left_size(rows, experts->rows), gemm_left_size(rows, experts->cols));
    return (size_t)b->threads * expert_bytes(experts) + (size_t)parts * sizeof(Part);
}

// The rows of expert e.
static Mat expert_rows(Mat m, const MoePlan *plan, int64_t e) {
    return mat_rows(m, plan->offset[e], plan->offset[e + 1] - plan->offset[e]);
}

// Columns [n, n + count) of out = x W^T, by one thread.
static void expert_forward(Mat out, Left x, const Weight *w, int64_t n, int64_t count, Part *panel) {
    gemm_pack_weight_rows(panel, w, n, count, (Act *)(panel + expert_panel(w)));
    forward_tile(out, w, (Mat){0}, 0, n, (Product){out.rows, count, w->cols, .a = x, .b = panel, .alpha = 1});
}

void CPU_FN(grouped_linear_forward)(Backend *b, Mat out, Mat x, const Weight *experts, const MoePlan *plan, void *ws) {
    CHECK_ACT(x, plan->tokens * plan->used, experts->cols);
    CHECK_ACT(out, x.rows, experts->rows);
#pragma omp parallel num_threads(b->threads)
    {
        Part *panel = expert_memory(ws, experts);
        Left all = gemm_left_by_team(expert_parts(b, ws, experts), x);
        for (int64_t e = 0; e < plan->experts; e++) {
            const Weight *w = experts + e;
            Left rows = gemm_left_at(all, plan->offset[e], 0);
            Mat xe = expert_rows(x, plan, e), oute = expert_rows(out, plan, e);
            bool few = xe.rows <= FEW_T;
            int64_t size = few ? FEW_ROWS : forward_panel(w, EXPERT_BYTES);
            if (xe.rows == 0) continue;
#pragma omp for schedule(dynamic) nowait
            for (int64_t n = 0; n < w->rows; n += size) {
                int64_t count = min64(size, w->rows - n);
                if (few)
                    few_rows(oute, xe, w, (Mat){0}, n, count, (float *)panel);
                else
                    expert_forward(oute, rows, w, n, count, panel);
            }
        }
    }
}

// Columns [col, col + count) of dx (+)= dout W, by one thread.
static void expert_backward(Mat dx, Left dout, const Weight *w, int64_t col, int64_t count, bool accumulate,
                            Part *panel) {
    Act *scratch = (Act *)(panel + expert_panel(w));
    for (int64_t n = 0; n < w->rows; n += BACKWARD_ROWS) {
        WeightPart p = {w, n, min64(BACKWARD_ROWS, w->rows - n), col, count};
        gemm_pack_weight_part(panel + gemm_strip_row(n), gemm_strip_size(w->rows), p, scratch);
    }
    backward_tile(dx, accumulate, 0, col, (Product){dx.rows, count, w->rows, .a = dout, .b = panel, .alpha = 1});
}

void CPU_FN(grouped_linear_backward)(Backend *b, Mat dx, Mat dout, const Weight *experts, const MoePlan *plan,
                                     bool accumulate, void *ws) {
    CHECK_ACT(dx, plan->tokens * plan->used, experts->cols);
    CHECK_ACT(dout, dx.rows, experts->rows);
    int64_t size = expert_cols(experts);
#pragma omp parallel num_threads(b->threads)
    {
        Part *panel = expert_memory(ws, experts);
        Left all = gemm_left_by_team(expert_parts(b, ws, experts), dout);
        for (int64_t e = 0; e < plan->experts; e++) {
            Mat dxe = expert_rows(dx, plan, e);
            Left rows = gemm_left_at(all, plan->offset[e], 0);
            if (dxe.rows == 0) continue;
#pragma omp for schedule(dynamic) nowait
            for (int64_t col = 0; col < dx.cols; col += size)
                expert_backward(dxe, rows, experts + e, col, min64(size, dx.cols - col), accumulate, panel);
        }
    }
}
