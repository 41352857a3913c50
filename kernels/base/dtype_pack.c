// dtype_pack: float32 as GGUF blocks, the inverse of dtype_expand (dtype.h). Scales are found by dtype_fit and rounded
// to what the block holds; the quants are then the nearest for the rounded scales.
#include <math.h>
#include <string.h>

#include "dtype.h"
#include "dtype_fit.h"

static void store_u16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

// *value becomes what is stored; false: no finite half.
static bool store_half(uint8_t *p, float *value) {
    uint16_t h = f32_to_f16(*value);
    store_u16(p, h);
    *value = f16_to_f32(h);
    return isfinite(*value);
}

// ---- blocks of 32: element j in the low half of byte j, element j + 16 in its high half ----

static void store_nibbles(uint8_t *qs, const int *q) {
    for (int j = 0; j < 16; j++) qs[j] = (uint8_t)((q[j] & 15) | (q[j + 16] & 15) << 4);
}

static void store_fifth_bits(uint8_t *qh, const int *q) {
    memset(qh, 0, 4);
    for (int j = 0; j < 32; j++) qh[j / 8] = (uint8_t)(qh[j / 8] | (q[j] >> 4 & 1) << j % 8);
}

// Q4_0 and Q5_0; half: 8 or 16, what is added to the quants.
static bool pack_symmetric(uint8_t *b, const float *x, int half) {
    int q[32];
    FitRange r = {.low = -half, .high = half - 1};
    float d = fit_scale(x, 32, r);
    if (!store_half(b, &d)) return false;
    fit_round(q, x, 32, r, d, 0);
    for (int j = 0; j < 32; j++) q[j] += half;
    store_nibbles(b + (half == 8 ? 2 : 6), q);
    if (half == 16) store_fifth_bits(b + 2, q);
    return true;
}

static bool pack_affine(uint8_t *b, const float *x, int most) {
    int q[32];
    float d, m;
    FitRange r = {.low = 0, .high = most};
    fit_affine(x, 32, r, &d, &m);
    if (!store_half(b, &d) || !store_half(b + 2, &m)) return false;
    fit_round(q, x, 32, r, d, m);
    store_nibbles(b + (most == 15 ? 4 : 8), q);
    if (most == 31) store_fifth_bits(b + 4, q);
    return true;
}

static bool pack_q4_0(uint8_t *b, const float *x) { return pack_symmetric(b, x, 8); }
static bool pack_q5_0(uint8_t *b, const float *x) { return pack_symmetric(b, x, 16); }
static bool pack_q4_1(uint8_t *b, const float *x) { return pack_affine(b, x, 15); }
static bool pack_q5_1(uint8_t *b, const float *x) { return pack_affine(b, x, 31); }

// ---- super-blocks of 256 ----

static int small_int(float v, int most) { return (int)fit_nearest(v, 0, most); }

static float largest(const float *v, int n) {
    float max = 0;
    for (int i = 0; i < n; i++) max = v[i] > max ? v[i] : max;
    return max;
}

// Six-bit scale and minimum of group j of 8, in 12 bytes that were 0.
static void store_scale_min(uint8_t *scales, int j, int scale, int min) {
    if (j < 4) {
        scales[j] = (uint8_t)(scales[j] | scale);
        scales[j + 4] = (uint8_t)(scales[j + 4] | min);
    } else {
        scales[j + 4] = (uint8_t)((scale & 15) | (min & 15) << 4);
        scales[j - 4] = (uint8_t)(scales[j - 4] | scale >> 4 << 6);
        scales[j] = (uint8_t)(scales[j] | min >> 4 << 6);
    }
}

enum { SIX_BITS = 63 };

// A group's scale and minimum in units of d and dmin: rounded, or one more or less, which the quants make good.
static void round_group(const float *x, FitRange r, float d, float dmin, int *scale, int *min) {
    int scale0 = *scale, min0 = *min;
    float best = INFINITY;
    for (int s = scale0 > 0 ? scale0 - 1 : 0; s <= scale0 + 1 && s <= SIX_BITS; s++)
        for (int m = min0 > 0 ? min0 - 1 : 0; m <= min0 + 1 && m <= SIX_BITS; m++) {
            float error = fit_error(x, 32, r, d * (float)s, -dmin * (float)m);
            if (!(error < best)) continue;
            best = error;
            *scale = s;
            *min = m;
        }
}

// Q4_K and Q5_K: the head of the block, 16 bytes, and q [256] in 0 to most.
static bool pack_groups(uint8_t *b, int *q, const float *x, int most) {
    enum { GROUPS = 8 };
    float scales[GROUPS], mins[GROUPS];
    FitRange r = {.low = 0, .high = most, .below_0 = true};
    for (int g = 0; g < GROUPS; g++) {
        fit_affine(x + g * 32, 32, r, &scales[g], &mins[g]);
        mins[g] = -mins[g];
    }
    float d = largest(scales, GROUPS) / SIX_BITS, dmin = largest(mins, GROUPS) / SIX_BITS;
    if (!store_half(b, &d) || !store_half(b + 2, &dmin)) return false;
    memset(b + 4, 0, 12);
    for (int g = 0; g < GROUPS; g++) {
        int scale = d > 0 ? small_int(scales[g] / d, SIX_BITS) : 0;
        int min = dmin > 0 ? small_int(mins[g] / dmin, SIX_BITS) : 0;
        round_group(x + g * 32, r, d, dmin, &scale, &min);
        store_scale_min(b + 4, g, scale, min);
        fit_round(q + g * 32, x + g * 32, 32, r, d * (float)scale, -dmin * (float)min);
    }
    return true;
}

// Groups 2k and 2k + 1 are the low and the high halves of the same 32 bytes.
static void store_pairs(uint8_t *qs, const int *q) {
    for (int i = 0; i < 128; i++) {
        const int *low = q + i / 32 * 64 + i % 32;
        qs[i] = (uint8_t)((low[0] & 15) | (low[32] & 15) << 4);
    }
}

static bool pack_q4_k(uint8_t *b, const float *x) {
    int q[256];
    if (!pack_groups(b, q, x, 15)) return false;
    store_pairs(b + 16, q);
    return true;
}

static bool pack_q5_k(uint8_t *b, const float *x) {
    int q[256];
    if (!pack_groups(b, q, x, 31)) return false;
    store_pairs(b + 48, q);
    memset(b + 16, 0, 32);
    for (int i = 0; i < 256; i++) b[16 + i % 32] = (uint8_t)(b[16 + i % 32] | (q[i] >> 4) << i / 32);
    return true;
}

// The layout is that of expand_q6_k in dtype.c.
static void store_six_bits(uint8_t *b, const int *q) {
    memset(b, 0, 192);
    for (int i = 0; i < 256; i++) {
        int half = i / 128, g = i / 32 % 4, l = i % 32, v = q[i] + 32;
        uint8_t *low = b + half * 64 + g % 2 * 32 + l, *high = b + 128 + half * 32 + l;
        *low = (uint8_t)(*low | (v & 15) << g / 2 * 4);
        *high = (uint8_t)(*high | v >> 4 << g * 2);
    }
}

// The scale with the largest magnitude is -128 / 128 of itself in units of d.
static bool pack_q6_k(uint8_t *b, const float *x) {
    enum { GROUPS = 16 };
    float scales[GROUPS], extreme = 0;
    int q[256];
    FitRange r = {.low = -32, .high = 31};
    for (int g = 0; g < GROUPS; g++) {
        scales[g] = fit_scale(x + g * 16, 16, r);
        if (fabsf(scales[g]) > fabsf(extreme)) extreme = scales[g];
    }
    float d = extreme / -128;
    if (!store_half(b + 208, &d)) return false;
    for (int g = 0; g < GROUPS; g++) {
        int scale = d != 0 ? (int)fit_nearest(scales[g] / d, -128, 127) : 0;
        b[192 + g] = (uint8_t)(int8_t)scale;
        fit_round(q + g * 16, x + g * 16, 16, r, d * (float)scale, 0);
    }
    store_six_bits(b, q);
    return true;
}

static bool (*const pack_block[DTYPE_COUNT])(uint8_t *, const float *) = {
    [DTYPE_Q4_0] = pack_q4_0, [DTYPE_Q4_1] = pack_q4_1, [DTYPE_Q5_0] = pack_q5_0, [DTYPE_Q5_1] = pack_q5_1,
    [DTYPE_Q4_K] = pack_q4_k, [DTYPE_Q5_K] = pack_q5_k, [DTYPE_Q6_K] = pack_q6_k,
};

bool dtype_packs(DType t) { return t < DTYPE_COUNT && pack_block[t]; }

bool dtype_pack(DType t, void *dst, const float *src, size_t n) {
    const DTypeInfo *info = dtype_info(t);
    CHECK(dtype_packs(t) && n % (size_t)info->block == 0, "%zu elements of %s", n, info->name);
    uint8_t *b = dst;
    for (size_t i = 0; i < n; i += (size_t)info->block, b += info->bytes)
        if (fit_magnitude(src + i, info->block) >= 0x7F800000 || !pack_block[t](b, src + i)) return false;
    return true;
}
