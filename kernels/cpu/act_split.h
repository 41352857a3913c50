// act_split: the types of the copies of the CPU backend whose activations are float32 and whose products are of
// bfloat16 (cpu.h): operands_split_cpu.c makes the parts.
#pragma once

#include "bfloat16.h"

typedef float Act;
typedef Bfloat16 Part;
#define ACT_DTYPE DTYPE_F32
enum { PAIR = 2, SPLIT = true };

static inline float act_load(Act x) { return x; }
static inline Act act_store(float x) { return x; }

// Where there are vectors (VECTOR_HEADER).
#define act_store_32(y, low, high) vec_store_32(y, low, high)
static inline int64_t act_round_vectors(Act *dst, const float *src, int64_t n) { return 0; }

static inline void part_interleave(Part *dst, const Part *const rows[PAIR], int64_t n) {
    bfloat16_interleave(dst, rows, n);
}
