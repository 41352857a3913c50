// operands_split_cpu: factors of products in which bfloat16 numbers stand for each float32 (gemm.h):
//   PARTS 1 (precision medium): x rounded
//   PARTS 3 (precision high): high = x rounded, low = (x - high) rounded, and the product is the sum of three,
//       a b = low(a) high(b) + high(a) high(b) + high(a) low(b)
//     which leaves out low(a) low(b): with the rounding of both low parts an error of 3 * 2^-16 |a b| at most. Every
//     K_STEP elements of K are K_STEP parts of each kind.
//
// Infinity and NaN are in the middle product alone; the parts of the other two are 0, so that Inf - Inf and Inf * 0 do
// not arise. A finite x never rounds to infinity: near FLT_MAX it is cut. Parts below 2^-126, which tile kernels take
// for 0, are lost.
#include "operands.h"

_Static_assert((PARTS == 1 || PARTS == 3) && K_STEP % PAIR == 0, "kinds of parts");
enum { CHUNK = PARTS * K_STEP }; // parts of K_STEP elements

static inline uint32_t rounded_bits(uint32_t x) { return (x + 0x7FFF + (x >> 16 & 1)) & 0xFFFF0000; }

// Part q of x[i] goes to dst[q * distance + i]. `left`: of A; B has them in the opposite order.
static inline void split(Part *restrict dst, int64_t distance, const float *restrict x, int64_t n, bool left) {
    Part *low = dst + (left ? 0 : PARTS - 1) * distance, *high = dst + PARTS / 2 * distance;
    Part *finite = dst + (left ? PARTS - 1 : 0) * distance;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = f32_to_bits(x[i]), magnitude = bits & 0x7FFFFFFF, nan = (bits | 0x400000) & 0xFFFF0000;
        bool is_finite = magnitude < 0x7F800000;
        uint32_t top = is_finite && magnitude >= 0x7F7F8000 ? bits & 0xFFFF0000 : rounded_bits(bits);
        top = magnitude > 0x7F800000 ? nan : top;
        high[i].bits = (uint16_t)(top >> 16);
        if (PARTS == 1) continue;
        uint32_t rest = f32_to_bits(x[i] - bits_to_f32(top));
        low[i].bits = (uint16_t)(is_finite ? rounded_bits(rest) >> 16 : 0);
        finite[i].bits = (uint16_t)(is_finite ? top >> 16 : 0);
    }
}

// dst [rows][CHUNK] = the parts of the first k elements of each row of src, k <= K_STEP; zeros after them.
static void split_chunk(Part *dst, int64_t stride, const float *src, int64_t ld, int64_t rows, int64_t k, bool left) {
    for (int64_t i = 0; i < rows; i++, dst += stride, src += ld) {
        if (k == K_STEP) {
            split(dst, K_STEP, src, K_STEP, left);
            continue;
        }
        float x[K_STEP] = {0};
        memcpy(x, src, (size_t)k * sizeof *x);
        split(dst, K_STEP, x, K_STEP, left);
    }
}

// K_STEP rows of a strip, of which the first k exist.
static void pack_chunk(Part *dst, const float *src, int64_t ld, int64_t k, int64_t n) {
    Part parts[K_STEP][PARTS][STRIP];
    for (int64_t i = 0; i < k; i++) split(parts[i][0], STRIP, src + i * ld, n, false);
    for (int q = 0; q < PARTS; q++)
        for (int64_t i = 0; i < K_STEP; i += PAIR, dst += PAIR * STRIP) {
            const Part *rows[PAIR];
            for (int j = 0; j < PAIR; j++) rows[j] = i + j < k ? parts[i + j][q] : NULL;
            pack_step(dst, rows, n);
        }
}

void gemm_pack(Part *dst, int64_t strip, const Act *src, int64_t ld, int64_t k, int64_t n) {
    for (int64_t j = 0; j < n; j += STRIP, dst += strip)
        for (int64_t p = 0; p < k; p += K_STEP)
            pack_chunk(dst + gemm_strip_row(p), src + p * ld + j, ld, min64(K_STEP, k - p), min64(STRIP, n - j));
}

void gemm_pack_transposed(Part *dst, const Act *src, int64_t ld, int64_t k, int64_t n) {
    Part parts[STRIP * CHUNK] = {0};
    for (int64_t row = 0; row < n; row += STRIP, dst += gemm_strip_size(k))
        for (int64_t p = 0; p < k; p += K_STEP) {
            int64_t count = min64(STRIP, n - row);
            if (count < STRIP) memset(parts, 0, sizeof parts);
            split_chunk(parts, CHUNK, src + row * ld + p, ld, count, min64(K_STEP, k - p), false);
            transpose_units(dst + gemm_strip_row(p), parts, CHUNK, STRIP, CHUNK / PAIR);
        }
}

Left gemm_left(Part *memory, const Act *src, int64_t ld, int64_t m, int64_t k) {
    for (int64_t p = 0; p < k; p += K_STEP)
        split_chunk(memory + p * PARTS, gemm_parts(k), src + p, ld, m, min64(K_STEP, k - p), true);
    return (Left){memory, gemm_parts(k)};
}
