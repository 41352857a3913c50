// act_bfloat16_avx512: act_bfloat16.h where the CPU has AVX512_BF16, which rounds 32 numbers in one instruction.
#pragma once

#include <immintrin.h>

#include "bfloat16.h"

typedef Bfloat16 Act, Part;
#define ACT_DTYPE DTYPE_BF16
enum { PAIR = 2, SPLIT = false };

static inline float act_load(Act x) { return bfloat16_load(x); }
static inline Act act_store(float x) { return bfloat16_store(x); }

// y [32] = low and high. The instruction makes numbers below 2^-126 zero, so these, which are rare, are rounded singly.
static inline void act_store_32(Act *y, __m512 low, __m512 high) {
    enum { SUBNORMAL = 0x20 };
    __mmask16 few = _mm512_fpclass_ps_mask(low, SUBNORMAL) | _mm512_fpclass_ps_mask(high, SUBNORMAL);
    _mm512_storeu_si512(y, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    if (few == 0) return;
    float x[32];
    _mm512_storeu_ps(x, low);
    _mm512_storeu_ps(x + 16, high);
    for (int i = 0; i < 32; i++) y[i] = act_store(x[i]);
}

static inline int64_t act_round_vectors(Act *dst, const float *src, int64_t n) {
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) act_store_32(dst + i, _mm512_loadu_ps(src + i), _mm512_loadu_ps(src + i + 16));
    return i;
}

static inline void part_interleave(Part *dst, const Part *const rows[PAIR], int64_t n) {
    bfloat16_interleave(dst, rows, n);
}
