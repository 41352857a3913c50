// leading: the part of a matrix with which PiSSA and OLoRA begin, computed in double by one thread, with the same bits
// on every machine of an architecture. LAPACK's results depend on the library's threads and kernels.
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct Leading {
    const float *w; // [rows, cols]
    int64_t rows, cols;
    int64_t rank; // at most the smaller side
    uint64_t seed;
} Leading;

// The `rank` largest singular values s [rank], descending, with their vectors u [rank, rows] and v [rank, cols]; the
// largest number of each v is positive. Golub and Kahan's bidiagonalisation with full reorthogonalisation until these
// values are exact within 1e-10 of the largest, at the latest when the basis is complete. A value that occurs several
// times may be missed as often as its copies are identical to the last bit.
void leading_svd(double *u, double *s, double *v, const Leading *m);
// The same by subspace iteration from random vectors (Halko et al. 2011, algorithm 4.4, as torch's svd_lowrank).
void leading_svd_random(double *u, double *s, double *v, const Leading *m, int64_t iterations);
// The first `rank` columns q [rank, rows] of Q and rows r [rank, cols] of R, W = Q R, R's diagonal >= 0.
void leading_qr(double *q, double *r, const Leading *m);
