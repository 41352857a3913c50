// act_bfloat16: the types of the copies of the CPU backend whose activations are bfloat16 (cpu.h).
#pragma once

#include "bfloat16.h"

typedef Bfloat16 Act, Part;
#define ACT_DTYPE DTYPE_BF16
enum { PAIR = 2, SPLIT = false };

static inline float act_load(Act x) { return bfloat16_load(x); }

// To nearest, ties to even; a NaN stays one.
static inline Act act_store(float x) {
    uint32_t bits = f32_to_bits(x), rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16, nan = bits >> 16 | 0x40;
    return (Act){(uint16_t)((bits & 0x7FFFFFFF) > 0x7F800000 ? nan : rounded)};
}

static inline void part_interleave(Part *dst, const Part *const rows[PAIR], int64_t n) {
    bfloat16_interleave(dst, rows, n);
}
