// expand_cpu: stored weights to float32, the first step of every product.
//
// Bit-identical to dtype_expand under every instruction set: each product of a scale with its quantised number has at
// most 24 significant bits, so it is exact and a fused multiply-add rounds like the two steps.
#include "stored.h"

// n elements at `data`, of column `col`: of r's row, or of whole rows from it on.
static void expand_elements(WeightRow r, float *dst, const uint8_t *data, int64_t col, int64_t n) {
    if (dtype_is_grouped(r.segment->dtype))
        CPU_FN(expand_groups)(dst, &r, data, col, n);
    else if (r.segment->dtype == DTYPE_NF4)
        CPU_FN(expand_nf4)(dst, data, n, r.scale);
    else
        CPU_FN(stored_expand)(r.segment->dtype)(dst, data, n);
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

static void expand_and_round(Act *dst, const Weight *w, int64_t row, int64_t col, int64_t cols) {
    enum { PIECE = 1024 }; // whole blocks of any type
    float piece[PIECE];
    for (int64_t first = 0; first < cols; first += PIECE) {
        int64_t count = min64(PIECE, cols - first);
        cpu_expand_columns(piece, w, row, 1, col + first, count);
        act_round(dst + first, piece, count);
    }
}

// Fetches the same columns of a later row: a part of each row is no stream that the CPU would see.
static void prefetch_later(const uint8_t *columns, int64_t bytes, int64_t stride) {
    enum { ROWS = 8, LINE = 64 };
    for (int64_t i = 0; i < bytes; i += LINE) __builtin_prefetch(columns + ROWS * stride + i);
}

void cpu_expand_act(Act *dst, int64_t ld, const Weight *w, int64_t row, int64_t n, int64_t col, int64_t cols) {
    for (int64_t i = 0; i < n; i++, dst += ld) {
        WeightRow r = weight_row(w, row + i);
        const DTypeInfo *info = dtype_info(r.segment->dtype);
        ExpandAct *direct = CPU_FN(stored_expand_act)(r.segment->dtype);
        const uint8_t *columns = r.data + col / info->block * info->bytes;
        CHECK(col % info->block == 0, "column %ld of %s is inside a block", col, w->name);
        prefetch_later(columns, cols / info->block * info->bytes, w->cols / info->block * info->bytes);
        if (direct)
            direct(dst, columns, cols);
        else
            expand_and_round(dst, w, row + i, col, cols);
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
