// gemm_cpu: packing of the right factor, and the loop over tiles of C (gemm.h).
#include "gemm.h"

enum { UNIT = 4 / sizeof(Act) }; // elements of 4 bytes: PAIR elements of K that are neighbours in a strip
_Static_assert((int)UNIT == (int)PAIR, "a strip holds 4 bytes of each column at a time");
typedef float Four __attribute__((vector_size(16), aligned(2)));
typedef struct Unit {
    Act x[PAIR];
} Unit;

// ---- packing ----

// One step of K of a strip: PAIR rows side by side; rows[i] NULL: zeros.
static void pack_step(Act *dst, const Act *const rows[PAIR], int64_t n) {
    Unit *unit = (Unit *)dst;
    for (int i = 0; i < PAIR; i++)
        if (!rows[i] || n < STRIP) {
            memset(unit, 0, STRIP * sizeof *unit);
            for (int64_t j = 0; j < n; j++)
                for (int q = 0; q < PAIR && rows[q]; q++) unit[j].x[q] = rows[q][j];
            return;
        }
    act_interleave(dst, rows, STRIP);
}

void gemm_pack(Act *dst, int64_t strip, const Act *src, int64_t ld, int64_t k, int64_t n) {
    int64_t steps = gemm_strip_size(k) / STRIP;
    for (int64_t j = 0; j < n; j += STRIP, dst += strip)
        for (int64_t p = 0; p < steps; p += PAIR) {
            const Act *rows[PAIR];
            for (int q = 0; q < PAIR; q++) rows[q] = p + q < k ? src + (p + q) * ld + j : NULL;
            pack_step(dst + p * STRIP, rows, min64(STRIP, n - j));
        }
}

// dst [k, STRIP] = transposed src [n, k] in units, `ld` elements from row to row of src. Blocks of 4 x 4 in registers.
static void transpose_units(Act *dst, const Act *src, int64_t ld, int64_t n, int64_t k) {
    int64_t n4 = n / 4 * 4, k4 = k / 4 * 4;
    for (int64_t j = 0; j < k4; j += 4)
        for (int64_t i = 0; i < n4; i += 4) {
            const Act *from = src + i * ld + j * PAIR;
            Act *to = dst + (j * STRIP + i) * PAIR;
            Four a = *(const Four *)from, b = *(const Four *)(from + ld);
            Four c = *(const Four *)(from + 2 * ld), d = *(const Four *)(from + 3 * ld);
            Four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
            *(Four *)to = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
            *(Four *)(to + STRIP * PAIR) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
            ab = __builtin_shufflevector(a, b, 2, 6, 3, 7), cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
            *(Four *)(to + 2 * STRIP * PAIR) = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
            *(Four *)(to + 3 * STRIP * PAIR) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
        }
    for (int64_t j = 0; j < k; j++)
        for (int64_t i = j < k4 ? n4 : 0; i < n; i++)
            memcpy(dst + (j * STRIP + i) * PAIR, src + i * ld + j * PAIR, sizeof(Unit));
}

void gemm_pack_transposed(Act *dst, const Act *src, int64_t ld, int64_t k, int64_t n) {
    int64_t whole = k / PAIR, steps = gemm_strip_size(k) / STRIP / PAIR;
    for (int64_t row = 0; row < n; row += STRIP, src += STRIP * ld, dst += gemm_strip_size(k)) {
        int64_t count = min64(STRIP, n - row);
        if (count < STRIP) memset(dst, 0, (size_t)(whole * STRIP * PAIR) * sizeof *dst);
        transpose_units(dst, src, ld, count, whole);
        memset(dst + whole * STRIP * PAIR, 0, (size_t)((steps - whole) * STRIP * PAIR) * sizeof *dst);
        for (int64_t i = 0; i < count && k % PAIR; i++) dst[(whole * STRIP + i) * PAIR] = src[i * ld + k - 1];
    }
}

void gemm_pack_f32(Act *dst, const float *src, int64_t ld, int64_t k, int64_t n, Act *scratch) {
    enum { ROWS = 32 };
    for (int64_t row = 0; row < k; row += ROWS) {
        int64_t rows = min64(ROWS, k - row);
        for (int64_t i = 0; i < rows; i++) act_round(scratch + i * n, src + (row + i) * ld, n);
        gemm_pack(dst + row * STRIP, gemm_strip_size(k), scratch, n, rows, n);
    }
}

void gemm_pack_transposed_f32(Act *dst, const float *src, int64_t ld, int64_t k, int64_t n, Act *scratch) {
    for (int64_t row = 0; row < n; row += STRIP) {
        int64_t rows = min64(STRIP, n - row);
        for (int64_t i = 0; i < rows; i++) act_round(scratch + i * k, src + (row + i) * ld, k);
        gemm_pack_transposed(dst + row / STRIP * gemm_strip_size(k), scratch, k, k, rows);
    }
}

void gemm_pack_weight_rows(Act *dst, const Weight *w, int64_t row, int64_t n, Act *scratch) {
    for (int64_t i = 0; i < n; i += STRIP, dst += gemm_strip_size(w->cols)) {
        int64_t rows = min64(STRIP, n - i);
        cpu_expand_act(scratch, gemm_row_stride(w->cols), w, row + i, rows, 0, w->cols);
        gemm_pack_transposed(dst, scratch, gemm_row_stride(w->cols), w->cols, rows);
    }
}

void gemm_pack_weight_part(Act *dst, int64_t strip, WeightPart p, Act *scratch) {
    cpu_expand_act(scratch, p.cols, p.w, p.row, p.rows, p.col, p.cols);
    gemm_pack(dst, strip, scratch, p.cols, p.rows, p.cols);
}

// ---- product ----

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
    Act tail[TILE_ROWS * K_STEP] = {0};
    for (int64_t i = 0; i < rows; i++)
        memcpy(tail + i * K_STEP, t.a + i * t.lda + whole, (size_t)(k - whole) * sizeof *tail);
    gemm_tile((Tile){t.c, t.ldc, tail, K_STEP, t.b + whole * STRIP, K_STEP}, rows, true);
}

// C (+)= A B for K = t.k, any number.
static void multiply_tile(Tile t, int64_t rows, bool add) {
    int64_t k = t.k;
    t.k = k / K_STEP * K_STEP;
    gemm_tile(t, rows, add);
    if (k > t.k) add_tail(t, t.k, k, rows);
}

// Longer sums are cut into blocks, so that they lose fewer bits.
enum { BLOCK_K = 768 };

// The same into a tile of its own.
static void multiply_blocks(float *tile, Tile t, int64_t rows) {
    float part[TILE_ROWS * STRIP] __attribute__((aligned(64)));
    int64_t k = t.k;
    multiply_tile((Tile){tile, STRIP, t.a, t.lda, t.b, min64(BLOCK_K, k)}, rows, false);
    for (int64_t first = BLOCK_K; first < k; first += BLOCK_K) {
        Tile block = {part, STRIP, t.a + first, t.lda, t.b + first * STRIP, min64(BLOCK_K, k - first)};
        multiply_tile(block, rows, false);
        for (int64_t i = 0; i < rows * STRIP; i++) tile[i] += part[i];
    }
}

void gemm(Output c, Product p) {
    enum { SHORT_K = 512 }; // added to what is there in one sum
    float tile[TILE_ROWS * STRIP] __attribute__((aligned(64)));
    int64_t strip = p.strip ? p.strip : gemm_strip_size(p.k);
    bool direct = c.f32 && !c.bias && !c.residual && p.alpha == 1 && p.k <= (c.add ? SHORT_K : BLOCK_K);
    gemm_tile_begin();
    for (int64_t block = 0; block < p.m; block += GEMM_ROWS) {
        const Act *b = p.b;
        for (int64_t col = 0; col < p.n; col += STRIP, b += strip)
            for (int64_t row = block; row < min64(block + GEMM_ROWS, p.m); row += TILE_ROWS) {
                int64_t rows = min64(TILE_ROWS, p.m - row);
                Tile t = {direct ? c.f32 + row * c.stride + col : NULL, c.stride, p.a + row * p.lda, p.lda, b, p.k};
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
