// dot: products with few rows of x, as in decoding: W is read once and not packed. Private to kernels/cpu.
#pragma once

#include "cpu.h"

enum { DOT_PIECE = 32 }; // elements; rows of x are padded with zeros to a multiple of it
static inline int64_t dot_stride(int64_t k) { return (k + DOT_PIECE - 1) / DOT_PIECE * DOT_PIECE; }

typedef struct DotRows {
    int64_t first, n; // rows of W
    float *scratch;   // [dot_stride(w->cols)]
} DotRows;
// y[i * ldy + j] = x_i . W[first + j] for t rows of x, float32, dot_stride(w->cols) elements from one to the next. The
// bits of a product do not depend on the other rows.
#define cpu_dots CPU_FN(dots)
void cpu_dots(float *y, int64_t ldy, const float *x, int64_t t, const Weight *w, DotRows rows);
