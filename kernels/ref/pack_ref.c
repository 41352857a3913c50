// pack_ref: float32 rows as a stored type, reference.
#include <math.h>
#include <string.h>

#include "quantize.h"
#include "ref.h"

static const float levels[16] = {DTYPE_NF4_LEVELS};

static bool pack_half(uint8_t *dst, float x, DType type) {
    uint16_t h = type == DTYPE_F16 ? f32_to_f16(x) : f32_to_bf16(x);
    memcpy(dst, &h, sizeof h);
    return isfinite(type == DTYPE_F16 ? f16_to_f32(h) : bf16_to_f32(h));
}

// Halves away from zero, like the scale's inverse from before its rounding to a half: ggml's quantize_row_q8_0_ref.
static bool pack_q8_0(uint8_t *dst, const float *x) {
    float max = 0;
    bool finite = true;
    for (int i = 0; i < 32; i++) {
        max = fmaxf(max, fabsf(x[i]));
        finite = finite && isfinite(x[i]);
    }
    float d = max / 127, inverse = d > 0x1p-128f ? 1 / d : 0; // finite
    if (!finite || !pack_half(dst, d, DTYPE_F16)) return false;
    for (int i = 0; i < 32; i++) dst[2 + i] = (uint8_t)(int8_t)roundf(x[i] * inverse);
    return true;
}

static void pack_nf4_block(uint8_t *dst, const float *x, float row_scale) {
    float max = 0;
    for (int i = 0; i < NF4_BLOCK; i++) max = fmaxf(max, fabsf(x[i]));
    int code = row_scale > 0 ? (int)(sqrtf(max / row_scale) + 0.5f) : 0;
    dst[0] = (uint8_t)(code < 255 ? code : 255);
    float scale = (float)(dst[0] * dst[0]) * row_scale;
    for (int i = 0; i < NF4_BLOCK; i++) {
        int q = 0; // number of midpoints between levels below x
        for (int k = 0; k < 15; k++) q += x[i] > (levels[k] + levels[k + 1]) * 0.5f * scale;
        if (scale == 0) q = 7; // 0
        uint8_t *pair = dst + 1 + i / 2;
        *pair = (uint8_t)(i % 2 ? *pair | q << 4 : q);
    }
}

static bool pack_nf4(uint8_t *dst, float *row_scale, const float *x, int64_t cols) {
    float max = 0;
    for (int64_t i = 0; i < cols; i++) {
        if (!isfinite(x[i])) return false;
        max = fmaxf(max, fabsf(x[i]));
    }
    *row_scale = max / (255 * 255);
    for (int64_t i = 0; i < cols / NF4_BLOCK; i++)
        pack_nf4_block(dst + i * NF4_BLOCK_BYTES, x + i * NF4_BLOCK, *row_scale);
    return isfinite(*row_scale * (255 * 255));
}

static bool pack_elements(uint8_t *dst, const float *x, int64_t n, DType type) {
    bool ok = true;
    for (int64_t i = 0; i < n; i++) {
        if (type == DTYPE_F32) {
            memcpy(dst + i * 4, x + i, sizeof *x);
            ok = ok && isfinite(x[i]);
        } else if (type == DTYPE_Q8_0) {
            if (i % 32 == 0) ok = pack_q8_0(dst + i / 32 * 34, x + i) && ok;
        } else {
            ok = pack_half(dst + i * 2, x[i], type) && ok;
        }
    }
    return ok;
}

bool ref_pack(Backend *b, void *dst, float *row_scale, Mat src, DType type) {
    CHECK_SHAPE(src, src.rows, src.cols);
    size_t row_bytes = host_packed_row(type, row_scale, src.cols);
    bool ok = true;
    for (int64_t n = 0; n < src.rows; n++) {
        uint8_t *row = (uint8_t *)dst + (size_t)n * row_bytes;
        if (type == DTYPE_NF4)
            ok = pack_nf4(row, row_scale + n, f32_row(src, n), src.cols) && ok;
        else if (dtype_packs(type))
            ok = dtype_pack(type, row, f32_row(src, n), (size_t)src.cols) && ok;
        else
            ok = pack_elements(row, f32_row(src, n), src.cols, type) && ok;
    }
    return ok;
}
