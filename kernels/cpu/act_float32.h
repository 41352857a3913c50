// act_float32: the types of the copies of the CPU backend that compute in float32 (cpu.h).
#pragma once

#include "dtype.h"

typedef float Act, Part;
#define ACT_DTYPE DTYPE_F32
enum { PAIR = 1, SPLIT = false };

static inline float act_load(Act x) { return x; }
static inline Act act_store(float x) { return x; }

// Where there are vectors (VECTOR_HEADER).
#define act_store_32(y, low, high) vec_store_32(y, low, high)
static inline int64_t act_round_vectors(Act *dst, const float *src, int64_t n) { return 0; }

static inline void part_interleave(Part *dst, const Part *const rows[PAIR], int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) dst[i] = rows[0][i];
}
