// pack_cpu: float32 rows as a stored type; the bits of pack_ref.c.
#include <math.h>

#include "cpu.h"
#include "quantize.h"

// The largest magnitude, as bits (they order as the numbers do): at least 0x7F800000 if one is not finite.
static inline uint32_t largest_magnitude(const float *x, int64_t n) {
    int32_t max = 0;
#pragma omp simd reduction(max : max)
    for (int64_t i = 0; i < n; i++) {
        int32_t magnitude = (int32_t)(f32_to_bits(x[i]) & 0x7FFFFFFF);
        max = magnitude > max ? magnitude : max;
    }
    return (uint32_t)max;
}

// To nearest, ties to even. Below the normal halves an addition of 1/2 puts the digits of a half at the bottom of the
// mantissa, rounded by the addition itself.
static inline uint16_t to_f16(float x) {
    uint32_t bits = f32_to_bits(x), magnitude = bits & 0x7FFFFFFF, sign = bits >> 16 & 0x8000;
    uint32_t normal = (magnitude - (112u << 23) + 0xFFF + (magnitude >> 13 & 1)) >> 13;
    uint32_t subnormal = f32_to_bits(bits_to_f32(magnitude) + 0.5f) - 0x3F000000;
    uint32_t half = magnitude < 0x38800000 ? subnormal : normal;
    half = magnitude >= 0x47800000 ? 0x7C00u : half;
    return (uint16_t)(sign | half);
}

static inline uint16_t to_bf16(float x) {
    uint32_t bits = f32_to_bits(x);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static bool pack_f16(uint8_t *dst, const float *x, int64_t n) {
    uint16_t *h = (uint16_t *)(void *)dst;
    for (int64_t i = 0; i < n; i++) h[i] = to_f16(x[i]);
    return largest_magnitude(x, n) < 0x477FF000; // 65520 and above round to infinity
}

static bool pack_bf16(uint8_t *dst, const float *x, int64_t n) {
    uint16_t *h = (uint16_t *)(void *)dst;
    for (int64_t i = 0; i < n; i++) h[i] = to_bf16(x[i]);
    return largest_magnitude(x, n) < 0x7F7F8000;
}

static bool pack_q8_0(uint8_t *dst, const float *x, int64_t n) {
    bool ok = true;
    for (int64_t i = 0; i < n; i += 32, dst += 34, x += 32) {
        uint32_t max = largest_magnitude(x, 32);
        float d = bits_to_f32(max) / 127, inverse = d > 0x1p-128f ? 1 / d : 0; // finite
        uint16_t scale = to_f16(d);
        ok = ok && max < 0x7F800000 && scale < 0x7C00;
        if (!ok) return false;
        memcpy(dst, &scale, sizeof scale);
        int8_t *q = (int8_t *)dst + 2;
        for (int j = 0; j < 32; j++) { // halves away from zero
            float v = x[j] * inverse, whole = (float)(int32_t)v, rest = v - whole;
            q[j] = (int8_t)((int32_t)v + (rest >= 0.5f) - (rest <= -0.5f));
        }
    }
    return ok;
}

static void pack_nf4_block(uint8_t *restrict dst, const float *restrict x, float row_scale, const float middles[15]) {
    float max = bits_to_f32(largest_magnitude(x, NF4_BLOCK)), border[15];
    int code = row_scale > 0 ? (int)(sqrtf(max / row_scale) + 0.5f) : 0;
    dst[0] = (uint8_t)(code < 255 ? code : 255);
    float scale = (float)(dst[0] * dst[0]) * row_scale;
    if (scale == 0) {
        memset(dst + 1, 0x77, NF4_BLOCK / 2); // zeros
        return;
    }
    for (int k = 0; k < 15; k++) border[k] = middles[k] * scale;
    int32_t q[NF4_BLOCK] = {0};
    for (int k = 0; k < 15; k++)
        for (int i = 0; i < NF4_BLOCK; i++) q[i] += x[i] > border[k];
    for (int i = 0; i < NF4_BLOCK / 2; i++) dst[1 + i] = (uint8_t)(q[2 * i] | q[2 * i + 1] << 4);
}

static bool pack_nf4(uint8_t *dst, float *row_scale, const float *x, int64_t cols) {
    static const float levels[16] = {DTYPE_NF4_LEVELS};
    float middles[15];
    for (int k = 0; k < 15; k++) middles[k] = (levels[k] + levels[k + 1]) * 0.5f;
    uint32_t max = largest_magnitude(x, cols);
    if (max >= 0x7F800000) return false;
    *row_scale = bits_to_f32(max) / (255 * 255);
    for (int64_t i = 0; i < cols / NF4_BLOCK; i++)
        pack_nf4_block(dst + i * NF4_BLOCK_BYTES, x + i * NF4_BLOCK, *row_scale, middles);
    return *row_scale * (255 * 255) <= FLT_MAX;
}

static bool pack_row(uint8_t *dst, const float *x, int64_t n, DType type) {
    if (type == DTYPE_F16) return pack_f16(dst, x, n);
    if (type == DTYPE_BF16) return pack_bf16(dst, x, n);
    if (type == DTYPE_Q8_0) return pack_q8_0(dst, x, n);
    if (dtype_packs(type)) return dtype_pack(type, dst, x, (size_t)n);
    memcpy(dst, x, (size_t)n * sizeof *x);
    return largest_magnitude(x, n) < 0x7F800000;
}

bool CPU_FN(pack)(Backend *b, void *dst, float *row_scale, Mat src, DType type) {
    CHECK_SHAPE(src, src.rows, src.cols);
    size_t row_bytes = host_packed_row(type, row_scale, src.cols);
    int ok = 1;
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, src.rows *src.cols)) reduction(&& : ok)
    for (int64_t n = 0; n < src.rows; n++) {
        uint8_t *row = (uint8_t *)dst + (size_t)n * row_bytes;
        bool fits = type == DTYPE_NF4 ? pack_nf4(row, row_scale + n, f32_row(src, n), src.cols)
                                      : pack_row(row, f32_row(src, n), src.cols, type);
        ok = ok && fits;
    }
    return ok;
}
