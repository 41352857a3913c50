// expand_k_cpu: the "K" types, blocks of 256 elements with scales per group.
#include "stored.h"

// The types of 2, 3 and 6 bits have one scale for 16 elements and keep four groups of 32 in the bits of the same bytes.
// Going through 16 bytes once, for the four runs of 16 elements that they hold, is what vectorises best.

void CPU_FN(expand_q2_k)(float *restrict y, const uint8_t *restrict b, int64_t n) {
    for (int64_t i = 0; i < n; i += 256, b += 84, y += 256) {
        float d = load_f16(b + 80), dmin = load_f16(b + 82), scale[16], min[16];
        for (int g = 0; g < 16; g++) {
            scale[g] = d * (float)(b[g] & 15);
            min[g] = dmin * (float)(b[g] >> 4);
        }
        for (int run = 0; run < 4; run++) {
            const uint8_t *q = b + 16 + run * 16;
            const float *s = scale + run / 2 * 8 + run % 2, *m = min + run / 2 * 8 + run % 2;
            float *out = y + run / 2 * 128 + run % 2 * 16;
#pragma omp simd
            for (int l = 0; l < 16; l++) {
                out[l] = s[0] * (float)(q[l] & 3) - m[0];
                out[l + 32] = s[2] * (float)(q[l] >> 2 & 3) - m[2];
                out[l + 64] = s[4] * (float)(q[l] >> 4 & 3) - m[4];
                out[l + 96] = s[6] * (float)(q[l] >> 6) - m[6];
            }
        }
    }
}

void CPU_FN(expand_q3_k)(float *restrict y, const uint8_t *restrict b, int64_t n) {
    for (int64_t i = 0; i < n; i += 256, b += 110, y += 256) {
        const uint8_t *packed = b + 96;
        float d = load_f16(b + 108), scale[16];
        for (int g = 0; g < 16; g++) {
            int low = packed[g % 8] >> g / 8 * 4 & 15, high = packed[8 + g % 4] >> g / 4 * 2 & 3;
            scale[g] = d * (float)((low | high << 4) - 32);
        }
        for (int run = 0; run < 4; run++) {
            const uint8_t *q = b + 32 + run * 16, *mask = b + run % 2 * 16;
            const float *s = scale + run / 2 * 8 + run % 2;
            float *out = y + run / 2 * 128 + run % 2 * 16;
            int bit = run / 2 * 4;
#pragma omp simd
            for (int l = 0; l < 16; l++) {
                int low = q[l], high = mask[l] >> bit;
                out[l] = s[0] * (float)(((low & 3) | (high & 1) << 2) - 4);
                out[l + 32] = s[2] * (float)(((low >> 2 & 3) | (high & 2) << 1) - 4);
                out[l + 64] = s[4] * (float)(((low >> 4 & 3) | (high & 4)) - 4);
                out[l + 96] = s[6] * (float)((low >> 6 | (high & 8) >> 1) - 4);
            }
        }
    }
}

// Six-bit scales and minima of the 8 groups of a K block, packed in 12 bytes.
static inline void k_scales(const uint8_t *p, float d, float dmin, float scale[8], float min[8]) {
    for (int j = 0; j < 4; j++) {
        scale[j] = d * (float)(p[j] & 63);
        min[j] = dmin * (float)(p[j + 4] & 63);
        scale[j + 4] = d * (float)((p[j + 8] & 15) | p[j] >> 6 << 4);
        min[j + 4] = dmin * (float)(p[j + 8] >> 4 | p[j + 4] >> 6 << 4);
    }
}

void CPU_FN(expand_q4_k)(float *restrict y, const uint8_t *restrict b, int64_t n) {
    for (int64_t i = 0; i < n; i += 256, b += 144, y += 256) {
        float scale[8], min[8];
        k_scales(b + 4, load_f16(b), load_f16(b + 2), scale, min);
        for (int g = 0; g < 8; g += 2) {
            const uint8_t *q = b + 16 + g * 16;
            for (int l = 0; l < 32; l++) y[g * 32 + l] = scale[g] * (float)(q[l] & 15) - min[g];
            for (int l = 0; l < 32; l++) y[g * 32 + 32 + l] = scale[g + 1] * (float)(q[l] >> 4) - min[g + 1];
        }
    }
}

void CPU_FN(expand_q5_k)(float *restrict y, const uint8_t *restrict b, int64_t n) {
    for (int64_t i = 0; i < n; i += 256, b += 176, y += 256) {
        float scale[8], min[8];
        const uint8_t *high = b + 16;
        k_scales(b + 4, load_f16(b), load_f16(b + 2), scale, min);
        for (int g = 0; g < 8; g++) {
            const uint8_t *q = b + 48 + g / 2 * 32;
            int shift = g % 2 * 4;
            for (int l = 0; l < 32; l++)
                y[g * 32 + l] = scale[g] * (float)((q[l] >> shift & 15) | (high[l] >> g & 1) << 4) - min[g];
        }
    }
}

void CPU_FN(expand_q6_k)(float *restrict y, const uint8_t *restrict b, int64_t n) {
    for (int64_t i = 0; i < n; i += 256, b += 210, y += 256) {
        const int8_t *scales = (const int8_t *)b + 192;
        float d = load_f16(b + 208), scale[16];
        for (int g = 0; g < 16; g++) scale[g] = d * (float)scales[g];
        for (int run = 0; run < 4; run++) {
            const uint8_t *low = b + run / 2 * 64 + run % 2 * 16, *high = b + 128 + run * 16;
            const float *s = scale + run / 2 * 8 + run % 2;
            float *out = y + run / 2 * 128 + run % 2 * 16;
#pragma omp simd
            for (int l = 0; l < 16; l++) {
                int q0 = low[l], q1 = low[l + 32], h = high[l];
                out[l] = s[0] * (float)(((q0 & 15) | (h & 3) << 4) - 32);
                out[l + 32] = s[2] * (float)(((q1 & 15) | (h & 12) << 2) - 32);
                out[l + 64] = s[4] * (float)((q0 >> 4 | (h & 48)) - 32);
                out[l + 96] = s[6] * (float)((q1 >> 4 | (h & 192) >> 2) - 32);
            }
        }
    }
}
