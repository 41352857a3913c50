// rows: gathering and scattering of whole rows, and the arg max of a row.
#include "rows.cuh"

// ---- gather and scatter ----

template <class T, int N>
static __global__ void gather_rows(Rows<T> out, Rows<const T> x, const int32_t *index, uint32_t rows, uint32_t pieces) {
    Place p = place_of(rows, pieces, N);
    if (!p.inside) return;
    int32_t from = index[p.row];
    Piece<N> y = {};
    if (from >= 0) y = load_piece<N>(x.at(from, p.col));
    store_piece<N>(out.at(p.row, p.col), y);
}

void cuda_gather_rows_forward(Backend *b, Mat out, Mat x, const int32_t *index) {
    CHECK_MAT(x, b->activation, x.rows, out.cols);
    CHECK_MAT(out, b->activation, out.rows, x.cols);
    DISPATCH_PIECES(
        b->activation, vectors_fit(out) && vectors_fit(x), T, N,
        RUN_EACH(b, (gather_rows<T, N>), out.rows, out.cols / N, rows_of<T>(out), rows_of<const T>(x), index));
}

template <class T, int N> static __global__ void zero_rows(Rows<T> x, uint32_t rows, uint32_t pieces) {
    Place p = place_of(rows, pieces, N);
    if (p.inside) store_piece<N>(x.at(p.row, p.col), Piece<N>{});
}

// Row i of x goes to row index[i] of dst, none where that is -1. No two rows go to the same.
template <class T, int N>
static __global__ void scatter_rows(Rows<T> dst, Rows<const T> x, const int32_t *index, bool accumulate, uint32_t rows,
                                    uint32_t pieces) {
    Place p = place_of(rows, pieces, N);
    int32_t to = p.inside ? index[p.row] : -1;
    if (to < 0) return;
    Piece<N> y = load_piece<N>(x.at(p.row, p.col)), old = {};
    if (accumulate) old = load_piece<N>(dst.at(to, p.col));
#pragma unroll
    for (int i = 0; i < N; i++) y.at[i] += old.at[i];
    store_piece<N>(dst.at(to, p.col), y);
}

static void run_scatter(Backend *b, Mat dst, Mat x, const int32_t *index, bool accumulate) {
    DISPATCH_PIECES(
        b->activation, vectors_fit(dst) && vectors_fit(x), T, N,
        RUN_EACH(b, (scatter_rows<T, N>), x.rows, x.cols / N, rows_of<T>(dst), rows_of<const T>(x), index, accumulate));
}

void cuda_gather_rows_backward(Backend *b, Mat dx, Mat dout, const int32_t *index, bool accumulate) {
    CHECK_MAT(dout, b->activation, dout.rows, dx.cols);
    CHECK_MAT(dx, b->activation, dx.rows, dout.cols);
    if (!accumulate)
        DISPATCH_PIECES(b->activation, vectors_fit(dx), T, N,
                        RUN_EACH(b, (zero_rows<T, N>), dx.rows, dx.cols / N, rows_of<T>(dx)));
    run_scatter(b, dx, dout, index, accumulate);
}

void cuda_scatter_rows(Backend *b, Mat dst, Mat x, const int32_t *index) {
    CHECK_MAT(x, b->activation, x.rows, dst.cols);
    CHECK_MAT(dst, b->activation, dst.rows, x.cols);
    run_scatter(b, dst, x, index, false);
}

// ---- arg max ----

enum { ARGMAX_BLOCK = 1024 };

// A number that orders as (value, lower index first) does. A NaN is above all values; -0 equals 0.
static __device__ inline uint64_t argmax_key(float x, uint32_t index) {
    uint32_t bits = __float_as_uint(x + 0.0f);
    uint32_t value = isnan(x) ? UINT32_MAX : bits >> 31 ? ~bits : bits | 0x80000000u;
    return (uint64_t)value << 32 | (UINT32_MAX - index);
}

static __device__ inline uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

static __device__ inline uint64_t warp_largest(uint64_t key) {
    for (int lane = WARP / 2; lane > 0; lane /= 2)
        key = larger(key, __shfl_xor_sync(0xffffffffu, (unsigned long long)key, lane));
    return key;
}

// One block per row: rows are few and long, so each thread has several 16-byte loads in flight.
template <int N> static __global__ void argmax(int32_t *out, Rows<const float> logits, uint32_t cols) {
    SHARED(uint64_t, partial, [ARGMAX_BLOCK / WARP]);
    uint64_t key = 0;
#pragma unroll 4
    for (uint32_t c = threadIdx.x * N; c < cols; c += ARGMAX_BLOCK * N) {
        Piece<N> x = load_piece<N>(logits.at(blockIdx.x, c));
#pragma unroll
        for (uint32_t i = 0; i < N; i++) key = larger(key, argmax_key(x.at[i], c + i));
    }
    key = warp_largest(key);
    if (threadIdx.x % WARP == 0) partial[threadIdx.x / WARP] = key;
    __syncthreads();
    if (threadIdx.x >= WARP) return;
    key = warp_largest(partial[threadIdx.x]);
    if (threadIdx.x == 0) out[blockIdx.x] = key >> 32 == UINT32_MAX ? -1 : (int32_t)(UINT32_MAX - (uint32_t)key);
}

void cuda_argmax(Backend *b, int32_t *out, Mat logits) {
    static_assert(ARGMAX_BLOCK / WARP == WARP, "the first warp sees a partial result in each lane");
    CHECK_MAT(logits, DTYPE_F32, logits.rows, logits.cols);
    CHECK(logits.cols > 0 && logits.cols < INT32_MAX, "arg max of %ld columns", logits.cols);
    Rows<const float> rows = rows_of<const float>(logits);
    unsigned grid = (unsigned)logits.rows;
    if (grid && vectors_fit(logits))
        RUN(b, argmax<4>, grid, ARGMAX_BLOCK, 0, out, rows, (uint32_t)logits.cols);
    else if (grid)
        RUN(b, argmax<1>, grid, ARGMAX_BLOCK, 0, out, rows, (uint32_t)logits.cols);
}
