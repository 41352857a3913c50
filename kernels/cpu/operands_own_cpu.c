// operands_own_cpu: factors of products whose numbers are activations as they are (gemm.h).
#include "operands.h"

void gemm_pack(Part *dst, int64_t strip, const Act *src, int64_t ld, int64_t k, int64_t n) {
    int64_t steps = gemm_strip_size(k) / STRIP;
    for (int64_t j = 0; j < n; j += STRIP, dst += strip)
        for (int64_t p = 0; p < steps; p += PAIR) {
            const Part *rows[PAIR];
            for (int q = 0; q < PAIR; q++) rows[q] = p + q < k ? src + (p + q) * ld + j : NULL;
            pack_step(dst + p * STRIP, rows, min64(STRIP, n - j));
        }
}

void gemm_pack_transposed(Part *dst, const Act *src, int64_t ld, int64_t k, int64_t n) {
    int64_t whole = k / PAIR, steps = gemm_strip_size(k) / STRIP / PAIR;
    for (int64_t row = 0; row < n; row += STRIP, src += STRIP * ld, dst += gemm_strip_size(k)) {
        int64_t count = min64(STRIP, n - row);
        if (count < STRIP) memset(dst, 0, (size_t)(whole * STRIP * PAIR) * sizeof *dst);
        transpose_units(dst, src, ld, count, whole);
        memset(dst + whole * STRIP * PAIR, 0, (size_t)((steps - whole) * STRIP * PAIR) * sizeof *dst);
        for (int64_t i = 0; i < count && k % PAIR; i++) dst[(whole * STRIP + i) * PAIR] = src[i * ld + k - 1];
    }
}

Left gemm_left(Part *memory, const Act *src, int64_t ld, int64_t m, int64_t k) { return (Left){src, ld}; }
