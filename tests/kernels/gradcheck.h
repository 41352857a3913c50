// gradcheck: is a backward op of the reference the derivative of its forward op?
//
// With L = sum(dout * out), the derivative of L along random directions of +-1 is compared with the gradient's: central
// differences of step H. Outputs are rounded to float32, which costs 2^-24 / H of L, and the truncation H^2 times a
// third derivative: both near 1e-5 of the gradient's norm; TOLERANCE leaves room and still sees one wrong term in
// hundreds.
#pragma once

#include <math.h>

#include "kernels.h"
#include "test.h"

static const float H = 4e-3f;
static const double TOLERANCE = 1e-3;
enum { DIRECTIONS = 24, MAX_ELEMENTS = 4096 };

static float random_value(uint32_t stream, int64_t i) {
    uint32_t w[4];
    rng_philox((RngKey){.seed = 11, .stream = stream}, (uint32_t)i, 0, w);
    return 1.7f * rng_symmetric(w[0]);
}

static void fill(float *x, int64_t n, uint32_t stream) {
    CHECK(n <= MAX_ELEMENTS);
    for (int64_t i = 0; i < n; i++) x[i] = random_value(stream, i);
}

static Mat mat(float *data, int64_t rows, int64_t cols) {
    CHECK(rows * cols <= MAX_ELEMENTS);
    return mat_of(data, DTYPE_F32, rows, cols);
}

static double dot(const float *a, const float *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

// grad [n] is the gradient of loss(context) with respect to x [n], which loss reads through the context.
static void check_gradient(const char *name, double (*loss)(void *), void *context, float *x, const float *grad,
                           int64_t n) {
    float saved[MAX_ELEMENTS], v[MAX_ELEMENTS];
    memcpy(saved, x, (size_t)n * sizeof *x);
    double norm = sqrt(dot(grad, grad, n));
    if (!(norm > 1e-3)) fail_msg("%s: the gradient is tiny or NaN (norm %g): nothing would be tested", name, norm);
    for (uint32_t direction = 0; direction < DIRECTIONS; direction++) {
        double side[2];
        for (int64_t i = 0; i < n; i++) v[i] = random_value(1000 + direction, i) < 0 ? -1 : 1;
        for (int s = 0; s < 2; s++) {
            for (int64_t i = 0; i < n; i++) x[i] = saved[i] + (s ? H : -H) * v[i];
            side[s] = loss(context);
        }
        double numeric = (side[1] - side[0]) / (2 * (double)H), analytic = dot(grad, v, n);
        if (!(fabs(numeric - analytic) <= TOLERANCE * norm))
            fail_msg("%s, direction %u: difference quotient %.9g, gradient %.9g, gradient's norm %.3g", name, direction,
                     numeric, analytic, norm);
    }
    memcpy(x, saved, (size_t)n * sizeof *x);
}

static inline Backend ref(void) { return (Backend){.k = &kernels_ref, .threads = 1}; }
