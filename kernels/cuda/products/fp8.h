// fp8: products with weights of type F8_E4M3 (4 bits of exponent, 3 of mantissa, largest 448, no infinity).
//
// A placed weight is W [N, K], then W^T [K, N], because the products read along the rows of both operands; an element's
// value is row_scale[0] * element, one scale per weight. The other operand, activations or their gradients, is
// quantised at each call with scale = largest magnitude / 448. An element that is not finite makes all results NaN.
#pragma once

#include "matmul.h"

C_BEGIN

static inline bool cuda_is_fp8(const Weight *w) { return w->segments[0].dtype == DTYPE_F8_E4M3; }

// Placing, in two walks over W, part by part (rows [row, row + part.rows) in BF16 on the device): the largest magnitude
// into *scale (which starts as 0), which cuda_fp8_scale makes the scale; then the elements, into data [2 * N * K].
void cuda_fp8_measure(Backend *b, float *scale, Mat part);
void cuda_fp8_scale(Backend *b, float *scale);
void cuda_fp8_store(Backend *b, void *data, const float *scale, Mat part, int64_t row, int64_t rows);

// The product p, whose a is quantised into ws, with W (forward) or W^T (backward) instead of its b.
void cuda_fp8_product(Backend *b, const Product *p, const Weight *w, bool backward, void *ws);

C_END
