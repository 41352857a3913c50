// act_float32: the type of activations in the copies of the CPU backend that compute in float32 (cpu.h).
#pragma once

#include "dtype.h"

typedef float Act;
#define ACT_DTYPE DTYPE_F32
enum { PAIR = 1 }; // elements of K that the tile kernel multiplies in one step

static inline float act_load(Act x) { return x; }
static inline Act act_store(float x) { return x; }

// dst [n, PAIR] = `rows` side by side.
static inline void act_interleave(Act *dst, const Act *const rows[PAIR], int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) dst[i] = rows[0][i];
}
