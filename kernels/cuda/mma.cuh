// mma: PTX instructions without a CUDA C intrinsic (sm_80 and later), each wrapped in one function, with a plain C++
// version for the emulated device; and the products of tiles in shared memory that are built from them.
//
// mma.sync m16n8k16: C [16, 8] += A [16, 16] B [16, 8], A and B in half or bfloat16, C in float32. Of a lane of the
// warp, g = lane / 4 and t = lane % 4:
//   a[0] = A[g][2t, 2t+1], a[1] = A[g+8][2t, 2t+1], a[2] = A[g][2t+8, 2t+9], a[3] = A[g+8][2t+8, 2t+9]
//   b[0] = B[2t, 2t+1][g], b[1] = B[2t+8, 2t+9][g]
//   c[0], c[1] = C[g][2t, 2t+1], c[2], c[3] = C[g+8][2t, 2t+1]
// ldmatrix.x4 loads four 8x8 matrices, lane i giving the address of row i % 8 of matrix i / 8; r[m] then holds row g,
// columns 2t and 2t + 1 of matrix m; with .trans column g, rows 2t and 2t + 1.
#pragma once

#include <stdint.h>
#include <string.h>
#ifdef LORAC_CUDA_EMULATED
#include <vector>
#endif

#include "device.cuh"

enum { ROW_PAD = 8 }; // elements after each row of a tile: eight rows lie in different banks of shared memory

static __device__ inline int lane_of_warp() { return (int)threadIdx.x % WARP; }

template <class T> struct Two; // two elements in one register
template <> struct Two<__half> {
    static __device__ inline unsigned of(float low, float high) {
        __half2 h = __floats2half2_rn(low, high);
        unsigned both;
        memcpy(&both, &h, sizeof both);
        return both;
    }
};
template <> struct Two<__nv_bfloat16> {
    static __device__ inline unsigned of(float low, float high) {
        __nv_bfloat162 h = __floats2bfloat162_rn(low, high);
        unsigned both;
        memcpy(&both, &h, sizeof both);
        return both;
    }
};

#ifndef LORAC_CUDA_EMULATED

// Asynchronous copies from global to shared memory, complete after wait() (other threads need a barrier too). Not
// valid: zeros are written.
struct AsyncCopies {
    __device__ inline void bytes16(void *shared, const void *global, bool valid) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((unsigned)__cvta_generic_to_shared(shared)),
                     "l"(global), "r"(valid ? 16 : 0)
                     : "memory");
    }
    __device__ inline void bytes4(void *shared, const void *global, bool valid) {
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"((unsigned)__cvta_generic_to_shared(shared)),
                     "l"(global), "r"(valid ? 4 : 0)
                     : "memory");
    }
    __device__ inline void wait() { asm volatile("cp.async.wait_all;" ::: "memory"); }
};

static __device__ inline void load_matrices(unsigned (&r)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row))
                 : "memory");
}
static __device__ inline void load_transposed(unsigned (&r)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row))
                 : "memory");
}

#define MMA_M16N8K16(type)                                                                                             \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type ".f32 "                                        \
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                                     \
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                                      \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))
template <class T> struct Mma;
template <> struct Mma<__half> {
    static __device__ inline void add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
        MMA_M16N8K16("f16");
    }
};
template <> struct Mma<__nv_bfloat16> {
    static __device__ inline void add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
        MMA_M16N8K16("bf16");
    }
};

static __device__ inline float exp2_fast(float x) { // to 2^-22, results below 2^-126 are 0
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

#else // the emulated device

struct AsyncCopies { // done as late as the device may do them
    struct Copy {
        void *to;
        const void *from; // NULL: zeros
        size_t bytes;
    };
    std::vector<Copy> waiting;
    void bytes16(void *shared, const void *global, bool valid) {
        if ((uintptr_t)shared % 16 || (uintptr_t)global % 16) emu::fault("cp.async of 16 bytes: not aligned");
        waiting.push_back({shared, valid ? global : nullptr, 16});
    }
    void bytes4(void *shared, const void *global, bool valid) {
        waiting.push_back({shared, valid ? global : nullptr, 4});
    }
    void wait() {
        for (const Copy &c : waiting)
            if (c.from)
                memcpy(c.to, c.from, c.bytes);
            else
                memset(c.to, 0, c.bytes);
        waiting.clear();
    }
};

static inline unsigned two_elements(const void *low, const void *high) {
    uint16_t x, y;
    memcpy(&x, low, 2);
    memcpy(&y, high, 2);
    return (unsigned)y << 16 | x;
}
static inline void load_matrices(unsigned (&r)[4], const void *row) {
    const char *rows[32];
    emu::gather((const char *)row, rows, {"ldmatrix", __FILE__, __LINE__});
    int lane = lane_of_warp();
    for (int m = 0; m < 4; m++) {
        const char *p = rows[8 * m + lane / 4] + 4 * (lane % 4);
        r[m] = two_elements(p, p + 2);
    }
}
static inline void load_transposed(unsigned (&r)[4], const void *row) {
    const char *rows[32];
    emu::gather((const char *)row, rows, {"ldmatrix.trans", __FILE__, __LINE__});
    int lane = lane_of_warp(), column = 2 * (lane / 4);
    for (int m = 0; m < 4; m++) {
        int k = 8 * m + 2 * (lane % 4);
        r[m] = two_elements(rows[k] + column, rows[k + 1] + column);
    }
}

template <class T> struct Mma {
    struct Lane {
        unsigned a[4], b[2];
    };
    static float element(unsigned pair, int which) {
        uint16_t bits = (uint16_t)(pair >> 16 * which);
        T x;
        memcpy((void *)&x, &bits, 2);
        return load(&x);
    }
    static void combine(emu::Exchange *const *lanes, unsigned) {
        float a[16][16], b[16][8], c[16][8];
        for (int i = 0; i < 32; i++) {
            const Lane *lane = (const Lane *)lanes[i]->in;
            int g = i / 4, t = i % 4;
            for (int r = 0; r < 4; r++)
                for (int h = 0; h < 2; h++) a[g + 8 * (r % 2)][2 * t + 8 * (r / 2) + h] = element(lane->a[r], h);
            for (int r = 0; r < 2; r++)
                for (int h = 0; h < 2; h++) b[2 * t + 8 * r + h][g] = element(lane->b[r], h);
            for (int r = 0; r < 4; r++) c[g + 8 * (r / 2)][2 * t + r % 2] = ((const float *)lanes[i]->out)[r];
        }
        for (int row = 0; row < 16; row++)
            for (int k = 0; k < 16; k++)
                for (int column = 0; column < 8; column++) c[row][column] += a[row][k] * b[k][column];
        for (int i = 0; i < 32; i++)
            for (int r = 0; r < 4; r++) ((float *)lanes[i]->out)[r] = c[i / 4 + 8 * (r / 2)][2 * (i % 4) + r % 2];
    }
    static void add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
        Lane lane = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
        emu::Exchange e = {&lane, c, 0, 0};
        emu::exchange({"mma.sync", __FILE__, __LINE__}, ~0u, &e, combine);
    }
};

static inline float exp2_fast(float x) { return exp2f(x); }

#endif

// ---- products of a warp; tiles have rows of D + ROW_PAD elements ----

// s [16 M, N] = A B^T: A the warp's 16 M rows of D elements, B N rows of D elements.
template <class T, int D, int M, int N>
static __device__ inline void product_transposed(float (&s)[M][N / 8][4], const T *a, const T *b) {
    constexpr int LD = D + ROW_PAD;
    int lane = lane_of_warp();
    const T *a_row = a + lane % 16 * LD + lane / 16 * 8;
    const T *b_row = b + (lane % 8 + lane / 16 * 8) * LD + lane / 8 % 2 * 8;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < N / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) s[m][n][i] = 0;
#pragma unroll
    for (int k = 0; k < D; k += 16) {
        unsigned left[M][4];
#pragma unroll
        for (int m = 0; m < M; m++) load_matrices(left[m], a_row + m * 16 * LD + k);
#pragma unroll
        for (int n = 0; n < N / 16; n++) {
            unsigned right[4];
            load_matrices(right, b_row + n * 16 * LD + k);
#pragma unroll
            for (int m = 0; m < M; m++) {
                Mma<T>::add(s[m][2 * n], left[m], right[0], right[1]);
                Mma<T>::add(s[m][2 * n + 1], left[m], right[2], right[3]);
            }
        }
    }
}

// sum [16 M, D] += P B: P [16 M, N] as it comes out of product_transposed, rounded to T; B N rows of D elements.
template <class T, int D, int M, int N>
static __device__ inline void add_product(float (&sum)[M][D / 8][4], const float (&p)[M][N / 8][4], const T *b) {
    constexpr int LD = D + ROW_PAD;
    int lane = lane_of_warp();
    const T *b_row = b + lane % 16 * LD + lane / 16 * 8;
#pragma unroll
    for (int k = 0; k < N / 16; k++) {
        unsigned left[M][4];
#pragma unroll
        for (int m = 0; m < M; m++) {
            left[m][0] = Two<T>::of(p[m][2 * k][0], p[m][2 * k][1]);
            left[m][1] = Two<T>::of(p[m][2 * k][2], p[m][2 * k][3]);
            left[m][2] = Two<T>::of(p[m][2 * k + 1][0], p[m][2 * k + 1][1]);
            left[m][3] = Two<T>::of(p[m][2 * k + 1][2], p[m][2 * k + 1][3]);
        }
#pragma unroll
        for (int d = 0; d < D / 16; d++) {
            unsigned right[4];
            load_transposed(right, b_row + k * 16 * LD + d * 16);
#pragma unroll
            for (int m = 0; m < M; m++) {
                Mma<T>::add(sum[m][2 * d], left[m], right[0], right[1]);
                Mma<T>::add(sum[m][2 * d + 1], left[m], right[2], right[3]);
            }
        }
    }
}
