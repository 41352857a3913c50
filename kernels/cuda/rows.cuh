// rows: matrices as kernels see them, and pieces of a row: N neighbours that one thread handles, 16 bytes of the type
// of activations where the matrices allow it, else one element.
#pragma once

#include <initializer_list>

#include "device.cuh"

template <class T> struct Rows {
    T *data;
    int64_t stride;
    __device__ T *at(int64_t row, int64_t col) const { return data + row * stride + col; }
};
template <class T> static inline Rows<T> rows_of(Mat m) { return {(T *)m.data, mat_stride(m)}; }

// CHECKs that the matrices, by name, are all of the shape of the first in the backend's type of activations. Returns
// whether vectors fit all of them.
#define CHECK_ALIKE(b, ...) check_alike(b, #__VA_ARGS__, {__VA_ARGS__})
static inline bool check_alike(const Backend *b, const char *names, std::initializer_list<Mat> mats) {
    Mat first = *mats.begin();
    bool fit = true;
    for (Mat m : mats) {
        check_mat(names, m, b->activation, first.rows, first.cols);
        fit = fit && vectors_fit(m);
    }
    return fit;
}

template <int N> struct Piece { float at[N]; };
template <int N, class T> static __device__ inline Piece<N> load_piece(const T *p) {
    Piece<N> piece;
    if constexpr (N == 1) {
        piece.at[0] = load(p);
    } else {
#pragma unroll
        for (int i = 0; i < N; i += Vector<T>::size) {
            Vector<T> v = load_vector(p + i);
#pragma unroll
            for (int j = 0; j < Vector<T>::size; j++) piece.at[i + j] = v.at[j];
        }
    }
    return piece;
}
template <int N, class T> static __device__ inline void store_piece(T *p, const Piece<N> &piece) {
    if constexpr (N == 1) {
        store(p, piece.at[0]);
    } else {
        Vector<T> v;
        static_assert(N == Vector<T>::size, "a piece is one vector");
#pragma unroll
        for (int i = 0; i < N; i++) v.at[i] = piece.at[i];
        store_vector(p, v);
    }
}

// DISPATCH_PIECES(dtype, fit, T, N, statement): as DISPATCH, with N elements to a piece; fit: vectors do.
#define DISPATCH_PIECES(dtype, fit, T, N, ...)                                                                         \
    DISPATCH(                                                                                                          \
        dtype, T,                                                                                                      \
        if (fit) {                                                                                                     \
            constexpr int N = Vector<T>::size;                                                                         \
            __VA_ARGS__;                                                                                               \
        } else {                                                                                                       \
            constexpr int N = 1;                                                                                       \
            __VA_ARGS__;                                                                                               \
        })

static inline bool vector_fits(const void *p) { return (uintptr_t)p % 16 == 0; }

// ---- kernels with a thread for each piece of a matrix ----

enum { EACH_BLOCK = 256 };

// This thread's piece of `rows` rows of `pieces` pieces of n elements. 32 bits: a 64-bit division is 100 instructions.
typedef struct Place {
    uint32_t row, col;
    bool inside;
} Place;
static __device__ inline Place place_of(uint32_t rows, uint32_t pieces, uint32_t n) {
    uint32_t i = blockIdx.x * EACH_BLOCK + threadIdx.x, row = i / pieces;
    return {row, (i - row * pieces) * n, row < rows};
}

// Blocks for that.
static inline unsigned each_grid(int64_t rows, int64_t pieces) {
    CHECK(pieces <= INT32_MAX && rows * pieces <= INT32_MAX, "%ld rows of %ld pieces", rows, pieces);
    return (unsigned)ceil_div(rows * pieces, EACH_BLOCK);
}
// Launches `kernel` with a thread for each piece; its last arguments are the rows, and the pieces of each.
#define RUN_EACH(b, kernel, rows, pieces, ...)                                                                         \
    do {                                                                                                               \
        int64_t rows_ = (rows), pieces_ = (pieces);                                                                    \
        unsigned grid_ = each_grid(rows_, pieces_);                                                                    \
        if (grid_) RUN(b, kernel, grid_, EACH_BLOCK, 0, __VA_ARGS__, (uint32_t)rows_, (uint32_t)pieces_);              \
    } while (0)
