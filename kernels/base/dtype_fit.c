#include "dtype_fit.h"

#include <math.h>

#include "dtype.h"

enum { LANES = 8, SCALE_STEPS = 9, AFFINE_STEPS = 20 };

// Below it, every scale that a half can hold rounds to 0.
static const float NOTHING = 0x1p-40f;

uint32_t fit_magnitude(const float *x, int n) {
    uint32_t max = 0;
    for (int i = 0; i < n; i++) {
        uint32_t magnitude = f32_to_bits(x[i]) & 0x7FFFFFFF;
        max = magnitude > max ? magnitude : max;
    }
    return max;
}

static float lanes_sum(const float s[LANES]) {
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static void set_weights(float *w, const float *x, int n) {
    float s[LANES] = {0};
    for (int i = 0; i < n; i += LANES)
        for (int l = 0; l < LANES; l++) s[l] += x[i + l] * x[i + l];
    float mean = sqrtf(lanes_sum(s) / (float)n);
    for (int i = 0; i < n; i++) w[i] = mean + fabsf(x[i]);
}

// Weighted sums over a group with its whole numbers.
typedef struct Sums {
    float w, x, q, xq, qq;
} Sums;

// For q nearest to x * inverse.
static Sums sums_of(const float *x, const float *w, int n, FitRange r, float inverse) {
    float sw[LANES] = {0}, sx[LANES] = {0}, sq[LANES] = {0}, sxq[LANES] = {0}, sqq[LANES] = {0};
    for (int i = 0; i < n; i += LANES)
        for (int l = 0; l < LANES; l++) {
            float q = fit_nearest(x[i + l] * inverse, r.low, r.high), wq = w[i + l] * q;
            sw[l] += w[i + l];
            sx[l] += w[i + l] * x[i + l];
            sq[l] += wq;
            sxq[l] += wq * x[i + l];
            sqq[l] += wq * q;
        }
    return (Sums){lanes_sum(sw), lanes_sum(sx), lanes_sum(sq), lanes_sum(sxq), lanes_sum(sqq)};
}

// The largest magnitude goes to the end of the range, or near it; for each choice the best d is known: xq / qq, and it
// lowers the error by xq^2 / qq.
float fit_scale(const float *x, int n, FitRange r) {
    float w[FIT_MAX] = {0}, extreme = 0, best = 0, d = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(extreme)) extreme = x[i];
    if (!(fabsf(extreme) > NOTHING)) return 0;
    set_weights(w, x, n);
    d = extreme / (float)r.low;
    for (int step = -SCALE_STEPS; step <= SCALE_STEPS; step++) {
        Sums s = sums_of(x, w, n, r, ((float)r.low + 0.1f * (float)step) / extreme);
        float gain = s.xq / s.qq * s.xq;
        if (s.qq > 0 && gain > best) {
            best = gain;
            d = s.xq / s.qq;
        }
    }
    return d;
}

// Least squares for given whole numbers, with m at most `most`: how far they lower the error, below 0 where they do not
// determine d.
static float solve(Sums s, float most, float *d, float *m) {
    float det = s.w * s.qq - s.q * s.q;
    if (!(det > 0)) return -1;
    *d = (s.w * s.xq - s.x * s.q) / det;
    *m = (s.x * s.qq - s.xq * s.q) / det;
    if (*m > most) {
        *m = most;
        *d = (s.xq - most * s.q) / s.qq;
    }
    return *d * (2 * s.xq - *d * s.qq - 2 * *m * s.q) + *m * (2 * s.x - *m * s.w);
}

// The numbers are counted from the smallest: where all are far from 0, sums of the differences keep their digits.
void fit_affine(const float *x, int n, FitRange r, float *d, float *m) {
    float w[FIT_MAX] = {0}, above[FIT_MAX] = {0}, min = x[0], max = x[0], best = 0;
    for (int i = 1; i < n; i++) {
        min = x[i] < min ? x[i] : min;
        max = x[i] > max ? x[i] : max;
    }
    if (r.below_0 && min > 0) min = 0;
    *d = (max - min) / (float)r.high;
    *m = min;
    if (!(max - min > NOTHING)) {
        *d = 0;
        return;
    }
    set_weights(w, x, n);
    for (int i = 0; i < n; i++) above[i] = x[i] - min;
    for (int step = 0; step <= AFFINE_STEPS; step++) {
        float inverse = ((float)r.high - 1 + 0.1f * (float)step) / (max - min), d1 = 0, m1 = 0;
        float gain = solve(sums_of(above, w, n, r, inverse), r.below_0 ? -min : INFINITY, &d1, &m1);
        if (gain > best && d1 > 0) {
            best = gain;
            *d = d1;
            *m = m1 + min;
        }
    }
}

float fit_error(const float *x, int n, FitRange r, float d, float m) {
    float w[FIT_MAX] = {0}, s[LANES] = {0}, inverse = d != 0 ? 1 / d : 0;
    set_weights(w, x, n);
    for (int i = 0; i < n; i += LANES)
        for (int l = 0; l < LANES; l++) {
            float e = d * fit_nearest((x[i + l] - m) * inverse, r.low, r.high) + m - x[i + l];
            s[l] += w[i + l] * e * e;
        }
    return lanes_sum(s);
}

void fit_round(int *q, const float *x, int n, FitRange r, float d, float m) {
    float inverse = d != 0 ? 1 / d : 0;
    for (int i = 0; i < n; i++) q[i] = (int)fit_nearest((x[i] - m) * inverse, r.low, r.high);
}
