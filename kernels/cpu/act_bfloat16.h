// act_bfloat16: the type of activations in the copies of the CPU backend that compute in bfloat16 (cpu.h). A struct, so
// that no arithmetic on its bits compiles.
#pragma once

#include <string.h>

#include "dtype.h"

typedef struct Act {
    uint16_t bits;
} Act;
#define ACT_DTYPE DTYPE_BF16
enum { PAIR = 2 }; // elements of K that the tile kernel multiplies in one step

static inline float act_load(Act x) { return bits_to_f32((uint32_t)x.bits << 16); }

// To nearest, ties to even; a NaN stays one.
static inline Act act_store(float x) {
    uint32_t bits = f32_to_bits(x), rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16, nan = bits >> 16 | 0x40;
    return (Act){(uint16_t)((bits & 0x7FFFFFFF) > 0x7F800000 ? nan : rounded)};
}

// dst [n, PAIR] = `rows` side by side.
static inline void act_interleave(Act *dst, const Act *const rows[PAIR], int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        uint32_t pair = (uint32_t)rows[1][i].bits << 16 | rows[0][i].bits;
        memcpy(dst + 2 * i, &pair, sizeof pair);
    }
}
