// tile_avx512_bf16_cpu: the tile kernel of AVX512_BF16. An instruction adds the products of two neighbours in K to each
// of 16 sums, with one rounding each; it takes subnormal numbers for 0.
#include <immintrin.h>

#include "gemm.h"

_Static_assert(STRIP == 32 && PAIR == 2, "two vectors of pairs");

// Inlined once for each number of rows, so that the sums are registers.
__attribute__((always_inline)) static inline void multiply(Tile t, bool add, const int rows) {
    __m512 sum[TILE_ROWS][2];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < 2; j++) sum[i][j] = add ? _mm512_loadu_ps(t.c + i * t.ldc + j * 16) : _mm512_setzero_ps();
    const Part *b = t.b;
    for (int64_t p = 0; p < t.k; p += PAIR, b += PAIR * STRIP) {
        __m512bh left = (__m512bh)_mm512_loadu_si512(b), right = (__m512bh)_mm512_loadu_si512(b + 16 * PAIR);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            int32_t pair;
            memcpy(&pair, t.a + i * t.lda + p, sizeof pair);
            __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
            sum[i][0] = _mm512_dpbf16_ps(sum[i][0], x, left);
            sum[i][1] = _mm512_dpbf16_ps(sum[i][1], x, right);
        }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < 2; j++) _mm512_storeu_ps(t.c + i * t.ldc + j * 16, sum[i][j]);
}

void gemm_tile_begin(void) {}
void gemm_tile_end(void) {}

void gemm_tile(const Tile *t, int64_t rows, bool add) {
    switch (rows) {
#define ROWS(n)                                                                                                        \
    case n: multiply(*t, add, n); break;
        ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) ROWS(7) ROWS(8) ROWS(9) ROWS(10) ROWS(11) ROWS(12)
    }
}
