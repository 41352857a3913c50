// act_float32: the types of the copies of the CPU backend that compute in float32 (cpu.h).
#pragma once

#include "dtype.h"

typedef float Act, Part;
#define ACT_DTYPE DTYPE_F32
enum { PAIR = 1, SPLIT = false };

static inline float act_load(Act x) { return x; }
static inline Act act_store(float x) { return x; }

static inline void part_interleave(Part *dst, const Part *const rows[PAIR], int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) dst[i] = rows[0][i];
}
