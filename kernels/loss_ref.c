// loss_ref: the language-model head with its cross-entropy, reference. One row of logits at a time.
#include "ref.h"

#include <math.h>

// One row of logits and one expanded row of W, then dx of one position in double.
size_t ref_head_loss_workspace(Backend *b, const Weight *w, int64_t m) {
    (void)b;
    (void)m;
    return (size_t)w->rows * sizeof(double) + 2 * (size_t)w->cols * sizeof(double);
}

static void logits_of(double *logits, float *row, const float *x, const Weight *w) {
    for (int64_t v = 0; v < w->rows; v++) {
        ref_weight_row(row, w, v);
        logits[v] = ref_dot(x, row, w->cols) + (w->bias ? w->bias[v] : 0);
    }
}

static double log_sum_exp(const double *x, int64_t n) {
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;
    for (int64_t i = 0; i < n; i++) sum += exp(x[i] - max);
    return max + log(sum);
}

static int64_t arg_max(const double *x, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(x[i])) return -1;
        if (x[i] > x[best]) best = i;
    }
    return best;
}

// d(loss)/d(logit v) = p_v - (1 - e) [v = target] - e / V, and dx = grad_scale * sum_v of that times W[v].
static void head_backward(float *dx, double *sum, float *row, const double *logits, double lse, int32_t target,
                          const Weight *w, const HeadLoss *h) {
    double e = h->label_smoothing;
    for (int64_t c = 0; c < w->cols; c++) sum[c] = 0;
    for (int64_t v = 0; v < w->rows; v++) {
        double d = exp(logits[v] - lse) - (v == target ? 1 - e : 0) - e / (double)w->rows;
        ref_weight_row(row, w, v);
        for (int64_t c = 0; c < w->cols; c++) sum[c] += h->grad_scale * d * row[c];
    }
    for (int64_t c = 0; c < w->cols; c++) dx[c] = (float)sum[c];
}

void ref_head_loss(Backend *b, HeadResult *result, Mat dx, Mat x, const Weight *w, const HeadLoss *h, void *ws) {
    (void)b;
    CHECK_SHAPE(x, x.rows, w->cols);
    if (dx.data) CHECK_SHAPE(dx, x.rows, w->cols);
    double *logits = ws, *sum = logits + w->rows;
    float *row = (float *)(sum + w->cols);
    *result = (HeadResult){0};
    for (int64_t m = 0; m < x.rows; m++) {
        logits_of(logits, row, f32_row(x, m), w);
        double lse = log_sum_exp(logits, w->rows), mean = 0;
        for (int64_t v = 0; v < w->rows; v++) mean += (lse - logits[v]) / (double)w->rows;
        double e = h->label_smoothing, nll = lse - logits[h->targets[m]];
        result->loss += e == 0 ? nll : (1 - e) * nll + e * mean;
        result->correct += arg_max(logits, w->rows) == h->targets[m];
        if (dx.data) head_backward(f32_row(dx, m), sum, row, logits, lse, h->targets[m], w, h);
    }
}
