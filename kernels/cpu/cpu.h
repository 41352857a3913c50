// cpu: private header of the fast CPU backend (all *_cpu.c files).
//
// Every *_cpu.c file is compiled once per instruction set (CPU_ISA, set by CMake) in plain C; intrinsics are in the
// tile kernels of products (tile_*_cpu.c, gemm.h), in what expands stored weights and multiplies few rows by them
// (stored_vector_cpu.c), and in the rounding to bfloat16 (act_bfloat16_avx512.h). CPU_FN(name) names the functions of
// a copy: `void CPU_FN(add)(...)` is cpu_base_add, cpu_v3_add, ... in one binary; cpu.c picks a table at run time.
// Never call CPU_FN code of one copy from another. Helpers in shared headers must be `static inline`: the linker keeps
// one copy of a plain inline function, maybe for a newer instruction set.
//
// Rules of the folder:
//  - A copy has activations of one type, Act: act_float32.h, act_bfloat16.h or act_split.h, chosen by CMake. All
//    arithmetic is in float32 (act_load, act_store); tile kernels multiply pairs of bfloat16 numbers, exactly, and sum
//    in float32. In copies of a lower precision all products of matrices have operands of bfloat16 (gemm.h), but those
//    of few rows (matmul_cpu.c) and of a classifier's head are float32.
//  - Threads share rows or fixed blocks, each summed in one fixed order: bits never depend on the number of threads.
//  - No -ffast-math: NaN and infinity propagate; sums are vectorised by `#pragma omp simd reduction` only.
#pragma once

#include <float.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "host.h"

#define CPU_CAT_(isa, name) cpu_##isa##_##name
#define CPU_CAT(isa, name) CPU_CAT_(isa, name)
#define CPU_FN(name) CPU_CAT(CPU_ISA, name)

// The copies in this build: name, instruction set, type of activations, precision, condition for running it. The first
// that runs is used, unless LORAC_ISA names another.
#ifdef __x86_64__
#define CPU_ISA_LIST(X)                                                                                                \
    X(v4, v4, F32, HIGHEST, cpu_has_v4)                                                                                \
    X(v3, v3, F32, HIGHEST, cpu_has_v3)                                                                                \
    X(base, base, F32, HIGHEST, cpu_has_base)                                                                          \
    X(amx, amx, BF16, HIGHEST, cpu_has_amx)                                                                            \
    X(amx_high, amx, F32, HIGH, cpu_has_amx)                                                                           \
    X(amx_medium, amx, F32, MEDIUM, cpu_has_amx)                                                                       \
    X(avx512_bf16, avx512_bf16, BF16, HIGHEST, cpu_has_avx512_bf16)                                                    \
    X(avx512_bf16_high, avx512_bf16, F32, HIGH, cpu_has_avx512_bf16)                                                   \
    X(avx512_bf16_medium, avx512_bf16, F32, MEDIUM, cpu_has_avx512_bf16)
#else
#define CPU_ISA_LIST(X) X(base, base, F32, HIGHEST, cpu_has_base)
#endif
#define DECLARE_CPU_TABLE(copy, ...) extern const Kernels CPU_CAT(copy, kernels);
CPU_ISA_LIST(DECLARE_CPU_TABLE)

#ifdef CPU_ISA

#include ACT_HEADER

#define DECLARE_CPU_SLOT(slot) SLOT_TYPE(slot) CPU_FN(slot);
OP_SLOTS(DECLARE_CPU_SLOT)

// dst [n, K] = logical rows [row, row + n) of W, serial; the bits of dtype_expand.
#define cpu_expand_rows CPU_FN(expand_rows)
void cpu_expand_rows(float *dst, const Weight *w, int64_t row, int64_t n);
// dst [n, cols] = columns [col, col + cols) of them; col and cols are whole blocks.
#define cpu_expand_columns CPU_FN(expand_columns)
void cpu_expand_columns(float *dst, const Weight *w, int64_t row, int64_t n, int64_t col, int64_t cols);

// The same as activations, each element rounded once; `ld` elements from row to row of dst.
#define cpu_expand_act CPU_FN(expand_act)
void cpu_expand_act(Act *dst, int64_t ld, const Weight *w, int64_t row, int64_t n, int64_t col, int64_t cols);

static inline Act *act_row(Mat m, int64_t row) { return (Act *)m.data + row * m.cols; }
// dst = src, each element rounded once.
static inline void act_round(Act *dst, const float *src, int64_t n) {
    int64_t done = act_round_vectors(dst, src, n);
#pragma omp simd
    for (int64_t i = done; i < n; i++) dst[i] = act_store(src[i]);
}
#define CHECK_ACT(m, r, c) CHECK_MATRIX(m, ACT_DTYPE, r, c)

// Threads for `elements` of cheap work: all or one, as a parallel region costs a few microseconds.
static inline int cpu_threads(const Backend *b, int64_t elements) { return elements >= 1 << 15 ? b->threads : 1; }

// exp(x) = 2^n (1 + q) in a form that compilers vectorise: x = n ln 2 + r, q a polynomial in r. |x| < 2^21; a NaN
// makes q one.
typedef struct Exponential {
    int32_t n;
    float q;
} Exponential;

static inline Exponential cpu_exponential(float x) {
    const float magic = 0x1.8p23f; // adding it rounds to an integer in the low mantissa bits
    float shifted = x * 0x1.715476p0f + magic;
    float n = shifted - magic;
    float r = x - n * 0x1.62ep-1f - n * 0x1.0bfbe8p-15f; // ln 2 in two parts: the first product is exact
    float p = 0x1.6a23acp-10f;                           // minimax for (exp(r) - 1 - r) / r^2, |r| <= ln 2 / 2
    p = p * r + 0x1.123a1cp-7f;
    p = p * r + 0x1.5558f4p-5f;
    p = p * r + 0x1.555492p-3f;
    p = p * r + 0x1.fffffcp-2f;
    return (Exponential){(int32_t)(f32_to_bits(shifted) - 0x4B400000u), p * r * r + r};
}

// 2^n, -127 < n < 128.
static inline float cpu_power_of_two(int32_t n) { return bits_to_f32((uint32_t)(n + 127) << 23); }

// exp(x) to about 1 ulp for x <= 88, which is all that a softmax needs. Results below 2^-126 are 0, so that 2^n is one
// factor. NaN stays NaN.
static inline float cpu_expf(float x) {
    const float least = -0x1.5d589ep6f; // log(2^-126)
    Exponential e = cpu_exponential(x < least ? least : x);
    float y = (e.q + 1.0f) * cpu_power_of_two(e.n);
    return x < least ? 0 : y;
}

// 1 / (1 + exp(-x)); 0 for x < -88. NaN stays NaN.
static inline float cpu_logistic(float x) {
    float s = 1 / (1 + cpu_expf(x < -88.0f ? 88.0f : -x));
    return x < -88.0f ? 0 : s;
}

// tanh(x) to about 2 ulp: -m / (2 + m) with m = exp(-2|x|) - 1 = (2^n - 1) + 2^n q, where nothing cancels.
static inline float cpu_tanhf(float x) {
    float a = fabsf(x);
    a = a > 10.0f ? 10.0f : a; // 1 from there on
    Exponential e = cpu_exponential(-2 * a);
    float power = cpu_power_of_two(e.n), m = (power - 1) + power * e.q;
    return copysignf(m / (2 + m), x);
}

// The normal distribution: the cumulative function, with a relative error of about 3e-7 for |x| <= 2 and 2^-24 x^2
// further down the lower tail; the density.
typedef struct Normal {
    float distribution, density;
} Normal;

static inline Normal cpu_normal(float x) {
    float a = fabsf(x), gauss = cpu_expf(-0.5f * a * a);
    float t = 1 / (1 + 0.35f * a); // minimax for Phi(-a) exp(a^2 / 2) / t in t, 0 <= a <= 14.5
    float p = -0x1.ddb942p-6f;
    p = p * t + 0x1.26f9d0p-3f;
    p = p * t - 0x1.05facap-2f;
    p = p * t + 0x1.4649b2p-3f;
    p = p * t - 0x1.7c5136p-6f;
    p = p * t + 0x1.b057fap-4f;
    p = p * t + 0x1.eac9b0p-4f;
    p = p * t + 0x1.1e70c4p-3f;
    p = p * t + 0x1.1df1c6p-3f;
    float tail = p * t * gauss;
    return (Normal){x < 0 ? tail : 1 - tail, 0x1.988454p-2f * gauss};
}

// x = cap * tanh(x * factor) in place.
static inline void cpu_softcap(float *x, int64_t n, float factor, float cap) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) x[i] = cap * cpu_tanhf(x[i] * factor);
}

// An integer that orders as the float does: NaN is beyond the infinities on either side, and -0 equals 0. Integer
// maxima vectorise without losing NaN.
static inline int32_t cpu_order_key(float x) {
    int32_t bits = (int32_t)f32_to_bits(x + 0.0f);
    return bits ^ (bits >> 31 & INT32_MAX);
}

// The largest of n numbers, at least -FLT_MAX; a NaN is ignored or is the result.
static inline float cpu_largest(const float *x, int64_t n) {
    int32_t max = cpu_order_key(-FLT_MAX);
#pragma omp simd reduction(max : max)
    for (int64_t i = 0; i < n; i++) {
        int32_t key = cpu_order_key(x[i]);
        max = key > max ? key : max;
    }
    return bits_to_f32((uint32_t)(max ^ (max >> 31 & INT32_MAX)));
}

// x = exp(x - max) in place; the sum of the results.
static inline float cpu_exponentials(float *x, int64_t n, float max) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        x[i] = cpu_expf(x[i] - max);
        sum += x[i];
    }
    return sum;
}

#endif
