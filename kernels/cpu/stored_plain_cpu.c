// stored_plain_cpu: stored weights for any instruction set: the expansion of the types that stored_vector_cpu.c has in
// registers, and dot products with rows that are expanded first.
#include "stored.h"

static void expand_f32(float *restrict y, const uint8_t *restrict b, int64_t n) { memcpy(y, b, (size_t)n * sizeof *y); }

static void expand_f16(float *restrict y, const uint8_t *restrict b, int64_t n) {
    const uint16_t *h = (const uint16_t *)b;
    for (int64_t i = 0; i < n; i++) y[i] = f16_value(h[i]);
}

static void expand_bf16(float *restrict y, const uint8_t *restrict b, int64_t n) {
    const uint16_t *h = (const uint16_t *)b;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)h[i] << 16;
        memcpy(y + i, &bits, sizeof bits);
    }
}

static void expand_q8_0(float *restrict y, const uint8_t *restrict b, int64_t n) {
    for (int64_t i = 0; i < n; i += 32, b += 34, y += 32) {
        float d = load_f16(b);
        const int8_t *q = (const int8_t *)b + 2;
        for (int j = 0; j < 32; j++) y[j] = d * (float)q[j];
    }
}

// The four 32-element types keep element j in the low half of byte j and element j + 16 in its high half.
static void expand_q4_0(float *restrict y, const uint8_t *restrict b, int64_t n) {
    for (int64_t i = 0; i < n; i += 32, b += 18, y += 32) {
        float d = load_f16(b);
#pragma omp simd
        for (int j = 0; j < 16; j++) {
            y[j] = d * (float)((b[2 + j] & 15) - 8);
            y[j + 16] = d * (float)((b[2 + j] >> 4) - 8);
        }
    }
}

static void expand_q4_1(float *restrict y, const uint8_t *restrict b, int64_t n) {
    for (int64_t i = 0; i < n; i += 32, b += 20, y += 32) {
        float d = load_f16(b), m = load_f16(b + 2);
#pragma omp simd
        for (int j = 0; j < 16; j++) {
            y[j] = d * (float)(b[4 + j] & 15) + m;
            y[j + 16] = d * (float)(b[4 + j] >> 4) + m;
        }
    }
}

// The fifth bit of element j is bit j of a 32-bit word.
static void expand_q5_0(float *restrict y, const uint8_t *restrict b, int64_t n) {
    for (int64_t i = 0; i < n; i += 32, b += 22, y += 32) {
        float d = load_f16(b);
        uint32_t high = load_u32(b + 2);
#pragma omp simd
        for (int j = 0; j < 16; j++) {
            y[j] = d * (float)((int)((b[6 + j] & 15) | (high >> j & 1) << 4) - 16);
            y[j + 16] = d * (float)((int)((b[6 + j] >> 4) | (high >> (j + 16) & 1) << 4) - 16);
        }
    }
}

static void expand_q5_1(float *restrict y, const uint8_t *restrict b, int64_t n) {
    for (int64_t i = 0; i < n; i += 32, b += 24, y += 32) {
        float d = load_f16(b), m = load_f16(b + 2);
        uint32_t high = load_u32(b + 4);
#pragma omp simd
        for (int j = 0; j < 16; j++) {
            y[j] = d * (float)(int)((b[8 + j] & 15) | (high >> j & 1) << 4) + m;
            y[j + 16] = d * (float)(int)((b[8 + j] >> 4) | (high >> (j + 16) & 1) << 4) + m;
        }
    }
}

// ---- numbers whose scales are apart ----

void CPU_FN(run_u4)(float *restrict y, const uint8_t *restrict b, int64_t n, float scale, float zero) {
#pragma omp simd
    for (int64_t j = 0; j < n / 2; j++) {
        y[2 * j] = scale * ((float)(b[j] & 15) - zero);
        y[2 * j + 1] = scale * ((float)(b[j] >> 4) - zero);
    }
}

void CPU_FN(run_i8)(float *restrict y, const uint8_t *restrict b, int64_t n, float scale, float zero) {
    for (int64_t j = 0; j < n; j++) y[j] = scale * ((float)(int8_t)b[j] - zero);
}

Expand *CPU_FN(stored_expand)(DType t) {
    static Expand *const table[DTYPE_COUNT] = {
        [DTYPE_F32] = expand_f32,
        [DTYPE_F16] = expand_f16,
        [DTYPE_BF16] = expand_bf16,
        [DTYPE_Q8_0] = expand_q8_0,
        [DTYPE_Q4_0] = expand_q4_0,
        [DTYPE_Q4_1] = expand_q4_1,
        [DTYPE_Q5_0] = expand_q5_0,
        [DTYPE_Q5_1] = expand_q5_1,
        [DTYPE_IQ4_NL] = CPU_FN(expand_iq4_nl),
        [DTYPE_IQ4_XS] = CPU_FN(expand_iq4_xs),
        [DTYPE_MXFP4] = CPU_FN(expand_mxfp4),
        [DTYPE_Q2_K] = CPU_FN(expand_q2_k),
        [DTYPE_Q3_K] = CPU_FN(expand_q3_k),
        [DTYPE_Q4_K] = CPU_FN(expand_q4_k),
        [DTYPE_Q5_K] = CPU_FN(expand_q5_k),
        [DTYPE_Q6_K] = CPU_FN(expand_q6_k),
    };
    return table[t];
}

ExpandAct *CPU_FN(stored_expand_act)(DType t) { return NULL; }

static float dot(const float *x, const float *w, int64_t k) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < k; i++) sum += x[i] * w[i];
    return sum;
}

void cpu_dots(float *y, int64_t ldy, const float *x, int64_t t, const Weight *w, DotRows rows) {
    for (int64_t i = 0; i < rows.n; i++) {
        cpu_expand_rows(rows.scratch, w, rows.first + i, 1);
        for (int64_t j = 0; j < t; j++) y[j * ldy + i] = dot(x + j * dot_stride(w->cols), rows.scratch, w->cols);
    }
}
