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

static inline void part_interleave(Part *dst, const Part *const rows[PAIR], int64_t n) {
    bfloat16_interleave(dst, rows, n);
}
