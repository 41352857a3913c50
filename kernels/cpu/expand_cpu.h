// expand_cpu: how blocks of each type become float32 in the fast CPU backend. Private to the expand*_cpu.c files.
#pragma once

#include "cpu.h"

// y[0, n) = elements of whole blocks at b.
typedef void Expand(float *restrict y, const uint8_t *restrict b, int64_t n);
extern Expand CPU_FN(expand_q2_k), CPU_FN(expand_q3_k), CPU_FN(expand_q4_k), CPU_FN(expand_q5_k), CPU_FN(expand_q6_k);
extern Expand CPU_FN(expand_iq4_nl), CPU_FN(expand_iq4_xs), CPU_FN(expand_mxfp4);
void CPU_FN(expand_nf4)(float *restrict y, const uint8_t *restrict b, int64_t n, float row_scale);

// Branch-free, so that it vectorises; the arithmetic stays clear of subnormal inputs, which are slow on some machines.
static inline float f16_value(uint32_t h) {
    uint32_t magnitude = h & 0x7FFF;
    uint32_t rebased = (magnitude << 13) + (magnitude >= 0x7C00 ? 224u << 23 : 112u << 23);
    float normal = bits_to_f32(rebased), subnormal = (float)(int32_t)magnitude * 0x1p-24f;
    return bits_to_f32(f32_to_bits(magnitude < 0x400 ? subnormal : normal) | (h & 0x8000) << 16);
}

static inline uint32_t load_u16(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }

static inline uint32_t load_u32(const uint8_t *p) { return load_u16(p) | load_u16(p + 2) << 16; }

static inline float load_f16(const uint8_t *p) { return f16_value(load_u16(p)); }
