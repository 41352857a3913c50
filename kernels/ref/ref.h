// ref: the naive reference backend, one file per group of ops, named as in the CPU backend (x_ref.c, x_cpu.c).
//
// It is the definition that the fast backends are tested against: serial loops in the order of the formula, sums in
// double and rounded to float32 once. Private to kernels/.
#pragma once

#include "host.h"

#define DECLARE_REF_SLOT(slot) SLOT_TYPE(slot) ref_##slot;
OP_SLOTS(DECLARE_REF_SLOT)

// dst [K] = logical row `row` of W.
void ref_weight_row(float *dst, const Weight *w, int64_t row);

static inline double ref_dot(const float *a, const float *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}
