// gemm_cpu: packing of weights and parameters, and the loop over tiles of C (gemm.h).
#include "gemm.h"

// ---- packing ----

void gemm_pack_f32(Part *dst, const float *src, int64_t ld, int64_t k, int64_t n, Act *scratch) {
    enum { ROWS = 32 };
    _Static_assert(ROWS % K_STEP == 0, "whole steps");
    for (int64_t row = 0; row < k; row += ROWS) {
        int64_t rows = min64(ROWS, k - row);
        for (int64_t i = 0; i < rows; i++) act_round(scratch + i * n, src + (row + i) * ld, n);
        gemm_pack(dst + gemm_strip_row(row), gemm_strip_size(k), scratch, n, rows, n);
    }
}

void gemm_pack_transposed_f32(Part *dst, const float *src, int64_t ld, int64_t k, int64_t n, Act *scratch) {
    for (int64_t row = 0; row < n; row += STRIP) {
        int64_t rows = min64(STRIP, n - row);
        for (int64_t i = 0; i < rows; i++) act_round(scratch + i * k, src + (row + i) * ld, k);
        gemm_pack_transposed(dst + row / STRIP * gemm_strip_size(k), scratch, k, k, rows);
    }
}

void gemm_pack_weight_rows(Part *dst, const Weight *w, int64_t row, int64_t n, Act *scratch) {
    for (int64_t i = 0; i < n; i += STRIP, dst += gemm_strip_size(w->cols)) {
        int64_t rows = min64(STRIP, n - i);
        cpu_expand_act(scratch, gemm_row_stride(w->cols), w, row + i, rows, 0, w->cols);
        gemm_pack_transposed(dst, scratch, gemm_row_stride(w->cols), w->cols, rows);
    }
}

void gemm_pack_weight_part(Part *dst, int64_t strip, WeightPart p, Act *scratch) {
    cpu_expand_act(scratch, p.cols, p.w, p.row, p.rows, p.col, p.cols);
    gemm_pack(dst, strip, scratch, p.cols, p.rows, p.cols);
}

// ---- product ----

Left gemm_left_by_team(Part *memory, Mat x) {
    if (!gemm_copies(x.cols)) return gemm_left(NULL, x.data, x.cols, x.rows, x.cols);
    int64_t ld = gemm_left_row(x.cols);
#pragma omp for
    for (int64_t row = 0; row < x.rows; row++) {
        Left from = gemm_left(memory + row * ld, act_row(x, row), x.cols, 1, x.cols);
        if (!SPLIT) memcpy(memory + row * ld, from.rows, (size_t)x.cols * sizeof *memory);
    }
    return (Left){memory, ld};
}

// n columns of a row of C from a row of a tile. Inlined once for each kind of output, so that all of it is registers.
typedef struct Row {
    const float *tile, *bias;
    const Act *residual;
    Act *act;
    float *f32;
    float alpha;
} Row;
__attribute__((always_inline)) static inline void store_row(Row r, int64_t n, const bool bias, const bool residual,
                                                            const bool act, const bool add) {
    float rounded[STRIP];
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        float sum = r.alpha * r.tile[j];
        if (bias) sum += r.bias[j];
        if (residual) sum += act_load(r.residual[j]);
        if (!act)
            r.f32[j] = add ? r.f32[j] + sum : sum;
        else if (ACT_DTYPE == DTYPE_F32)
            r.act[j] = act_store(sum);
        else
            rounded[j] = sum;
    }
    if (act && ACT_DTYPE != DTYPE_F32) act_round(r.act, rounded, n);
}

// Rows [row, row + rows) and columns [col, col + n) of C from a tile. Inlined once for whole strips.
__attribute__((always_inline)) static inline void store(const Output *c, const float *tile, float alpha, int64_t row,
                                                        int64_t rows, int64_t col, const int64_t n) {
    for (int64_t i = row; i < row + rows; i++, tile += STRIP) {
        Row r = {tile,
                 c->bias ? c->bias + col : NULL,
                 c->residual ? c->residual + i * c->residual_stride + col : NULL,
                 c->f32 ? NULL : c->act + i * c->stride + col,
                 c->f32 ? c->f32 + i * c->stride + col : NULL,
                 alpha};
        if (!r.f32 && !r.bias && !r.residual)
            store_row(r, n, false, false, true, false);
        else if (!r.f32 && !r.bias)
            store_row(r, n, false, true, true, false);
        else if (r.f32 && !r.bias && !r.residual && c->add)
            store_row(r, n, false, false, false, true);
        else
            store_row(r, n, r.bias, r.residual, !r.f32, c->add);
    }
}

// C += the columns of A after those of t, fewer than K_STEP, copied with zeros after them, times theirs of B.
static void add_tail(const Tile *t, int64_t columns, int64_t rows) {
    Part tail[TILE_ROWS * K_STEP] = {0};
    for (int64_t i = 0; i < rows; i++)
        memcpy(tail + i * K_STEP, t->a + i * t->lda + t->k, (size_t)columns * sizeof *tail);
    gemm_tile(&(Tile){t->c, t->ldc, tail, K_STEP, t->b + t->k * STRIP, K_STEP}, rows, true);
}

// C (+)= A B for K = t->k, any number. A tile is passed by address: a copy of what was just written stalls.
static inline void multiply_tile(const Tile *t, int64_t rows, bool add) {
    int64_t tail = t->k % K_STEP;
    if (tail == 0) {
        gemm_tile(t, rows, add);
        return;
    }
    Tile whole = *t;
    whole.k -= tail;
    gemm_tile(&whole, rows, add);
    add_tail(&whole, tail, rows);
}

// Longer sums are cut into blocks, so that they lose fewer bits.
enum { BLOCK_K = 768 };

// The blocks of K after the first, each summed into a tile of its own.
static void add_blocks(const Tile *t, int64_t k, int64_t rows) {
    float part[TILE_ROWS * STRIP] __attribute__((aligned(64)));
    for (int64_t first = t->k; first < k; first += t->k) {
        // cppcheck-suppress legacyUninitvar; written there
        Tile block = {part, STRIP, t->a + first, t->lda, t->b + first * STRIP, min64(t->k, k - first)};
        multiply_tile(&block, rows, false);
        for (int64_t i = 0; i < rows * STRIP; i++) t->c[i] += part[i];
    }
}

void gemm(Output c, Product p) {
    enum { SHORT_K = 512, BLOCK_PARTS = BLOCK_K * PARTS }; // SHORT_K: added to what is there in one sum
    float tile[TILE_ROWS * STRIP] __attribute__((aligned(64)));
    int64_t strip = p.strip ? p.strip : gemm_strip_size(p.k), k = gemm_parts(p.k);
    bool direct = c.f32 && !c.bias && !c.residual && p.alpha == 1 && p.k <= (c.add ? SHORT_K : BLOCK_K);
    gemm_tile_begin();
    for (int64_t block = 0; block < p.m; block += GEMM_ROWS) {
        const Part *b = p.b;
        for (int64_t col = 0; col < p.n; col += STRIP, b += strip)
            for (int64_t row = block; row < min64(block + GEMM_ROWS, p.m); row += TILE_ROWS) {
                int64_t rows = min64(TILE_ROWS, p.m - row), n = p.n - col;
                bool in_place = direct && n >= STRIP;
                Tile t = {.c = in_place ? c.f32 + row * c.stride + col : tile,
                          .ldc = in_place ? c.stride : STRIP,
                          .a = p.a.rows + row * p.a.ld,
                          .lda = p.a.ld,
                          .b = b,
                          .k = min64(BLOCK_PARTS, k)};
                multiply_tile(&t, rows, in_place && c.add);
                if (in_place) continue;
                if (k > t.k) add_blocks(&t, k, rows);
                if (n >= STRIP)
                    store(&c, tile, p.alpha, row, rows, col, STRIP);
                else
                    store(&c, tile, p.alpha, row, rows, col, n);
            }
    }
    gemm_tile_end();
}
