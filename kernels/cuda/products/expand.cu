// expand: rows of weights as plain elements: tiles for products (tiles.c), float32 rows, and embedding rows by id.
//
// A thread expands eight elements of a row: it reads a few bytes of one block and writes 16 bytes or more at once.
// Writes are most of the traffic, so threads share nothing but the table of levels.
#include "expand.cuh"

#include "device.cuh"
#include "tiles.h"

// The segment that rows come from, and which of its rows: row i of the result is row ids[i] of W, or row `row` + i of
// the segment where ids is NULL. With ids, rows of other segments are left alone.
typedef struct ExpandSource {
    const uint8_t *data;
    const float *row_scale;
    DTypeGroups groups;
    int64_t col; // of the first element of a row
    int64_t row_bytes;
    int64_t first, rows; // of W, that the segment has
    const int32_t *ids;
    int64_t row;
} ExpandSource;

template <class T> struct ExpandTarget {
    T *data;
    int64_t stride;
    uint32_t rows, cols;
    bool wide; // 16 bytes at a time
    float scale;
    bool accumulate;
};

// The row of the segment that becomes row i of the result; -1: a row of another segment.
static __device__ int64_t source_row(const ExpandSource &s, uint32_t i) {
    if (!s.ids) return s.row + i;
    int64_t row = s.ids[i] - s.first;
    return row >= 0 && row < s.rows ? row : -1;
}

// y += the elements at p.
template <class T> static __device__ void add_eight(float *y, const T *p, int n, bool wide) {
    float old[8];
    load_eight(old, p, n, wide);
    for (int i = 0; i < 8; i++) y[i] += old[i];
}

template <class T>
static __device__ void finish(const ExpandTarget<T> &out, uint32_t row, uint32_t at, float *y, int n) {
    T *p = out.data + row * out.stride + at;
    for (int i = 0; i < 8; i++) y[i] *= out.scale;
    if (out.accumulate) add_eight(y, p, n, out.wide);
    store_eight(p, y, n, out.wide);
}

// y = scale * (y - zero), of eight columns from `col` on: of one group, or each of its own.
static __device__ void apply_groups(float *y, const DTypeGroups &g, int64_t row, int64_t col) {
    for (int i = 0; i < 8; i++) {
        int64_t at = row * g.n + (g.of_column ? g.of_column[col + i] : col / g.columns);
        y[i] = g.scale[at] * (y[i] - (g.zero ? (float)g.zero[at] : 0));
    }
}

template <class T, DType TYPE> static __global__ void expand_blocks(ExpandTarget<T> out, ExpandSource s) {
    using B = Blocks<TYPE>;
    SHARED(float, values, [16]);
    if constexpr (B::TABLE != TABLE_NONE) {
        if (threadIdx.x < 16) values[threadIdx.x] = expand_tables[B::TABLE][threadIdx.x];
        __syncthreads();
    }
    uint32_t chunks = out.cols / 8, chunk = blockIdx.x * blockDim.x + threadIdx.x;
    uint32_t i = chunk / chunks, at = chunk % chunks * 8;
    int64_t row = i < out.rows ? source_row(s, i) : -1;
    if (row < 0) return;
    const uint8_t *block = s.data + row * s.row_bytes + at / B::BLOCK * B::BYTES;
    float y[8];
    float row_scale = TYPE == DTYPE_NF4 ? s.row_scale[row] : TYPE == DTYPE_F8_E4M3 ? s.row_scale[0] : 1;
    B::eight(y, block, (int)(at % B::BLOCK), row_scale, values);
    if (B::GROUPED) apply_groups(y, s.groups, row, s.col + at);
    finish(out, i, at, y, 8);
}

// Elements of type S, any number of columns.
template <class T, class S> static __global__ void expand_dense(ExpandTarget<T> out, ExpandSource s) {
    uint32_t chunks = (out.cols + 7) / 8, chunk = blockIdx.x * blockDim.x + threadIdx.x;
    uint32_t i = chunk / chunks, at = chunk % chunks * 8;
    int64_t row = i < out.rows ? source_row(s, i) : -1;
    if (row < 0) return;
    int n = out.cols - at < 8 ? (int)(out.cols - at) : 8;
    float y[8];
    load_eight(y, reinterpret_cast<const S *>(s.data + row * s.row_bytes) + at, n, out.wide);
    finish(out, i, at, y, n);
}

// Block types by name, for a switch.
// clang-format off
#define BLOCK_TYPES(X) \
    X(DTYPE_Q8_0) X(DTYPE_Q4_0) X(DTYPE_Q4_1) X(DTYPE_Q5_0) X(DTYPE_Q5_1) X(DTYPE_Q2_K) X(DTYPE_Q3_K) X(DTYPE_Q4_K) \
    X(DTYPE_Q5_K) X(DTYPE_Q6_K) X(DTYPE_IQ4_NL) X(DTYPE_IQ4_XS) X(DTYPE_MXFP4) X(DTYPE_NF4) X(DTYPE_F8_E4M3) \
    X(DTYPE_NF4_G) X(DTYPE_FP4_G) X(DTYPE_U4_G) X(DTYPE_I8_G) X(DTYPE_F8_G)
// clang-format on

template <class T>
static void launch(Backend *b, ExpandTarget<T> out, ExpandSource s, DType type, cudaStream_t stream) {
    enum { THREADS = 256 };
    int64_t chunks = (int64_t)out.rows * ceil_div(out.cols, 8);
    CHECK(chunks <= INT32_MAX, "%u rows of %u columns expanded at once", out.rows, out.cols);
    if (!chunks) return;
    unsigned grid = (unsigned)ceil_div(chunks, THREADS);
#define EXPAND_CASE(TYPE)                                                                                              \
    case TYPE: RUN_ON(b, stream, (expand_blocks<T, TYPE>), grid, THREADS, 0, out, s); break;
    switch (type) {
        BLOCK_TYPES(EXPAND_CASE)
    default: DISPATCH(type, S, RUN_ON(b, stream, (expand_dense<T, S>), grid, THREADS, 0, out, s));
    }
#undef EXPAND_CASE
}

// From column `col` on.
static ExpandSource source_of(const Weight *w, int segment, int64_t first, int64_t col) {
    const WeightSegment *s = &w->segments[segment];
    size_t row_bytes, skipped;
    CHECK(!s->row_map && dtype_bytes(s->dtype, (size_t)w->cols, &row_bytes), "%s was not placed", w->name);
    CHECK(dtype_bytes(s->dtype, (size_t)col, &skipped), "%s from column %ld on", w->name, col);
    ExpandSource source = {};
    source.data = (const uint8_t *)s->data + skipped;
    source.row_scale = s->row_scale;
    source.groups = s->groups;
    source.col = col;
    source.row_bytes = (int64_t)row_bytes;
    source.first = first;
    source.rows = s->rows;
    return source;
}

// Blocks are read as their type has them; plain rows as they are written, 16 bytes at a time where that fits.
static bool wide_source(const Weight *w, int segment) {
    const WeightSegment *s = &w->segments[segment];
    return s->dtype > DTYPE_BF16 || vectors_fit(mat_of((void *)s->data, s->dtype, s->rows, w->cols));
}

// Which elements of W become out's: from column `col` on, of the rows that ids name, or of those from `row` on.
typedef struct Expansion {
    const int32_t *ids; // NULL: row
    int64_t row, col;
    float scale;
    bool accumulate;
    cudaStream_t stream;
} Expansion;

template <class T> static void expand_to(Backend *b, Mat out, const Weight *w, Expansion e) {
    if (cuda_failed(b)) return;
    CHECK(e.col >= 0 && e.col + out.cols <= w->cols && out.cols <= INT32_MAX && (e.ids || e.row + out.rows <= w->rows),
          "%s: [%ld, %ld] of [%ld, %ld]", w->name, out.rows, out.cols, w->rows, w->cols);
    int64_t first = 0;
    for (int i = 0; i < w->n_segments; first += w->segments[i++].rows) {
        ExpandSource s = source_of(w, i, first, e.col);
        CHECK(out.cols % dtype_info(w->segments[i].dtype)->block == 0, "%s: %ld columns", w->name, out.cols);
        int64_t begin = e.row > first ? e.row : first, end = first + s.rows; // of W, without ids
        if (end > e.row + out.rows) end = e.row + out.rows;
        if (!e.ids && begin >= end) continue;
        bool wide = vectors_fit(out) && out.cols % 8 == 0 && wide_source(w, i);
        ExpandTarget<T> target = {(T *)out.data, mat_stride(out), (uint32_t)out.rows, (uint32_t)out.cols,
                                  wide,          e.scale,         e.accumulate};
        s.ids = e.ids;
        s.row = begin - first;
        if (!e.ids) {
            target.data += (begin - e.row) * target.stride;
            target.rows = (uint32_t)(end - begin);
        }
        launch(b, target, s, w->segments[i].dtype, e.stream);
    }
}

void cuda_expand_part(Backend *b, Mat out, const Weight *w, int64_t row, int64_t col, cudaStream_t stream) {
    DISPATCH(out.dtype, T, expand_to<T>(b, out, w, {NULL, row, col, 1, false, stream}));
}

void cuda_expand(Backend *b, Mat dst, const Weight *w, int64_t row) {
    CHECK(dst.dtype == DTYPE_F32, "expanded rows of type %d", (int)dst.dtype);
    cuda_expand_part(b, dst, w, row, 0, cuda_stream(b));
}

void cuda_embed_forward(Backend *b, Mat out, const Weight *w, const int32_t *ids, float scale, bool accumulate) {
    DISPATCH(out.dtype, T, expand_to<T>(b, out, w, {ids, 0, 0, scale, accumulate, cuda_stream(b)}));
}
