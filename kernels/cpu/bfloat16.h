// bfloat16: a type for bf16 numbers. A struct, so that no arithmetic on its bits compiles.
#pragma once

#include <string.h>

#include "dtype.h"

typedef struct Bfloat16 {
    uint16_t bits;
} Bfloat16;

static inline float bfloat16_load(Bfloat16 x) { return bits_to_f32((uint32_t)x.bits << 16); }

// To nearest, ties to even; a NaN stays one.
static inline Bfloat16 bfloat16_store(float x) {
    uint32_t bits = f32_to_bits(x), rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16, nan = bits >> 16 | 0x40;
    return (Bfloat16){(uint16_t)((bits & 0x7FFFFFFF) > 0x7F800000 ? nan : rounded)};
}

// dst [n, 2] = two rows side by side.
static inline void bfloat16_interleave(Bfloat16 *dst, const Bfloat16 *const rows[2], int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        uint32_t pair = (uint32_t)rows[1][i].bits << 16 | rows[0][i].bits;
        memcpy(dst + 2 * i, &pair, sizeof pair);
    }
}
