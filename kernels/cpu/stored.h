// stored: how stored blocks of each type become float32, and dot products with them. Private to kernels/cpu.
#pragma once

#include "cpu.h"

// y[0, n) = elements of whole blocks at b.
typedef void Expand(float *restrict y, const uint8_t *restrict b, int64_t n);
// y[0, n) = scale * (q - zero), the numbers q at b; of types with scales apart from them.
typedef void ExpandRun(float *restrict y, const uint8_t *restrict b, int64_t n, float scale, float zero);
// Of the types without scales apart; NULL: other types.
Expand *CPU_FN(stored_expand)(DType t);
// What it gives in copies without vectors (expand_k_cpu.c, expand_lookup_cpu.c).
extern Expand CPU_FN(expand_q2_k), CPU_FN(expand_q3_k), CPU_FN(expand_q4_k), CPU_FN(expand_q5_k), CPU_FN(expand_q6_k);
extern Expand CPU_FN(expand_iq4_nl), CPU_FN(expand_iq4_xs), CPU_FN(expand_mxfp4);
// y[0, n) = the same elements as activations, in one step; NULL: they are expanded to float32, then rounded.
typedef void ExpandAct(Act *restrict y, const uint8_t *restrict b, int64_t n);
ExpandAct *CPU_FN(stored_expand_act)(DType t);
extern ExpandRun CPU_FN(run_nf4), CPU_FN(run_fp4), CPU_FN(run_u4), CPU_FN(run_i8);
void CPU_FN(expand_nf4)(float *restrict y, const uint8_t *restrict b, int64_t n, float row_scale);
// n elements at src, from column `col` of a row of such a type on; whether all elements of the row are finite.
void CPU_FN(expand_groups)(float *dst, const WeightRow *r, const uint8_t *src, int64_t col, int64_t n);
bool CPU_FN(groups_finite)(const WeightRow *r, int64_t cols);

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

// 2^(e - 128); the two smallest are subnormal, 255 is NaN.
static inline float e8m0_half(uint32_t e) {
    uint32_t bits = e < 2 ? 0x200000u << e : e == 255 ? 0x7FC00000u : (e - 1) << 23;
    float d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

// ---- products with few rows of x, as in decoding: W is read once and not packed ----

enum { DOT_PIECE = 32 }; // elements; rows of x are padded with zeros to a multiple of it
static inline int64_t dot_stride(int64_t k) { return (k + DOT_PIECE - 1) / DOT_PIECE * DOT_PIECE; }

typedef struct DotRows {
    int64_t first, n; // rows of W
    float *scratch;   // [dot_stride(w->cols)]
} DotRows;
// y[i * ldy + j] = x_i . W[first + j] for t rows of x, float32, dot_stride(w->cols) elements from one to the next. The
// bits of a product do not depend on the other rows.
#define cpu_dots CPU_FN(dots)
void cpu_dots(float *y, int64_t ldy, const float *x, int64_t t, const Weight *w, DotRows rows);
