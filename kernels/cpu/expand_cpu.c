// expand_cpu: stored weights to float32, the first step of every product.
//
// Bit-identical to dtype_expand under every instruction set: each product of a scale with its quantised number has at
// most 24 significant bits, so it is exact and a fused multiply-add rounds like the two steps.
#include "expand_cpu.h"

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

static Expand *expand_function(DType t) {
    static Expand *const table[] = {
        [DTYPE_F32] = expand_f32,
        [DTYPE_F16] = expand_f16,
        [DTYPE_BF16] = expand_bf16,
        [DTYPE_Q8_0] = expand_q8_0,
        [DTYPE_Q4_0] = expand_q4_0,
        [DTYPE_Q4_1] = expand_q4_1,
        [DTYPE_Q5_0] = expand_q5_0,
        [DTYPE_Q5_1] = expand_q5_1,
        [DTYPE_Q2_K] = CPU_FN(expand_q2_k),
        [DTYPE_Q3_K] = CPU_FN(expand_q3_k),
        [DTYPE_Q4_K] = CPU_FN(expand_q4_k),
        [DTYPE_Q5_K] = CPU_FN(expand_q5_k),
        [DTYPE_Q6_K] = CPU_FN(expand_q6_k),
        [DTYPE_IQ4_NL] = CPU_FN(expand_iq4_nl),
        [DTYPE_IQ4_XS] = CPU_FN(expand_iq4_xs),
        [DTYPE_MXFP4] = CPU_FN(expand_mxfp4),
    };
    CHECK(t < DTYPE_NF4, "expansion of type %d", (int)t);
    return table[t];
}

// n elements at `data`, of column `col`: of r's row, or of whole rows from it on.
static void expand_elements(WeightRow r, float *dst, const uint8_t *data, int64_t col, int64_t n) {
    if (dtype_is_grouped(r.segment->dtype))
        CPU_FN(expand_groups)(dst, &r, data, col, n);
    else if (r.segment->dtype == DTYPE_NF4)
        CPU_FN(expand_nf4)(dst, data, n, r.scale);
    else
        expand_function(r.segment->dtype)(dst, data, n);
}

void cpu_expand_rows(float *dst, const Weight *w, int64_t row, int64_t n) {
    cpu_expand_columns(dst, w, row, n, 0, w->cols);
}

void cpu_expand_columns(float *dst, const Weight *w, int64_t row, int64_t n, int64_t col, int64_t cols) {
    while (n > 0) {
        WeightRow r = weight_row(w, row);
        const DTypeInfo *info = dtype_info(r.segment->dtype);
        CHECK(col % info->block == 0, "column %ld of %s is inside a block", col, w->name);
        int64_t rows = min64(r.run, n), stride = w->cols / info->block * info->bytes;
        const uint8_t *data = r.data + col / info->block * info->bytes;
        if (cols == w->cols)
            expand_elements(r, dst, data, 0, rows * cols);
        else
            for (int64_t i = 0; i < rows; i++) expand_elements(r, dst + i * cols, data + i * stride, col, cols);
        dst += rows * cols;
        row += rows;
        n -= rows;
    }
}

void cpu_expand_act(Act *dst, int64_t ld, const Weight *w, int64_t row, int64_t n, int64_t col, int64_t cols) {
    enum { PIECE = 1024 }; // whole blocks of any type
    float piece[PIECE];
    for (int64_t i = 0; i < n; i++, dst += ld)
        for (int64_t first = 0; first < cols; first += PIECE) {
            int64_t count = min64(PIECE, cols - first);
            float *to = ACT_DTYPE == DTYPE_F32 ? (float *)(dst + first) : piece;
            cpu_expand_columns(to, w, row + i, 1, col + first, count);
            if (ACT_DTYPE != DTYPE_F32) act_round(dst + first, piece, count);
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
    for (int64_t i = 0; i < n; i++) // the exponent is in the last two bytes of F32 and BF16
        bad |= (load_u16(b + (i + 1) * bytes - 2) & 0x7F80) == 0x7F80;
    return !bad;
}

// MXFP4: an exponent of 255 is NaN, and from 253 on an element may be too large for float32.
static bool exponents_finite(const uint8_t *b, int64_t blocks) {
    uint32_t bad = 0;
    for (int64_t block = 0; block < blocks; block++) bad |= b[block * 17] >= 253;
    return !bad;
}

static bool row_finite(const WeightRow *r, int64_t cols) {
    static const int first_two[] = {0, 2}, of_q2_k[] = {80, 82}, of_q3_k[] = {108}, of_q6_k[] = {208};
    DType t = r->segment->dtype;
    const DTypeInfo *info = dtype_info(t);
    int64_t blocks = cols / info->block;
    switch (t) {
    case DTYPE_F32:
    case DTYPE_BF16: return floats_finite(r->data, cols, info->bytes);
    case DTYPE_Q2_K: return halves_finite(r->data, blocks, info->bytes, of_q2_k, 2);
    case DTYPE_Q3_K: return halves_finite(r->data, blocks, info->bytes, of_q3_k, 1);
    case DTYPE_Q6_K: return halves_finite(r->data, blocks, info->bytes, of_q6_k, 1);
    case DTYPE_Q4_1:
    case DTYPE_Q5_1:
    case DTYPE_Q4_K:
    case DTYPE_Q5_K: return halves_finite(r->data, blocks, info->bytes, first_two, 2);
    case DTYPE_NF4_G:
    case DTYPE_FP4_G:
    case DTYPE_U4_G:
    case DTYPE_I8_G:
    case DTYPE_F8_G: return CPU_FN(groups_finite)(r, cols);
    case DTYPE_MXFP4: return exponents_finite(r->data, blocks);
    case DTYPE_NF4: // the largest scale that a block can have
        return r->scale * (255 * 255) <= FLT_MAX;
    default: return halves_finite(r->data, blocks, info->bytes, first_two, 1);
    }
}

bool CPU_FN(weight_finite)(Backend *b, const Weight *w) {
    int finite = 1;
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, w->rows * w->cols)) reduction(&& : finite)
    for (int64_t n = 0; n < w->rows; n++) {
        WeightRow r = weight_row(w, n);
        finite = finite && row_finite(&r, w->cols);
    }
    return finite;
}
