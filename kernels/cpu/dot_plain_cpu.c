// dot_plain_cpu: dot products with rows of W that are expanded first, for any instruction set.
#include "dot.h"

static float dot(const float *x, const float *w, int64_t k) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < k; i++) sum += x[i] * w[i];
    return sum;
}

void cpu_dots(float *y, int64_t ldy, const float *x, int64_t t, const Weight *w, DotRows rows) {
    for (int64_t i = 0; i < rows.n; i++) {
        cpu_expand_rows(rows.scratch, w, rows.first + i, 1);
        for (int64_t j = 0; j < t; j++) y[j * ldy + i] = dot(x + j * dot_stride(w->cols), rows.scratch, w->cols);
    }
}
