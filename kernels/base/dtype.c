// dtype: the table of element types, half-precision conversion, reference expansion of GGUF blocks.
//
// The expansion of a block is bit-exactly defined: scales are halves (11 significant bits), sub-scales have at most 8
// bits and quants at most 7 (5 where sub-scales have 8), so every product below is exact in float32 and only the final
// addition of a minimum rounds. Neither the order of the products nor fused multiply-add can change a bit; that is what
// the fast backends rely on. (NF4's levels are floats; there the order is fixed: the scales are multiplied first.
// Of numbers with scales apart the difference is exact and the product rounds.)
#include "dtype.h"

#include <math.h>
#include <string.h>

#define DTYPE_INFO(name, gguf_type, block, bytes) {#name, gguf_type, block, bytes},
static const DTypeInfo infos[DTYPE_COUNT] = {DTYPES(DTYPE_INFO)};

// By ggml_type id; the holes are ids that llama.cpp removed.
static const char *const gguf_names[] = {
    [0] = "F32",     [1] = "F16",    [2] = "Q4_0",     [3] = "Q4_1",    [6] = "Q5_0",     [7] = "Q5_1",
    [8] = "Q8_0",    [9] = "Q8_1",   [10] = "Q2_K",    [11] = "Q3_K",   [12] = "Q4_K",    [13] = "Q5_K",
    [14] = "Q6_K",   [15] = "Q8_K",  [16] = "IQ2_XXS", [17] = "IQ2_XS", [18] = "IQ3_XXS", [19] = "IQ1_S",
    [20] = "IQ4_NL", [21] = "IQ3_S", [22] = "IQ2_S",   [23] = "IQ4_XS", [24] = "I8",      [25] = "I16",
    [26] = "I32",    [27] = "I64",   [28] = "F64",     [29] = "IQ1_M",  [30] = "BF16",    [34] = "TQ1_0",
    [35] = "TQ2_0",  [39] = "MXFP4", [40] = "NVFP4",   [41] = "Q1_0",   [42] = "Q2_0",
};

const DTypeInfo *dtype_info(DType t) {
    CHECK(t >= 0 && t < DTYPE_COUNT, "dtype %d", (int)t);
    return &infos[t];
}

DType dtype_from_gguf(uint32_t ggml_type) {
    for (DType t = 0; t < DTYPE_COUNT; t++)
        if (infos[t].gguf_type >= 0 && (uint32_t)infos[t].gguf_type == ggml_type) return t;
    return DTYPE_COUNT;
}

const char *dtype_gguf_name(uint32_t ggml_type) {
    return ggml_type < sizeof gguf_names / sizeof *gguf_names ? gguf_names[ggml_type] : NULL;
}

bool dtype_is_weight(DType t) { return t <= DTYPE_F8_G; }

bool dtype_is_grouped(DType t) { return t >= DTYPE_NF4_G && t <= DTYPE_F8_G; }

bool dtype_bytes(DType t, size_t n, size_t *bytes) {
    const DTypeInfo *info = dtype_info(t);
    return n % (size_t)info->block == 0 && size_mul(n / (size_t)info->block, (size_t)info->bytes, bytes);
}

// ---- half precision ----

float f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3FF;
    if (exponent == 31)
        return bits_to_f32(sign | 0x7F800000 | mantissa << 13 | (mantissa ? 0x400000u : 0)); // quiet NaN
    if (exponent) return bits_to_f32(sign | (exponent + 112) << 23 | mantissa << 13);
    float magnitude = (float)mantissa * 0x1p-24f;
    return sign ? -magnitude : magnitude;
}

// Shifts out `shift` bits, rounding to nearest, ties to even.
static uint32_t round_shift(uint32_t v, unsigned shift) {
    uint32_t half = 1u << (shift - 1), odd = v >> shift & 1;
    return (v + half - 1 + odd) >> shift;
}

uint16_t f32_to_f16(float f) {
    uint32_t bits = f32_to_bits(f), magnitude = bits & 0x7FFFFFFF;
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    if (magnitude > 0x7F800000) return (uint16_t)(sign | 0x7E00 | (magnitude >> 13 & 0x3FF));
    if (magnitude >= 0x47800000) return sign | 0x7C00; // 2^16 and above, infinity
    if (magnitude >= 0x38800000)                       // normal halves; a carry may reach infinity, as it should
        return (uint16_t)(sign | round_shift(magnitude - (112u << 23), 13));
    if (magnitude < 0x33000000) return sign; // below half of the least subnormal
    uint32_t mantissa = (magnitude & 0x7FFFFF) | 0x800000;
    return (uint16_t)(sign | round_shift(mantissa, 126 - (magnitude >> 23)));
}

float bf16_to_f32(uint16_t h) { return bits_to_f32((uint32_t)h << 16); }

// A half has 8 exponents more below and its mantissa 7 bits further up.
float f8_to_f32(uint8_t e4m3) {
    if ((e4m3 & 0x7F) == 0x7F) return NAN;
    return f16_to_f32((uint16_t)((e4m3 & 0x80) << 8 | (e4m3 & 0x7F) << 7)) * 256;
}

uint16_t f32_to_bf16(float f) {
    uint32_t bits = f32_to_bits(f);
    if ((bits & 0x7FFFFFFF) > 0x7F800000) return (uint16_t)(bits >> 16 | 0x40); // rounding could make it infinite
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

// ---- blocks: one function per type; b is the block, y its elements ----

static uint16_t load_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

static uint32_t load_u32(const uint8_t *p) { return (uint32_t)load_u16(p) | (uint32_t)load_u16(p + 2) << 16; }

static float load_f16(const uint8_t *p) { return f16_to_f32(load_u16(p)); }

static void expand_f32(float *y, const uint8_t *b) { *y = bits_to_f32(load_u32(b)); }

static void expand_f16(float *y, const uint8_t *b) { *y = load_f16(b); }

static void expand_bf16(float *y, const uint8_t *b) { *y = bf16_to_f32(load_u16(b)); }

static void expand_q8_0(float *y, const uint8_t *b) {
    float d = load_f16(b);
    for (int j = 0; j < 32; j++) y[j] = d * (int8_t)b[2 + j];
}

// The four 32-element types keep element j in the low half of byte j and element j + 16 in its high half.
static void expand_q4_0(float *y, const uint8_t *b) {
    const uint8_t *qs = b + 2;
    float d = load_f16(b);
    for (int j = 0; j < 16; j++) {
        y[j] = d * ((qs[j] & 15) - 8);
        y[j + 16] = d * ((qs[j] >> 4) - 8);
    }
}

static void expand_q4_1(float *y, const uint8_t *b) {
    const uint8_t *qs = b + 4;
    float d = load_f16(b), m = load_f16(b + 2);
    for (int j = 0; j < 16; j++) {
        y[j] = d * (qs[j] & 15) + m;
        y[j + 16] = d * (qs[j] >> 4) + m;
    }
}

static void expand_q5_0(float *y, const uint8_t *b) {
    const uint8_t *qs = b + 6;
    float d = load_f16(b);
    uint32_t qh = load_u32(b + 2); // the fifth bits
    for (int j = 0; j < 16; j++) {
        y[j] = d * ((int)((qs[j] & 15) | (qh >> j & 1) << 4) - 16);
        y[j + 16] = d * ((int)((qs[j] >> 4) | (qh >> (j + 16) & 1) << 4) - 16);
    }
}

static void expand_q5_1(float *y, const uint8_t *b) {
    const uint8_t *qs = b + 8;
    float d = load_f16(b), m = load_f16(b + 2);
    uint32_t qh = load_u32(b + 4);
    for (int j = 0; j < 16; j++) {
        y[j] = d * (int)((qs[j] & 15) | (qh >> j & 1) << 4) + m;
        y[j + 16] = d * (int)((qs[j] >> 4) | (qh >> (j + 16) & 1) << 4) + m;
    }
}

// Sixteen groups of 16 elements, each with a four-bit scale and minimum. Two halves of 128 elements; groups 2s and
// 2s + 1 of a half are bits 2s and 2s + 1 of its 32 bytes.
static void expand_q2_k(float *y, const uint8_t *b) {
    float d = load_f16(b + 80), dmin = load_f16(b + 82);
    for (int g = 0; g < 16; g++) {
        const uint8_t *qs = b + 16 + g / 8 * 32 + g % 2 * 16;
        for (int l = 0; l < 16; l++)
            y[g * 16 + l] = d * (b[g] & 15) * (qs[l] >> g % 8 / 2 * 2 & 3) - dmin * (b[g] >> 4);
    }
}

// As Q2_K without minima; a third bit is in the mask of the whole block: bit g / 2 of byte g % 2 * 16 + l.
static void expand_q3_k(float *y, const uint8_t *b) {
    const uint8_t *packed = b + 96; // 16 scales of six bits: low four, then high two
    float d = load_f16(b + 108);
    for (int g = 0; g < 16; g++) {
        const uint8_t *qs = b + 32 + g / 8 * 32 + g % 2 * 16, *mask = b + g % 2 * 16;
        int scale = (packed[g % 8] >> g / 8 * 4 & 15) | (packed[8 + g % 4] >> g / 4 * 2 & 3) << 4;
        for (int l = 0; l < 16; l++) {
            int q = (qs[l] >> g % 8 / 2 * 2 & 3) | (mask[l] >> g / 2 & 1) << 2;
            y[g * 16 + l] = d * (scale - 32) * (q - 4);
        }
    }
}

// Six-bit scale and minimum of group j of 8, packed in 12 bytes.
static void k_scale_min(const uint8_t *scales, int j, int *scale, int *min) {
    if (j < 4) {
        *scale = scales[j] & 63;
        *min = scales[j + 4] & 63;
    } else {
        *scale = (scales[j + 4] & 15) | scales[j - 4] >> 6 << 4;
        *min = scales[j + 4] >> 4 | scales[j] >> 6 << 4;
    }
}

// Groups 2k and 2k + 1 of 32 elements are the low and the high halves of the same 32 bytes.
static void expand_q4_k(float *y, const uint8_t *b) {
    float d = load_f16(b), dmin = load_f16(b + 2);
    for (int g = 0; g < 8; g++) {
        const uint8_t *qs = b + 16 + g / 2 * 32;
        int scale, min;
        k_scale_min(b + 4, g, &scale, &min);
        for (int l = 0; l < 32; l++) y[g * 32 + l] = d * scale * (qs[l] >> g % 2 * 4 & 15) - dmin * min;
    }
}

static void expand_q5_k(float *y, const uint8_t *b) {
    const uint8_t *qh = b + 16; // bit g of byte l: the fifth bit of element l of group g
    float d = load_f16(b), dmin = load_f16(b + 2);
    for (int g = 0; g < 8; g++) {
        const uint8_t *qs = b + 48 + g / 2 * 32;
        int scale, min;
        k_scale_min(b + 4, g, &scale, &min);
        for (int l = 0; l < 32; l++) {
            int q = (qs[l] >> g % 2 * 4 & 15) | (qh[l] >> g & 1) << 4;
            y[g * 32 + l] = d * scale * q - dmin * min;
        }
    }
}

// Two halves of 128 elements, each four groups of 32: group g has its low four bits in half g / 2 of the bytes
// ql[g % 2 * 32 + l] and its high two in bits 2g of qh[l]; one scale for 16 elements.
static void expand_q6_k(float *y, const uint8_t *b) {
    float d = load_f16(b + 208);
    for (int half = 0; half < 2; half++) {
        const uint8_t *ql = b + half * 64, *qh = b + 128 + half * 32;
        const int8_t *scales = (const int8_t *)b + 192 + half * 8;
        for (int g = 0; g < 4; g++)
            for (int l = 0; l < 32; l++) {
                int q = (ql[g % 2 * 32 + l] >> g / 2 * 4 & 15) | (qh[l] >> g * 2 & 3) << 4;
                int8_t scale = scales[g * 2 + l / 16];
                y[half * 128 + g * 32 + l] = d * scale * (q - 32);
            }
    }
}

static const int8_t iq4_values[16] = {DTYPE_IQ4_VALUES}, e2m1_values[16] = {DTYPE_E2M1_VALUES};
static const float nf4_levels[16] = {DTYPE_NF4_LEVELS}, fp4_levels[16] = {DTYPE_FP4_LEVELS};

static void expand_16_values(float *y, const uint8_t *qs, float d, const int8_t *values) {
    for (int j = 0; j < 16; j++) {
        y[j] = d * values[qs[j] & 15];
        y[j + 16] = d * values[qs[j] >> 4];
    }
}

static void expand_iq4_nl(float *y, const uint8_t *b) { expand_16_values(y, b + 2, load_f16(b), iq4_values); }

// Eight groups of 32, each an IQ4_NL block under a six-bit scale.
static void expand_iq4_xs(float *y, const uint8_t *b) {
    float d = load_f16(b);
    uint32_t high = load_u16(b + 2);
    for (int g = 0; g < 8; g++) {
        int scale = (b[4 + g / 2] >> g % 2 * 4 & 15) | (int)(high >> g * 2 & 3) << 4;
        expand_16_values(y + g * 32, b + 8 + g * 16, d * (scale - 32), iq4_values);
    }
}

// The scale is a power of two, 2^(e - 128) over values in units of a half; 2^-128 and 2^-127 are subnormal.
static void expand_mxfp4(float *y, const uint8_t *b) {
    float d = bits_to_f32(b[0] < 2 ? 0x200000u << b[0] : (b[0] - 1u) << 23);
    expand_16_values(y, b + 1, b[0] == 255 ? NAN : d, e2m1_values);
}

// Neighbours share a byte; the code is the square root of the block's scale in units of the row's.
static void expand_nf4(float *y, const uint8_t *b, float row_scale) {
    float scale = (float)(b[0] * b[0]) * row_scale;
    for (int j = 0; j < 32; j++) {
        y[2 * j] = scale * nf4_levels[b[1 + j] & 15];
        y[2 * j + 1] = scale * nf4_levels[b[1 + j] >> 4];
    }
}

void dtype_expand_row(DType t, float *dst, const void *src, size_t n, float row_scale) {
    static void (*const expand_block[])(float *, const uint8_t *) = {
        [DTYPE_F32] = expand_f32,     [DTYPE_F16] = expand_f16,       [DTYPE_BF16] = expand_bf16,
        [DTYPE_Q8_0] = expand_q8_0,   [DTYPE_Q4_0] = expand_q4_0,     [DTYPE_Q4_1] = expand_q4_1,
        [DTYPE_Q5_0] = expand_q5_0,   [DTYPE_Q5_1] = expand_q5_1,     [DTYPE_Q2_K] = expand_q2_k,
        [DTYPE_Q3_K] = expand_q3_k,   [DTYPE_Q4_K] = expand_q4_k,     [DTYPE_Q5_K] = expand_q5_k,
        [DTYPE_Q6_K] = expand_q6_k,   [DTYPE_IQ4_NL] = expand_iq4_nl, [DTYPE_IQ4_XS] = expand_iq4_xs,
        [DTYPE_MXFP4] = expand_mxfp4,
    };
    const DTypeInfo *info = dtype_info(t);
    CHECK(t <= DTYPE_NF4 && n % (size_t)info->block == 0, "%zu elements of %s", n, info->name);
    const uint8_t *b = src;
    for (size_t i = 0; i < n; i += (size_t)info->block, b += info->bytes)
        if (t == DTYPE_NF4)
            expand_nf4(dst + i, b, row_scale);
        else
            expand_block[t](dst + i, b);
}

void dtype_expand(DType t, float *dst, const void *src, size_t n) { dtype_expand_row(t, dst, src, n, 1); }

// ---- numbers with scales apart ----

// Number i of a run.
static float number_at(DType t, const uint8_t *b, int64_t i) {
    switch (t) {
    case DTYPE_NF4_G: return nf4_levels[i % 2 ? b[i / 2] & 15 : b[i / 2] >> 4];
    case DTYPE_FP4_G: return fp4_levels[i % 2 ? b[i / 2] & 15 : b[i / 2] >> 4];
    case DTYPE_U4_G: return (float)(i % 2 ? b[i / 2] >> 4 : b[i / 2] & 15);
    case DTYPE_I8_G: return (float)(int8_t)b[i];
    default: return f8_to_f32(b[i]);
    }
}

void dtype_expand_groups(DType t, float *dst, const void *src, const DTypeGroups *groups, int64_t col, int64_t n) {
    const DTypeInfo *info = dtype_info(t);
    CHECK(dtype_is_grouped(t) && col % info->block == 0 && n % info->block == 0, "%ld elements of %s from %ld on", n,
          info->name, col);
    for (int64_t i = 0; i < n; i++) {
        int64_t g = groups->of_column ? groups->of_column[col + i] : (col + i) / groups->columns;
        float zero = groups->zero ? (float)groups->zero[g] : 0;
        dst[i] = groups->scale[g] * (number_at(t, src, i) - zero);
    }
}
