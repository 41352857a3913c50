// matmul_cpu: y = x W^T of a frozen weight that stays as stored, and its backward.
//
// A thread takes some columns of the result, expands and packs what they need of W into a panel of its own, and
// multiplies rows of x by it. So no thread waits for another's panel, nor fetches it from another core's cache. Each
// element of a result is one sum in float32, rounded once. The bits of a row depend on the shape of W, and on whether x
// has few rows (decoding): then they are dot products with rows of W (few_rows.h).
//
// The number of rows of an expert varies: a unit of work has all rows of its expert, and threads go from one expert to
// the next without waiting.
#include "few_rows.h"
#include "gemm.h"

enum {
    BACKWARD_ROWS = 32,     // rows of W that a thread packs at a time: a multiple of K_STEP
    PANEL_BYTES = 3 << 17,  // of a panel, where it can be so narrow: half of a small second cache
    EXPERT_BYTES = 1 << 20, // of an expert's
    TALL_BYTES = 1 << 21,   // of the narrowest panel of backward: a W with more rows is cut
    SUM_TILES = 4           // tiles of rows that are then multiplied by one cut after the other
};
_Static_assert(BACKWARD_ROWS % K_STEP == 0, "whole steps");

static int64_t pieces(int64_t n, int64_t size) { return (n + size - 1) / size; }

// Columns of W that can be expanded alone, in whole strips.
static int64_t narrowest(const Weight *w) {
    int64_t cols = STRIP;
    for (int i = 0; i < w->n_segments; i++) cols = max64(cols, dtype_info(w->segments[i].dtype)->block);
    return cols;
}

// Rows of W in a panel of forward: as many as fit `bytes`, at least a strip.
static int64_t forward_panel(const Weight *w, int64_t bytes) {
    int64_t rows = bytes / (int64_t)sizeof(Part) / gemm_strip_size(w->cols) * STRIP;
    return min64(max64(rows, STRIP), pieces(w->rows, STRIP) * STRIP);
}

// A panel of backward: all rows of W, or a part of them if it is tall, of as many columns as fit `bytes`.
typedef struct BackwardPanel {
    int64_t rows, cols;
} BackwardPanel;
static BackwardPanel backward_panel(const Weight *w, int64_t bytes) {
    int64_t cols = narrowest(w), strips = cols / STRIP, parts = TALL_BYTES / (int64_t)sizeof(Part);
    int64_t rows = max64(parts / PARTS / cols / BACKWARD_ROWS, 1) * BACKWARD_ROWS;
    rows = min64(rows, w->rows);
    int64_t fit = bytes / (int64_t)sizeof(Part) / gemm_strip_size(rows) / strips;
    return (BackwardPanel){rows, min64(max64(fit, 1), pieces(w->cols, cols)) * cols};
}

// Parts of the larger panel; elements of the rows that a thread expands at a time, or of a few rows of x.
static int64_t panel_parts(const Weight *w, int64_t bytes) {
    BackwardPanel p = backward_panel(w, bytes);
    return max64(gemm_packed_size(w->cols, forward_panel(w, bytes)), gemm_packed_size(p.rows, p.cols));
}
static int64_t scratch_elements(const Weight *w) {
    int64_t floats = few_floats(w) * (int64_t)(sizeof(float) / sizeof(Act));
    return max64(max64(STRIP, BACKWARD_ROWS) * gemm_row_stride(w->cols), floats);
}

// What a thread needs: a panel, scratch, and sums if a panel of backward has not all rows of W.
static size_t panel_bytes(const Weight *w) {
    size_t bytes = (size_t)panel_parts(w, PANEL_BYTES) * sizeof(Part);
    return (bytes + 63) & ~(size_t)63;
}
static size_t scratch_bytes(const Weight *w) { return ((size_t)scratch_elements(w) * sizeof(Act) + 63) & ~(size_t)63; }
static size_t thread_bytes(const Weight *w) {
    BackwardPanel p = backward_panel(w, PANEL_BYTES);
    size_t sums = p.rows < w->rows ? (size_t)(SUM_TILES * GEMM_ROWS * p.cols) * sizeof(float) : 0;
    return panel_bytes(w) + scratch_bytes(w) + sums;
}

// Of each thread; then x or dout as left operands.
size_t CPU_FN(linear_workspace)(Backend *b, const Weight *w, int64_t t) {
    int64_t left = max64(gemm_left_size(t, w->rows), gemm_left_size(t, w->cols));
    return (size_t)b->threads * thread_bytes(w) + (size_t)left * sizeof(Part);
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

// A product of several calls, with its memory; units of work are columns of the result for a part of the tiles.
typedef struct Job {
    const LinearCall *calls;
    const Weight *w;
    int64_t few, tiles; // calls with at most `few` rows have no tiles
    int64_t cols, part; // columns and tiles of a unit
    char *memory;       // of each thread
    Part *left;
} Job;

static Job new_job(const Backend *b, const LinearCall *calls, size_t n, const Weight *w, int64_t few, void *ws) {
    Job j = {.calls = calls, .w = w, .few = few, .tiles = count_tiles(calls, n, few), .memory = ws};
    j.left = (Part *)(j.memory + (size_t)b->threads * thread_bytes(w));
    return j;
}

// Cuts a result of `cols` columns into units of at most `most` columns, a multiple of `least`, and at most `tiles`
// tiles, so that the thread with the most work is done first. Packing costs about as much as a quarter of a tile.
static void cut(Job *j, int64_t threads, int64_t cols, int64_t least, int64_t most, int64_t tiles) {
    int64_t shortest = INT64_MAX, fewest = pieces(j->tiles, tiles);
    for (int64_t c = most; c >= least; c -= least) {
        int64_t units = pieces(cols, c), parts[] = {1, pieces(threads, units), threads};
        for (int i = 0; i < 3; i++) {
            int64_t part = pieces(j->tiles, min64(max64(parts[i], fewest), j->tiles));
            int64_t span = pieces(units * pieces(j->tiles, part), threads) * c * (4 * part + 1);
            if (span < shortest) shortest = span, j->cols = c, j->part = part;
        }
    }
}

static Part *own_panel(const Job *j) { return (Part *)(j->memory + (size_t)omp_get_thread_num() * thread_bytes(j->w)); }
static Act *own_scratch(const Job *j, Part *panel) { return (Act *)((char *)panel + panel_bytes(j->w)); }
static float *own_sums(const Job *j, Part *panel) {
    return (float *)((char *)panel + panel_bytes(j->w) + scratch_bytes(j->w));
}

// Columns [n, n + count) of the results of tiles [first, end).
static void forward_unit(const Job *j, int64_t n, int64_t count, int64_t first, int64_t end) {
    const Weight *w = j->w;
    Part *panel = own_panel(j);
    const Part *packed = w->kept ? kept_rows(w, n) : panel;
    if (!w->kept) gemm_pack_weight_rows(panel, w, n, count, own_scratch(j, panel));
    for (int64_t tile = first; tile < end; tile++) {
        RowTile r = find_tile(j->calls, tile, j->few);
        Product p = {r.rows, count, w->cols, .a = left_of(j->left, r, 0), .b = packed, .alpha = 1};
        forward_tile(r.call->out, w, r.call->residual, r.t, n, p);
    }
}

// Of the calls with more than FEW_T rows.
static void forward_many(Backend *b, const LinearCall *calls, size_t n, const Weight *w, void *ws) {
    Job j = new_job(b, calls, n, w, FEW_T, ws);
    if (j.tiles == 0) return;
    cut(&j, b->threads, w->rows, STRIP, forward_panel(w, PANEL_BYTES), j.tiles);
#pragma omp parallel num_threads(b->threads)
    {
        copy_calls(j.left, calls, n);
#pragma omp for collapse(2) schedule(dynamic)
        for (int64_t tile = 0; tile < j.tiles; tile += j.part)
            for (int64_t col = 0; col < w->rows; col += j.cols)
                forward_unit(&j, col, min64(j.cols, w->rows - col), tile, min64(tile + j.part, j.tiles));
    }
}

// Of the calls with at most FEW_T rows.
static void few_forward(Backend *b, const LinearCall *calls, size_t n_calls, const Weight *w, void *ws) {
#pragma omp parallel num_threads(b->threads)
    {
        FewRows f = {.w = w, .x = (float *)((char *)ws + (size_t)omp_get_thread_num() * thread_bytes(w))};
        for (const LinearCall *p = calls; p < calls + n_calls; f.count = 0) {
            for (; p < calls + n_calls && f.count + few_of(p) <= FEW_MOST; p++) few_add(&f, p);
#pragma omp for schedule(static) nowait
            for (int64_t n = 0; n < w->rows; n += FEW_ROWS) few_columns(&f, n);
        }
    }
}

void CPU_FN(linears_forward)(Backend *b, const LinearCall *calls, size_t n, const Weight *w, void *ws) {
    int64_t few = 0;
    for (const LinearCall *p = calls; p < calls + n; p++) {
        CHECK_ACT(p->in, p->in.rows, w->cols);
        // NOLINTNEXTLINE(bugprone-branch-clone): equal in copies with activations in float32
        CHECK_MATRIX(p->out, p->out.dtype == DTYPE_F32 ? DTYPE_F32 : ACT_DTYPE, p->in.rows, w->rows);
        if (p->residual.data) CHECK_ACT(p->residual, p->in.rows, w->rows);
        few += few_of(p);
    }
    if (few > 0) few_forward(b, calls, n, w, ws);
    forward_many(b, calls, n, w, ws);
}

void CPU_FN(linear_forward)(Backend *b, Mat out, Mat x, const Weight *w, Mat residual, void *ws) {
    CPU_FN(linears_forward)(b, &(LinearCall){out, x, residual}, 1, w, ws);
}

// A tile of dx (+)= the product of rows of dout with a panel that has all rows of W.
static void backward_tile(Mat dx, bool accumulate, int64_t t, int64_t col, Product p) {
    Act *to = act_row(dx, t) + col;
    gemm((Output){.act = to, .stride = dx.cols, .residual = accumulate ? to : NULL, .residual_stride = dx.cols}, p);
}

// Packs a part of W for backward.
static void pack_part(Part *panel, WeightPart p, Act *scratch) {
    for (int64_t n = 0; n < p.rows; n += BACKWARD_ROWS) {
        WeightPart step = {p.w, p.row + n, min64(BACKWARD_ROWS, p.rows - n), p.col, p.cols};
        gemm_pack_weight_part(panel + gemm_strip_row(n), gemm_strip_size(p.rows), step, scratch);
    }
}

// Rows of dx (+)= sums, for `cols` columns.
static void round_sums(const LinearCall *call, int64_t t, int64_t rows, int64_t col, int64_t cols, const float *sums) {
    for (int64_t i = 0; i < rows; i++) {
        Act *to = act_row(call->out, t + i) + col;
        for (int64_t k = 0; k < cols; k++)
            to[k] = act_store(sums[i * cols + k] + (call->residual.data ? act_load(to[k]) : 0));
    }
}

// Columns [col, col + cols) of dx (+)= dout W for tiles [first, end), with panels of `size` rows of W.
static void backward_unit(const Job *j, int64_t size, int64_t col, int64_t cols, int64_t first, int64_t end) {
    const Weight *w = j->w;
    Part *panel = own_panel(j);
    float *sums = own_sums(j, panel);
    for (int64_t row = 0; row < w->rows; row += size) {
        WeightPart part = {w, row, min64(size, w->rows - row), col, cols};
        const Part *packed = w->kept ? kept_columns(part) : panel;
        if (!w->kept) pack_part(panel, part, own_scratch(j, panel));
        for (int64_t tile = first; tile < end; tile++) {
            RowTile r = find_tile(j->calls, tile, j->few);
            Product p = {r.rows, cols, part.rows, .a = left_of(j->left, r, row), .b = packed, .alpha = 1};
            float *to = sums + (tile - first) * GEMM_ROWS * cols;
            if (size == w->rows)
                backward_tile(r.call->out, r.call->residual.data, r.t, col, p);
            else
                gemm((Output){.f32 = to, .stride = cols, .add = row > 0}, p);
            if (size < w->rows && row + part.rows == w->rows) round_sums(r.call, r.t, r.rows, col, cols, to);
        }
    }
}

void CPU_FN(linears_backward)(Backend *b, const LinearCall *calls, size_t n, const Weight *w, void *ws) {
    for (const LinearCall *p = calls; p < calls + n; p++) {
        CHECK_ACT(p->in, p->out.rows, w->rows);
        CHECK_ACT(p->out, p->out.rows, w->cols);
    }
    BackwardPanel most = backward_panel(w, PANEL_BYTES);
    Job j = new_job(b, calls, n, w, 0, ws);
    if (j.tiles == 0) return;
    cut(&j, b->threads, w->cols, narrowest(w), most.cols, most.rows < w->rows ? SUM_TILES : j.tiles);
#pragma omp parallel num_threads(b->threads)
    {
        copy_calls(j.left, calls, n);
#pragma omp for collapse(2) schedule(dynamic)
        for (int64_t tile = 0; tile < j.tiles; tile += j.part)
            for (int64_t col = 0; col < w->cols; col += j.cols)
                backward_unit(&j, most.rows, col, min64(j.cols, w->cols - col), tile, min64(tile + j.part, j.tiles));
    }
}

void CPU_FN(linear_backward)(Backend *b, Mat dx, Mat dout, const Weight *w, bool accumulate, void *ws) {
    CPU_FN(linears_backward)(b, &(LinearCall){dx, dout, accumulate ? dx : (Mat){0}}, 1, w, ws);
}

size_t CPU_FN(weight_keep)(Backend *b, Weight *w, void *memory, void *ws) {
    int64_t size = backward_panel(w, PANEL_BYTES).rows;
    if (memory) {
        w->kept = memory;
#pragma omp parallel num_threads(b->threads)
        {
            Act *scratch = (Act *)((char *)ws + (size_t)omp_get_thread_num() * thread_bytes(w));
#pragma omp for schedule(dynamic)
            for (int64_t row = 0; row < w->rows; row += STRIP)
                gemm_pack_weight_rows((Part *)kept_rows(w, row), w, row, min64(STRIP, w->rows - row), scratch);
            for (int64_t row = 0; row < w->rows; row += size) {
                WeightPart part = {w, row, min64(size, w->rows - row), 0, w->cols};
                Part *panel = (Part *)kept_columns(part);
#pragma omp for schedule(dynamic)
                for (int64_t n = 0; n < part.rows; n += BACKWARD_ROWS) {
                    WeightPart step = {w, row + n, min64(BACKWARD_ROWS, part.rows - n), 0, w->cols};
                    gemm_pack_weight_part(panel + gemm_strip_row(n), gemm_strip_size(part.rows), step, scratch);
                }
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
            Mat xe = host_expert_rows(x, plan, e), oute = host_expert_rows(out, plan, e);
            bool few = xe.rows <= FEW_T;
            int64_t size = few ? FEW_ROWS : forward_panel(w, EXPERT_BYTES);
            FewRows f = {.w = w, .x = (float *)panel};
            LinearCall call = {.out = oute, .in = xe};
            if (xe.rows == 0) continue;
            if (few) few_add(&f, &call);
#pragma omp for schedule(dynamic) nowait
            for (int64_t n = 0; n < w->rows; n += size) {
                if (few)
                    few_columns(&f, n);
                else
                    expert_forward(oute, rows, w, n, min64(size, w->rows - n), panel);
            }
        }
    }
}

// Columns [col, col + count) of dx (+)= dout W, by one thread.
static void expert_backward(Mat dx, Left dout, const Weight *w, int64_t col, int64_t count, bool accumulate,
                            Part *panel) {
    pack_part(panel, (WeightPart){w, 0, w->rows, col, count}, (Act *)(panel + expert_panel(w)));
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
            Mat dxe = host_expert_rows(dx, plan, e);
            Left rows = gemm_left_at(all, plan->offset[e], 0);
            if (dxe.rows == 0) continue;
#pragma omp for schedule(dynamic) nowait
            for (int64_t col = 0; col < dx.cols; col += size)
                expert_backward(dxe, rows, experts + e, col, min64(size, dx.cols - col), accumulate, panel);
        }
    }
}
