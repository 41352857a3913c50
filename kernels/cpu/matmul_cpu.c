// matmul_cpu: y = x W^T of a frozen weight that stays as stored, and its backward.
//
// A panel of rows of W is expanded to float32 once, by all threads together, and then multiplied by all row tiles of x.
// Tiles begin at row 0 of x and at row 0 of W and their sizes follow from the shapes alone, so no bit depends on the
// number of threads or on which thread took which tile.
//
// Forward transposes the panel while it is expanded, because dnnl_sgemm multiplies by a plain B at the machine's peak
// but by a transposed one only at 85 to 93% of it.
//
// A few rows of x (decoding) take another path: a thread expands a strip of W that fits its cache, then multiplies it.
//
// The number of rows of an expert varies, so its unit of work is a tile of columns of its result: a thread expands that
// part of the weight and multiplies all rows of the expert, without barriers between tiles or experts. The path of an
// expert depends on its number of rows alone.
#include "cpu.h"
#include "sgemm.h"

enum {
    TILE_T = 128,           // rows of x in a product
    TILE_N = 192,           // columns of the result in a product
    TILE_N_SHORT = 96,      // the same if x has one tile of rows, so that all threads have work
    EXPAND_ROWS = 16,       // rows of W that a thread expands at a time
    PANEL_FLOATS = 2 << 20, // an expanded panel: 8 MB at most
    FEW_T = 32,             // at most so many rows of x: the strip path
    FEW_TILE_T = 8,
    STRIP_FLOATS = 24 << 10, // an expanded strip: 96 KB (more only if 8 rows are more)
    EXPERT_FLOATS = 1 << 20, // an expert's expanded tile of columns: 4 MB a thread at most
    EXPERT_TILE_K = 256,     // columns of dx in a product: whole blocks of every type
    EXPERT_STEP_N = 512      // and the rows of W that are expanded for them at a time
};

static int64_t panel_rows(const Weight *w) {
    int64_t rows = PANEL_FLOATS / w->cols / TILE_N * TILE_N;
    if (rows == 0) rows = PANEL_FLOATS / w->cols / EXPAND_ROWS * EXPAND_ROWS;
    if (rows == 0) rows = EXPAND_ROWS;
    return min64(rows, w->rows);
}

static int64_t strip_rows(const Weight *w) {
    int64_t rows = STRIP_FLOATS / w->cols / 8 * 8;
    if (rows < 8) rows = 8;
    return min64(min64(rows, 64), w->rows);
}

// A panel and per thread the rows being expanded; or a strip per thread.
size_t CPU_FN(linear_workspace)(Backend *b, const Weight *w, int64_t t) {
    int64_t rows = panel_rows(w) + b->threads * EXPAND_ROWS;
    int64_t strips = t <= FEW_T ? b->threads * strip_rows(w) : 0;
    return (size_t)((rows > strips ? rows : strips) * w->cols) * sizeof(float);
}

// The expanded rows [row, row + n) of W, by all threads of the team; ends with a barrier.
static void expand_panel(float *panel, const Weight *w, int64_t row, int64_t n) {
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < n; i += EXPAND_ROWS)
        cpu_expand_rows(panel + i * w->cols, w, row + i, min64(EXPAND_ROWS, n - i));
}

// dst [k, n] = transposed src [n, k]; ld: from row to row of dst. Blocks of 4 x 4 in registers.
static void transpose(float *dst, int64_t ld, const float *src, int64_t n, int64_t k) {
    typedef float Vec __attribute__((vector_size(16), aligned(4)));
    int64_t n4 = n / 4 * 4, k4 = k / 4 * 4;
    for (int64_t j = 0; j < k4; j += 4)
        for (int64_t i = 0; i < n4; i += 4) {
            const float *from = src + i * k + j;
            float *to = dst + j * ld + i;
            Vec a = *(const Vec *)from, b = *(const Vec *)(from + k);
            Vec c = *(const Vec *)(from + 2 * k), d = *(const Vec *)(from + 3 * k);
            Vec ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
            *(Vec *)to = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
            *(Vec *)(to + ld) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
            ab = __builtin_shufflevector(a, b, 2, 6, 3, 7), cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
            *(Vec *)(to + 2 * ld) = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
            *(Vec *)(to + 3 * ld) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
        }
    for (int64_t j = 0; j < k; j++)
        for (int64_t i = j < k4 ? n4 : 0; i < n; i++) dst[j * ld + i] = src[i * k + j];
}

// The same, transposed: tiles [K, tile_n] one after the other (the last one narrower). rows: scratch of each thread.
static void expand_transposed(float *panel, float *rows, const Weight *w, int64_t row, int64_t n, int64_t tile_n) {
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < n; i += EXPAND_ROWS) {
        int64_t tile = i / tile_n * tile_n, count = min64(EXPAND_ROWS, n - i);
        cpu_expand_rows(rows, w, row + i, count);
        transpose(panel + tile * w->cols + i - tile, min64(tile_n, n - tile), rows, count, w->cols);
    }
}

// A block of a result: rows [t0, t0 + nt), columns [n0, n0 + nn).
typedef struct Tile {
    int64_t t0, nt, n0, nn;
} Tile;

// Initialises the tile with bias and residual, to which the product is added; false: neither exists.
static bool start_tile(Mat out, Tile tile, const float *bias, Mat residual) {
    if (!bias && !residual.data) return false;
    for (int64_t t = tile.t0; t < tile.t0 + tile.nt; t++) {
        float *y = f32_row(out, t) + tile.n0;
        const float *r = residual.data ? f32_row(residual, t) + tile.n0 : NULL;
        for (int64_t n = 0; n < tile.nn; n++) {
            float start = bias ? bias[tile.n0 + n] : 0;
            y[n] = r ? r[n] + start : start;
        }
    }
    return true;
}

// One tile of out; rows: its part of W, [nn, K] or transposed.
static void multiply_tile(Mat out, Tile tile, Mat x, const float *rows, bool transposed, const Weight *w,
                          Mat residual) {
    float beta = start_tile(out, tile, w->bias, residual) ? 1 : 0;
    Factor a = {f32_row(x, tile.t0), x.cols, false}, b = {rows, transposed ? tile.nn : w->cols, !transposed};
    sgemm(f32_row(out, tile.t0) + tile.n0, out.cols, (Sgemm){tile.nt, tile.nn, w->cols, 1, a, b, beta});
}

static void forward_strips(Backend *b, Mat out, Mat x, const Weight *w, Mat residual, float *ws) {
    int64_t strip = strip_rows(w);
#pragma omp parallel num_threads(b->threads)
    {
        float *rows = ws + omp_get_thread_num() * strip * w->cols;
        sgemm_enter();
#pragma omp for schedule(dynamic)
        for (int64_t n = 0; n < w->rows; n += strip) {
            int64_t nn = min64(strip, w->rows - n);
            cpu_expand_rows(rows, w, n, nn);
            for (int64_t t = 0; t < x.rows; t += FEW_TILE_T)
                multiply_tile(out, (Tile){t, min64(FEW_TILE_T, x.rows - t), n, nn}, x, rows, false, w, residual);
        }
    }
}

static void forward_panels(Backend *b, Mat out, Mat x, const Weight *w, Mat residual, float *panel) {
    int64_t step = panel_rows(w), tile_n = x.rows > TILE_T ? TILE_N : TILE_N_SHORT;
#pragma omp parallel num_threads(b->threads)
    {
        float *scratch = panel + (step + omp_get_thread_num() * EXPAND_ROWS) * w->cols;
        sgemm_enter();
        for (int64_t row = 0; row < w->rows; row += step) {
            int64_t rows = min64(step, w->rows - row);
            expand_transposed(panel, scratch, w, row, rows, tile_n);
#pragma omp for collapse(2) schedule(dynamic)
            for (int64_t n = 0; n < rows; n += tile_n)
                for (int64_t t = 0; t < x.rows; t += TILE_T)
                    multiply_tile(out, (Tile){t, min64(TILE_T, x.rows - t), row + n, min64(tile_n, rows - n)}, x,
                                  panel + n * w->cols, true, w, residual);
        }
    }
}

void CPU_FN(linear_forward)(Backend *b, Mat out, Mat x, const Weight *w, Mat residual, void *ws) {
    CHECK_SHAPE(x, x.rows, w->cols);
    CHECK_SHAPE(out, x.rows, w->rows);
    if (residual.data) CHECK_SHAPE(residual, x.rows, w->rows);
    if (x.rows <= FEW_T)
        forward_strips(b, out, x, w, residual, ws);
    else
        forward_panels(b, out, x, w, residual, ws);
}

// dx (+)= dout W: panel after panel is added to dx, in order.
void CPU_FN(linear_backward)(Backend *b, Mat dx, Mat dout, const Weight *w, bool accumulate, void *ws) {
    CHECK_SHAPE(dout, dout.rows, w->rows);
    CHECK_SHAPE(dx, dout.rows, w->cols);
    float *panel = ws;
    int64_t step = panel_rows(w), tile_k = dx.rows > TILE_T ? TILE_N : TILE_N_SHORT;
#pragma omp parallel num_threads(b->threads)
    {
        sgemm_enter();
        for (int64_t row = 0; row < w->rows; row += step) {
            int64_t rows = min64(step, w->rows - row);
            float beta = accumulate || row > 0 ? 1 : 0;
            expand_panel(panel, w, row, rows);
#pragma omp for collapse(2) schedule(dynamic)
            for (int64_t k = 0; k < dx.cols; k += tile_k)
                for (int64_t t = 0; t < dx.rows; t += TILE_T) {
                    Factor left = {f32_row(dout, t) + row, dout.cols, false}, right = {panel + k, w->cols, false};
                    Sgemm p = {min64(TILE_T, dx.rows - t), min64(tile_k, dx.cols - k), rows, 1, left, right, beta};
                    sgemm(f32_row(dx, t) + k, dx.cols, p);
                }
        }
    }
}

// ---- experts ----

// Columns of a result per tile, for an expert with more than FEW_T rows.
static int64_t expert_tile(const Weight *w) {
    int64_t rows = EXPERT_FLOATS / w->cols / EXPAND_ROWS * EXPAND_ROWS;
    if (rows < EXPAND_ROWS) rows = EXPAND_ROWS;
    return min64(rows, TILE_N);
}

// Floats of scratch of a thread.
static int64_t expert_scratch(const Weight *w) {
    int64_t forward = max64(strip_rows(w), expert_tile(w) + EXPAND_ROWS) * w->cols;
    return max64(forward, (int64_t)EXPERT_TILE_K * EXPERT_STEP_N);
}

size_t CPU_FN(grouped_linear_workspace)(Backend *b, const Weight *experts, const MoePlan *plan) {
    (void)plan;
    return (size_t)(b->threads * expert_scratch(experts)) * sizeof(float);
}

// The rows of expert e.
static Mat expert_rows(Mat m, const MoePlan *plan, int64_t e) {
    return mat_of(f32_row(m, plan->offset[e]), m.dtype, plan->offset[e + 1] - plan->offset[e], m.cols);
}

// Columns [n, n + nn) of out = x W^T, by one thread.
static void expert_forward(Mat out, Mat x, const Weight *w, int64_t n, int64_t nn, float *scratch) {
    bool few = x.rows <= FEW_T;
    int64_t tile_t = few ? FEW_TILE_T : TILE_T;
    if (few) {
        cpu_expand_rows(scratch, w, n, nn);
    } else {
        float *rows = scratch + nn * w->cols;
        for (int64_t i = 0; i < nn; i += EXPAND_ROWS) {
            int64_t count = min64(EXPAND_ROWS, nn - i);
            cpu_expand_rows(rows, w, n + i, count);
            transpose(scratch + i, nn, rows, count, w->cols);
        }
    }
    for (int64_t t = 0; t < x.rows; t += tile_t)
        multiply_tile(out, (Tile){t, min64(tile_t, x.rows - t), n, nn}, x, scratch, !few, w, (Mat){0});
}

void CPU_FN(grouped_linear_forward)(Backend *b, Mat out, Mat x, const Weight *experts, const MoePlan *plan, void *ws) {
    CHECK_SHAPE(x, plan->tokens * plan->used, experts->cols);
    CHECK_SHAPE(out, x.rows, experts->rows);
#pragma omp parallel num_threads(b->threads)
    {
        float *scratch = (float *)ws + omp_get_thread_num() * expert_scratch(experts);
        sgemm_enter();
        for (int64_t e = 0; e < plan->experts; e++) {
            const Weight *w = experts + e;
            Mat xe = expert_rows(x, plan, e), oute = expert_rows(out, plan, e);
            if (xe.rows == 0) continue;
            int64_t tile = xe.rows <= FEW_T ? strip_rows(w) : expert_tile(w);
#pragma omp for schedule(dynamic) nowait
            for (int64_t n = 0; n < w->rows; n += tile)
                expert_forward(oute, xe, w, n, min64(tile, w->rows - n), scratch);
        }
    }
}

// Columns [k, k + nk) of dx (+)= dout W, by one thread: steps of rows of W are added to dx, in order.
static void expert_backward(Mat dx, Mat dout, const Weight *w, int64_t k, int64_t nk, bool accumulate, float *scratch) {
    for (int64_t n = 0; n < w->rows; n += EXPERT_STEP_N) {
        int64_t rows = min64(EXPERT_STEP_N, w->rows - n);
        float beta = accumulate || n > 0 ? 1 : 0;
        cpu_expand_columns(scratch, w, n, rows, k, nk);
        for (int64_t t = 0; t < dx.rows; t += TILE_T) {
            Factor a = {f32_row(dout, t) + n, dout.cols, false}, b = {scratch, nk, false};
            sgemm(f32_row(dx, t) + k, dx.cols, (Sgemm){min64(TILE_T, dx.rows - t), nk, rows, 1, a, b, beta});
        }
    }
}

void CPU_FN(grouped_linear_backward)(Backend *b, Mat dx, Mat dout, const Weight *experts, const MoePlan *plan,
                                     bool accumulate, void *ws) {
    CHECK_SHAPE(dx, plan->tokens * plan->used, experts->cols);
    CHECK_SHAPE(dout, dx.rows, experts->rows);
#pragma omp parallel num_threads(b->threads)
    {
        float *scratch = (float *)ws + omp_get_thread_num() * expert_scratch(experts);
        sgemm_enter();
        for (int64_t e = 0; e < plan->experts; e++) {
            Mat dxe = expert_rows(dx, plan, e), doute = expert_rows(dout, plan, e);
            if (dxe.rows == 0) continue;
#pragma omp for schedule(dynamic) nowait
            for (int64_t k = 0; k < dx.cols; k += EXPERT_TILE_K)
                expert_backward(dxe, doute, experts + e, k, min64(EXPERT_TILE_K, dx.cols - k), accumulate, scratch);
        }
    }
}
