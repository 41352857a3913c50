// act_bfloat16: the types of the copies of the CPU backend whose activations are bfloat16 (cpu.h), for any instruction
// set: tests emulate AMX with it.
#pragma once

#include "bfloat16.h"

typedef Bfloat16 Act, Part;
#define ACT_DTYPE DTYPE_BF16
enum { PAIR = 2, SPLIT = false };

static inline float act_load(Act x) { return bfloat16_load(x); }
static inline Act act_store(float x) { return bfloat16_store(x); }
static inline int64_t act_round_vectors(Act *dst, const float *src, int64_t n) { return 0; }

static inline void part_interleave(Part *dst, const Part *const rows[PAIR], int64_t n) {
    bfloat16_interleave(dst, rows, n);
}
