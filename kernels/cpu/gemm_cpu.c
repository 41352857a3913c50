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

// Rows [row, row + rows) and columns [col, col + n) of C from a tile. Inlined once for whole strips.
__attribute__((always_inline)) static inline void store(Output c, const float *tile, float alpha, int64_t row,
                                                        int64_t rows, int64_t col, const int64_t n) {
    const Act *residual = c.residual ? c.residual + row * c.residual_stride + col : NULL;
    float *f32 = c.f32 ? c.f32 + row * c.stride + col : NULL;
    Act *act = c.f32 ? NULL : c.act + row * c.stride + col;
    for (int64_t i = 0; i < rows; i++, tile += STRIP) {
        float sum[STRIP];
        for (int64_t j = 0; j < n; j++) sum[j] = alpha * tile[j];
        for (int64_t j = 0; j < n && c.bias; j++) sum[j] += c.bias[col + j];
        for (int64_t j = 0; j < n && residual; j++) sum[j] += act_load(residual[i * c.residual_stride + j]);
        for (int64_t j = 0; j < n && act; j++) act[i * c.stride + j] = act_store(sum[j]);
        for (int64_t j = 0; j < n && f32 && c.add; j++) f32[i * c.stride + j] += sum[j];
        for (int64_t j = 0; j < n && f32 && !c.add; j++) f32[i * c.stride + j] = sum[j];
    }
}

// C += the last k % K_STEP columns of A, which are copied with zeros after them, times theirs of B.
static void add_tail(Tile t, int64_t whole, int64_t k, int64_t rows) {
    Part tail[TILE_ROWS * K_STEP] = {0};
    for (int64_t i = 0; i < rows; i++)
        memcpy(tail + i * K_STEP, t.a + i * t.lda + whole, (size_t)(k - whole) * sizeof *tail);
    gemm_tile(&(Tile){t.c, t.ldc, tail, K_STEP, t.b + whole * STRIP, K_STEP}, rows, true);
}

// C (+)= A B for K = t.k, any number.
static void multiply_tile(Tile t, int64_t rows, bool add) {
    int64_t k = t.k;
    t.k = k / K_STEP * K_STEP;
    gemm_tile(&t, rows, add);
    if (k > t.k) add_tail(t, t.k, k, rows);
}

// Longer sums are cut into blocks, so that they lose fewer bits.
enum { BLOCK_K = 768 };

// The same into a tile of its own.
static void multiply_blocks(float *tile, Tile t, int64_t rows) {
    enum { BLOCK_PARTS = BLOCK_K * PARTS };
    float part[TILE_ROWS * STRIP] __attribute__((aligned(64)));
    int64_t k = t.k;
    multiply_tile((Tile){tile, STRIP, t.a, t.lda, t.b, min64(BLOCK_PARTS, k)}, rows, false);
    for (int64_t first = BLOCK_PARTS; first < k; first += BLOCK_PARTS) {
        Tile block = {part, STRIP, t.a + first, t.lda, t.b + first * STRIP, min64(BLOCK_PARTS, k - first)};
        multiply_tile(block, rows, false);
        for (int64_t i = 0; i < rows * STRIP; i++) tile[i] += part[i];
    }
}

void gemm(Output c, Product p) {
    enum { SHORT_K = 512 }; // added to what is there in one sum
    float tile[TILE_ROWS * STRIP] __attribute__((aligned(64)));
    int64_t strip = p.strip ? p.strip : gemm_strip_size(p.k), k = gemm_parts(p.k);
    bool direct = c.f32 && !c.bias && !c.residual && p.alpha == 1 && p.k <= (c.add ? SHORT_K : BLOCK_K);
    gemm_tile_begin();
    for (int64_t block = 0; block < p.m; block += GEMM_ROWS) {
        const Part *b = p.b;
        for (int64_t col = 0; col < p.n; col += STRIP, b += strip)
            for (int64_t row = block; row < min64(block + GEMM_ROWS, p.m); row += TILE_ROWS) {
                int64_t rows = min64(TILE_ROWS, p.m - row);
                Tile t = {
                    direct ? c.f32 + row * c.stride + col : NULL, c.stride, p.a.rows + row * p.a.ld, p.a.ld, b, k};
                if (direct && p.n - col >= STRIP) {
                    multiply_tile(t, rows, c.add);
                    continue;
                }
                multiply_blocks(tile, t, rows);
                if (p.n - col >= STRIP)
                    store(c, tile, p.alpha, row, rows, col, STRIP);
                else
                    store(c, tile, p.alpha, row, rows, col, p.n - col);
            }
    }
    gemm_tile_end();
}
