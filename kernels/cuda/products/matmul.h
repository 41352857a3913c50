// matmul: products of matrices on the device, by cuBLASLt. Private to kernels/cuda.
//
// Autotuning: the first product of a shape times the algorithms that cuBLASLt proposes and keeps the fastest, unless
// the choice is stored (choices.c). The first pass of a shape should not be recorded: inside a recording nothing can be
// timed, and a new shape takes the algorithm that cuBLASLt proposes first. Later products allocate nothing. Algorithms
// with an undefined order of additions are never used: same shape and choice, same bits.
#pragma once

#include "cuda.h"

C_BEGIN

// C [M, N] = alpha * op(A) op(B) + beta * D + bias, summed in float32, rounded once.
typedef struct Product {
    Mat c;    // F32, F16 or BF16
    Mat a, b; // as stored: A [M, K] or, with a_t, [K, M]; B [K, N] or, with b_t, [N, K]. Of one type: F32, F16,
              // BF16 (C of the same type or F32) or F8_E4M3 (A as it is, b_t, K and N multiples of 16)
    bool a_t, b_t;
    float alpha;
    float beta;       // 0: D is not read
    Mat d;            // of C's type; data NULL: C itself
    const void *bias; // [N] of C's type, or NULL; cuBLASLt takes no float32 bias for 16-bit results: cuda_round
    const float *scale_a, *scale_b; // F8_E4M3, in device memory: the values of A and B are scale * element
    bool coarse;                    // F8_E4M3: may keep fewer bits of partial sums (forward only)
} Product;
void cuda_product(Backend *b, const Product *p);

// One product for the rows of each expert: C [rows, N] (+)= alpha A [rows, K] W_e^T, W_e [N, K]; backward: W_e [K, N]
// itself. The W_e, in the type of activations, are `size` elements apart (grouped.cu).
typedef struct ExpertProduct {
    Mat c, a;
    const void *w;
    int64_t size;
    const MoePlan *plan;
    bool backward, accumulate;
    float alpha;
} ExpertProduct;
void cuda_expert_product(Backend *b, const ExpertProduct *p);
// dW_e [left.cols, right.cols] += alpha left^T right, over the rows of each expert; size, plan and alpha are those of
// p.
void cuda_expert_gradient(Backend *b, float *dw, Mat left, Mat right, const ExpertProduct *p);

// Columns [col, col + n) of m; absent stays absent.
static inline Mat cuda_columns(Mat m, int64_t col, int64_t n) {
    Mat part = {m.data, m.dtype, m.rows, n, mat_stride(m)};
    if (m.data) part.data = (char *)m.data + (size_t)col * cuda_element(m.dtype);
    return part;
}

// dst = src [n], rounded to `type`: biases and adapters, which are float32 in memory.
void cuda_round(Backend *b, void *dst, DType type, const float *src, int64_t n);

C_END
