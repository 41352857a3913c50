// expand_lookup_cpu: types whose 4-bit numbers index a table. A byte holds two of them, so a table of 256 pairs of
// floats expands it with one load, which is faster than two lookups in a table of 16.
#include "stored.h"

#define UNDER(high, v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15)                              \
    {v0, high}, {v1, high}, {v2, high}, {v3, high}, {v4, high}, {v5, high}, {v6, high}, {v7, high}, {v8, high},        \
        {v9, high}, {v10, high}, {v11, high}, {v12, high}, {v13, high}, {v14, high}, {                                 \
        v15, high                                                                                                      \
    }
#define ALL(v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15)                                      \
    UNDER(v0, v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15),                                   \
        UNDER(v1, v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15),                               \
        UNDER(v2, v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15),                               \
        UNDER(v3, v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15),                               \
        UNDER(v4, v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15),                               \
        UNDER(v5, v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15),                               \
        UNDER(v6, v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15),                               \
        UNDER(v7, v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15),                               \
        UNDER(v8, v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15),                               \
        UNDER(v9, v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15),                               \
        UNDER(v10, v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15),                              \
        UNDER(v11, v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15),                              \
        UNDER(v12, v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15),                              \
        UNDER(v13, v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15),                              \
        UNDER(v14, v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15),                              \
        UNDER(v15, v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15)
#define PAIRS(...)                                                                                                     \
    { ALL(__VA_ARGS__) } // entry b: the values of the low and of the high half of byte b
static const float iq4_pairs[256][2] = PAIRS(DTYPE_IQ4_VALUES);
static const float e2m1_pairs[256][2] = PAIRS(DTYPE_E2M1_VALUES);
static const float nf4_pairs[256][2] = PAIRS(DTYPE_NF4_LEVELS);
static const float fp4_pairs[256][2] = PAIRS(DTYPE_FP4_LEVELS);

// Element j is the low half of byte j, element j + 16 its high half.
static inline void expand_halves(float *restrict y, const uint8_t *restrict q, float d, const float (*pairs)[2]) {
    float t[32];
    for (int j = 0; j < 16; j++) memcpy(t + 2 * j, pairs[q[j]], sizeof *pairs);
    for (int j = 0; j < 32; j++) t[j] *= d;
    for (int j = 0; j < 16; j++) {
        y[j] = t[2 * j];
        y[j + 16] = t[2 * j + 1];
    }
}

void CPU_FN(expand_iq4_nl)(float *restrict y, const uint8_t *restrict b, int64_t n) {
    for (int64_t i = 0; i < n; i += 32, b += 18, y += 32) expand_halves(y, b + 2, load_f16(b), iq4_pairs);
}

void CPU_FN(expand_iq4_xs)(float *restrict y, const uint8_t *restrict b, int64_t n) {
    for (int64_t i = 0; i < n; i += 256, b += 136, y += 256) {
        float d = load_f16(b);
        uint32_t high = load_u16(b + 2);
        for (int g = 0; g < 8; g++) {
            int scale = (b[4 + g / 2] >> g % 2 * 4 & 15) | (int)(high >> g * 2 & 3) << 4;
            expand_halves(y + g * 32, b + 8 + g * 16, d * (float)(scale - 32), iq4_pairs);
        }
    }
}

void CPU_FN(expand_mxfp4)(float *restrict y, const uint8_t *restrict b, int64_t n) {
    for (int64_t i = 0; i < n; i += 32, b += 17, y += 32) expand_halves(y, b + 1, e8m0_half(b[0]), e2m1_pairs);
}

void CPU_FN(expand_nf4)(float *restrict y, const uint8_t *restrict b, int64_t n, float row_scale) {
    for (int64_t i = 0; i < n; i += 64, b += 33, y += 64) {
        float scale = (float)(b[0] * b[0]) * row_scale;
        for (int j = 0; j < 32; j++) memcpy(y + 2 * j, nf4_pairs[b[1 + j]], sizeof *nf4_pairs);
        for (int j = 0; j < 64; j++) y[j] *= scale;
    }
}

// The first of a pair is the high half of its byte.
static inline void run_pairs(float *restrict y, const uint8_t *restrict b, int64_t n, float scale,
                             const float (*pairs)[2]) {
    for (int64_t j = 0; j < n / 2; j++) memcpy(y + 2 * j, pairs[(b[j] >> 4 | b[j] << 4) & 255], sizeof *pairs);
    for (int64_t j = 0; j < n; j++) y[j] *= scale;
}

void CPU_FN(run_nf4)(float *restrict y, const uint8_t *restrict b, int64_t n, float scale, float zero) {
    run_pairs(y, b, n, scale, nf4_pairs);
}

void CPU_FN(run_fp4)(float *restrict y, const uint8_t *restrict b, int64_t n, float scale, float zero) {
    run_pairs(y, b, n, scale, fp4_pairs);
}
