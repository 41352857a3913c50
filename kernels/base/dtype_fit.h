// dtype_fit: the scale, and the minimum, with which whole numbers in a range come nearest to a group of numbers: the
// search behind dtype_pack. Sums are taken in eight lanes, in an order that is part of the result: the same bits from
// every compiler.
#pragma once

#include "base.h"

enum { FIT_MAX = 32 }; // numbers of a group; a multiple of 8

typedef struct FitRange {
    int low, high; // of the whole numbers
    bool below_0;  // fit_affine: the minimum is at most 0
} FitRange;

// Bits of the largest magnitude, at least 0x7F800000 if one is not finite.
uint32_t fit_magnitude(const float *x, int n);
// The nearest whole number, ties to even; low and high are below 2^22 in magnitude.
static inline float fit_nearest(float v, int low, int high) {
    v = v > (float)low ? v : (float)low;
    v = v < (float)high ? v : (float)high;
    return v + 0x1.8p23f - 0x1.8p23f;
}
// d for which d * q is nearest to x in the weighted square, an element's weight being its magnitude plus the root mean
// square of all: of large elements, which carry most of a product, the error counts more. 0: x is all but 0.
float fit_scale(const float *x, int n, FitRange r);
// The same for d * q + m; d >= 0, and 0 if the elements are all but equal.
void fit_affine(const float *x, int n, FitRange r, float *d, float *m);
// The weighted square of the error with these d and m.
float fit_error(const float *x, int n, FitRange r, float d, float m);
// q = the whole numbers nearest to (x - m) / d; 0 or the nearest to it, where d is 0.
void fit_round(int *q, const float *x, int n, FitRange r, float d, float m);
