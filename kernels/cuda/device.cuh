// device: what the kernels share: launching, element access by type, vector access, reductions in a fixed tree.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "cuda.h"
#include "dialect.h"

enum { WARP = 32 };

// Launches on a stream of b unless b has failed; looks for the launch's own fault. A template goes in parentheses.
#define RUN_ON(b, stream, kernel, grid, block, shared, ...)                                                            \
    do {                                                                                                               \
        if (!cuda_failed(b)) {                                                                                         \
            LAUNCH(kernel, grid, block, shared, stream, __VA_ARGS__);                                                  \
            cuda_check(b, cudaGetLastError(), #kernel);                                                                \
        }                                                                                                              \
    } while (0)
#define RUN(b, kernel, grid, block, shared, ...) RUN_ON(b, cuda_stream(b), kernel, grid, block, shared, __VA_ARGS__)

// Blocks of `threads` threads for n elements, one thread each.
static inline unsigned blocks_of(int64_t n, int threads) {
    CHECK(ceil_div(n, threads) <= INT32_MAX, "%ld elements", n);
    return (unsigned)ceil_div(n, threads);
}

// DISPATCH(dtype, T, statement): the statement with T as float, __half or __nv_bfloat16.
#define DISPATCH_CASE(dtype, Type, T, ...)                                                                             \
    case dtype: {                                                                                                      \
        using T = Type;                                                                                                \
        __VA_ARGS__;                                                                                                   \
        break;                                                                                                         \
    }
#define DISPATCH(dtype, T, ...)                                                                                        \
    do {                                                                                                               \
        switch (dtype) {                                                                                               \
            DISPATCH_CASE(DTYPE_F32, float, T, __VA_ARGS__)                                                            \
            DISPATCH_CASE(DTYPE_F16, __half, T, __VA_ARGS__)                                                           \
            DISPATCH_CASE(DTYPE_BF16, __nv_bfloat16, T, __VA_ARGS__)                                                   \
        default: CHECK(false, "type %d of activations", (int)(dtype));                                                 \
        }                                                                                                              \
    } while (0)

// The same for the 16-bit types alone.
#define DISPATCH_HALF(dtype, T, ...)                                                                                   \
    do {                                                                                                               \
        if ((dtype) == DTYPE_F16) {                                                                                    \
            using T = __half;                                                                                          \
            __VA_ARGS__;                                                                                               \
        } else {                                                                                                       \
            using T = __nv_bfloat16;                                                                                   \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
    } while (0)

// ---- elements ----
static __device__ inline float load(const float *p) { return *p; }
static __device__ inline float load(const __half *p) { return __half2float(*p); }
static __device__ inline float load(const __nv_bfloat16 *p) { return __bfloat162float(*p); }
static __device__ inline void store(float *p, float x) { *p = x; }
static __device__ inline void store(__half *p, float x) {
    *p = __float2half_rn(x); // too large: infinity
}
static __device__ inline void store(__nv_bfloat16 *p, float x) { *p = __float2bfloat16_rn(x); }

// 16 bytes of a row as floats. The address must be a multiple of 16: vectors_fit checks it on the host.
template <class T> struct Vector {
    static constexpr int size = 16 / (int)sizeof(T);
    float at[size];
};
template <class T> struct alignas(16) VectorBits { T at[16 / sizeof(T)]; };
template <class T> static __device__ inline Vector<T> load_vector(const T *p) {
    VectorBits<T> bits = *reinterpret_cast<const VectorBits<T> *>(p);
    Vector<T> v;
#pragma unroll
    for (int i = 0; i < Vector<T>::size; i++) v.at[i] = load(&bits.at[i]);
    return v;
}
template <class T> static __device__ inline void store_vector(T *p, const Vector<T> &v) {
    VectorBits<T> bits;
#pragma unroll
    for (int i = 0; i < Vector<T>::size; i++) store(&bits.at[i], v.at[i]);
    *reinterpret_cast<VectorBits<T> *>(p) = bits;
}
// Whether every row of m begins at a multiple of 16 bytes and is a whole number of them. An absent matrix fits.
static inline bool vectors_fit(Mat m) {
    int64_t n = 16 / (int64_t)cuda_element(m.dtype);
    return !m.data || ((uintptr_t)m.data % 16 == 0 && m.cols % n == 0 && mat_stride(m) % n == 0);
}

// Eight elements of a row, for threads that take eight each; n: how many there are. wide: vectors_fit, and n is 8.
template <class T> static __device__ inline void load_eight(float *y, const T *p, int n, bool wide) {
    constexpr int SIZE = Vector<T>::size;
    for (int i = 0; i < 8 && wide; i += SIZE) {
        Vector<T> v = load_vector(p + i);
#pragma unroll
        for (int j = 0; j < SIZE; j++) y[i + j] = v.at[j];
    }
    for (int i = 0; i < 8 && !wide; i++) y[i] = i < n ? load(p + i) : 0;
}
template <class T> static __device__ inline void store_eight(T *p, const float *y, int n, bool wide) {
    constexpr int SIZE = Vector<T>::size;
    for (int i = 0; i < 8 && wide; i += SIZE) {
        Vector<T> v;
#pragma unroll
        for (int j = 0; j < SIZE; j++) v.at[j] = y[i + j];
        store_vector(p + i, v);
    }
    for (int i = 0; i < 8 && !wide; i++)
        if (i < n) store(p + i, y[i]);
}

// ---- reductions: a fixed tree, the result in every lane or thread ----
template <class T> static __device__ inline T warp_sum(T x) {
#pragma unroll
    for (int lane = WARP / 2; lane > 0; lane /= 2) x += __shfl_xor_sync(0xffffffffu, x, lane);
    return x;
}
static __device__ inline float warp_max(float x) { // a NaN is left out
#pragma unroll
    for (int lane = WARP / 2; lane > 0; lane /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, lane));
    return x;
}
// Blocks of one dimension, a multiple of 32; every thread of the block must call. partial: each warp's result.
template <class T, class Op> static __device__ inline T block_reduce(T warp_result, Op op) {
    SHARED(T, partial, [32]);
    if (threadIdx.x % WARP == 0) partial[threadIdx.x / WARP] = warp_result;
    __syncthreads();
    T all = partial[0];
    for (unsigned i = 1; i < blockDim.x / WARP; i++) all = op(all, partial[i]);
    __syncthreads(); // the next call overwrites `partial`
    return all;
}
template <class T> static __device__ inline T block_sum(T x) {
    return block_reduce(warp_sum(x), [](T a, T b) { return a + b; });
}
static __device__ inline float block_max(float x) {
    return block_reduce(warp_max(x), [](float a, float b) { return fmaxf(a, b); });
}
