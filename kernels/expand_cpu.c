// expand_cpu: weights as stored become float32, the hot start of every matmul.
//
// Bit-identical to dtype_expand under every instruction set: each product of a scale with its quantised number has at
// most 24 significant bits, so it is exact and a fused multiply-add rounds like the two steps.
#include "cpu.h"

// Branch-free, so that it vectorises; the arithmetic stays clear of subnormal inputs, which some machines take slowly.
static inline float f16_value(uint32_t h) {
    uint32_t magnitude = h & 0x7FFF;
    uint32_t rebased = (magnitude << 13) + (magnitude >= 0x7C00 ? 224u << 23 : 112u << 23);
    float normal, signed_value, subnormal = (float)(int32_t)magnitude * 0x1p-24f;
    memcpy(&normal, &rebased, sizeof normal);
    float value = magnitude < 0x400 ? subnormal : normal;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits |= (h & 0x8000) << 16;
    memcpy(&signed_value, &bits, sizeof bits);
    return signed_value;
}

static inline uint32_t load_u16(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static inline uint32_t load_u32(const uint8_t *p) {
    return load_u16(p) | load_u16(p + 2) << 16;
}

static inline float load_f16(const uint8_t *p) {
    return f16_value(load_u16(p));
}

static void expand_f32(float *restrict y, const uint8_t *restrict b, int64_t n) {
    memcpy(y, b, (size_t)n * sizeof *y);
}

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

// Six-bit scales and minima of the 8 groups of a K block, packed in 12 bytes.
static inline void k_scales(const uint8_t *p, float d, float dmin, float scale[8], float min[8]) {
    for (int j = 0; j < 4; j++) {
        scale[j] = d * (float)(p[j] & 63);
        min[j] = dmin * (float)(p[j + 4] & 63);
        scale[j + 4] = d * (float)((p[j + 8] & 15) | p[j] >> 6 << 4);
        min[j + 4] = dmin * (float)(p[j + 8] >> 4 | p[j + 4] >> 6 << 4);
    }
}

static void expand_q4_k(float *restrict y, const uint8_t *restrict b, int64_t n) {
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

static void expand_q5_k(float *restrict y, const uint8_t *restrict b, int64_t n) {
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

static void expand_q6_k(float *restrict y, const uint8_t *restrict b, int64_t n) {
    for (int64_t i = 0; i < n; i += 256, b += 210, y += 256) {
        float d = load_f16(b + 208);
        for (int g = 0; g < 8; g++) {
            const uint8_t *low = b + g / 4 * 64 + g % 2 * 32, *high = b + 128 + g / 4 * 32;
            const int8_t *scales = (const int8_t *)b + 192 + g * 2;
            int low_shift = g % 4 / 2 * 4, high_shift = g % 4 * 2;
            for (int part = 0; part < 2; part++) {
                float scale = d * (float)scales[part];
                for (int l = part * 16; l < part * 16 + 16; l++)
                    y[g * 32 + l] =
                        scale * (float)(((low[l] >> low_shift & 15) | (high[l] >> high_shift & 3) << 4) - 32);
            }
        }
    }
}

typedef void Expand(float *restrict y, const uint8_t *restrict b, int64_t n);

static Expand *expand_function(DType t) {
    static Expand *const table[] = {
        [DTYPE_F32] = expand_f32,   [DTYPE_F16] = expand_f16,   [DTYPE_BF16] = expand_bf16, [DTYPE_Q8_0] = expand_q8_0,
        [DTYPE_Q4_0] = expand_q4_0, [DTYPE_Q4_1] = expand_q4_1, [DTYPE_Q5_0] = expand_q5_0, [DTYPE_Q5_1] = expand_q5_1,
        [DTYPE_Q4_K] = expand_q4_k, [DTYPE_Q5_K] = expand_q5_k, [DTYPE_Q6_K] = expand_q6_k,
    };
    CHECK(dtype_is_weight(t), "expansion of type %d", (int)t);
    return table[t];
}

void cpu_expand_rows(float *dst, const Weight *w, int64_t row, int64_t n) {
    while (n > 0) {
        WeightRow r = weight_row(w, row);
        int64_t rows = r.run < n ? r.run : n;
        expand_function(r.segment->dtype)(dst, r.data, rows * w->cols);
        dst += rows * w->cols;
        row += rows;
        n -= rows;
    }
}

void cpu_expand_columns(float *dst, const Weight *w, int64_t row, int64_t n, int64_t col, int64_t cols) {
    while (n > 0) {
        WeightRow r = weight_row(w, row);
        const DTypeInfo *info = dtype_info(r.segment->dtype);
        CHECK(col % info->block == 0, "column %lld of %s is inside a block", (long long)col, w->name);
        int64_t rows = min64(r.run, n), stride = w->cols / info->block * info->bytes;
        const uint8_t *data = r.data + col / info->block * info->bytes;
        Expand *expand = expand_function(r.segment->dtype);
        for (int64_t i = 0; i < rows; i++) expand(dst + i * cols, data + i * stride, cols);
        dst += rows * cols;
        row += rows;
        n -= rows;
    }
}

void CPU_FN(expand)(Backend *b, Mat dst, const Weight *w, int64_t row) {
    CHECK_SHAPE(dst, dst.rows, w->cols);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, dst.rows *dst.cols))
    for (int64_t i = 0; i < dst.rows; i++) cpu_expand_rows(f32_row(dst, i), w, row + i, 1);
}

// An element of a block type is finite if and only if its block's scales are: an infinite scale times 0 is NaN.
static bool halves_finite(const uint8_t *b, int64_t blocks, int64_t stride, const int *offsets, int n) {
    uint32_t bad = 0;
    for (int i = 0; i < n; i++)
        for (int64_t block = 0; block < blocks; block++)
            bad |= (load_u16(b + block * stride + offsets[i]) & 0x7C00) == 0x7C00;
    return !bad;
}

static bool floats_finite(const uint8_t *b, int64_t n, int64_t bytes) {
    uint32_t bad = 0;
    for (int64_t i = 0; i < n; i++) // the exponent is in the last two bytes of F32 and BF16 alike
        bad |= (load_u16(b + (i + 1) * bytes - 2) & 0x7F80) == 0x7F80;
    return !bad;
}

static bool row_finite(DType t, const uint8_t *row, int64_t cols) {
    static const int first_two[] = {0, 2}, last_of_q6_k[] = {208};
    const DTypeInfo *info = dtype_info(t);
    if (t == DTYPE_F32 || t == DTYPE_BF16) return floats_finite(row, cols, info->bytes);
    bool two = t == DTYPE_Q4_1 || t == DTYPE_Q5_1 || t == DTYPE_Q4_K || t == DTYPE_Q5_K;
    return halves_finite(row, cols / info->block, info->bytes, t == DTYPE_Q6_K ? last_of_q6_k : first_two, two ? 2 : 1);
}

bool CPU_FN(weight_finite)(Backend *b, const Weight *w) {
    int finite = 1;
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, w->rows * w->cols)) reduction(&& : finite)
    for (int64_t n = 0; n < w->rows; n++) {
        WeightRow r = weight_row(w, n);
        finite = finite && row_finite(r.segment->dtype, r.data, w->cols);
    }
    return finite;
}
