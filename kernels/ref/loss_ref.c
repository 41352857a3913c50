// loss_ref: the language model's head and a classifier's head with their cross-entropy, and the layer that a classifier
// trains before its head, reference. Logits row by row.
#include "ref.h"

#include <math.h>

// One row of logits, one of gradients of logits, dx of one position in double, one expanded row of W.
size_t ref_head_loss_workspace(Backend *b, const Weight *w, const HeadLoss *h, int64_t m) {
    return 2 * (size_t)w->rows * sizeof(double) + 2 * (size_t)w->cols * sizeof(double);
}

static void logits_of(double *logits, float *row, const float *x, const Weight *w, double cap) {
    for (int64_t v = 0; v < w->rows; v++) {
        ref_weight_row(row, w, v);
        logits[v] = ref_dot(x, row, w->cols) + (w->bias ? w->bias[v] : 0);
        if (cap != 0) logits[v] = cap * tanh(logits[v] / cap);
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

// The loss of one row of n logits: (1-e) nll + e mean(-log p).
static double cross_entropy(const double *logits, int64_t n, double lse, int32_t target, double e) {
    double nll = lse - logits[target], mean = 0;
    for (int64_t v = 0; v < n; v++) mean += (lse - logits[v]) / (double)n;
    return e == 0 ? nll : (1 - e) * nll + e * mean;
}

// d(loss)/d(logit v) = p_v - (1 - e) [v = target] - e / n.
static double logit_gradient(const double *logits, int64_t n, double lse, int64_t v, int32_t target, double e) {
    return exp(logits[v] - lse) - (v == target ? 1 - e : 0) - e / (double)n;
}

// The soft targets of one row: log q of number i is values[i] / T - *lse; -1 is absent.
typedef struct SoftRow {
    const int32_t *ids;
    const float *values;
    double lse;
} SoftRow;

static SoftRow soft_row(const SoftTargets *s, int64_t m) {
    SoftRow r = {s->ids + m * s->k, s->values + m * s->k, 0};
    double max = -INFINITY, sum = 0, t = s->temperature;
    for (int64_t i = 0; i < s->k; i++) max = r.ids[i] >= 0 && r.values[i] > max ? r.values[i] : max;
    for (int64_t i = 0; i < s->k; i++) sum += r.ids[i] < 0 ? 0 : exp((r.values[i] - max) / t);
    r.lse = max / t + log(sum);
    return r;
}

// The logits of p's softmax: log p of v is logits[v] / T - the result.
static double tempered_lse(const double *logits, int64_t n, double t) {
    double max = -INFINITY, sum = 0;
    for (int64_t v = 0; v < n; v++) max = logits[v] > max ? logits[v] : max;
    for (int64_t v = 0; v < n; v++) sum += exp((logits[v] - max) / t);
    return max / t + log(sum);
}

// T^2 KL(q || p); the derivative by logit v, T (p - q), times soft_weight is added to d.
static double divergence(double *d, const double *logits, int64_t n, const SoftTargets *s, int64_t m) {
    SoftRow row = soft_row(s, m);
    double t = s->temperature, lse = tempered_lse(logits, n, t), loss = 0;
    for (int64_t v = 0; v < n; v++) d[v] += s->soft_weight * t * exp(logits[v] / t - lse);
    for (int64_t i = 0; i < s->k; i++) {
        if (row.ids[i] < 0) continue;
        double log_q = row.values[i] / t - row.lse;
        loss += exp(log_q) * (log_q - (logits[row.ids[i]] / t - lse));
        d[row.ids[i]] -= s->soft_weight * t * exp(log_q);
    }
    return t * t * loss;
}

// dx = grad_scale * sum_v d(loss)/d(logit v) W[v]; a capped logit l = c tanh(y / c) has dl/dy = 1 - (l / c)^2.
static void head_backward(float *dx, const double *logits, double *d, const Weight *w, const HeadLoss *h) {
    double *sum = d + w->rows, cap = h->softcap;
    float *row = (float *)(sum + w->cols);
    for (int64_t c = 0; c < w->cols; c++) sum[c] = 0;
    for (int64_t v = 0; v < w->rows; v++) {
        if (cap != 0) d[v] *= 1 - logits[v] / cap * (logits[v] / cap);
        ref_weight_row(row, w, v);
        for (int64_t c = 0; c < w->cols; c++) sum[c] += h->state->grad_scale * d[v] * row[c];
    }
    for (int64_t c = 0; c < w->cols; c++) dx[c] = (float)sum[c];
}

// The loss of a row and d = d(loss)/d(logits).
static double head_row(HeadResult *result, double *d, const double *logits, int64_t n, const HeadLoss *h, int64_t m) {
    double lse = log_sum_exp(logits, n), weight = h->soft.k ? h->soft.hard_weight : 1;
    double loss = cross_entropy(logits, n, lse, h->targets[m], h->label_smoothing), soft;
    for (int64_t v = 0; v < n; v++)
        d[v] = weight * logit_gradient(logits, n, lse, v, h->targets[m], h->label_smoothing);
    if (!h->soft.k) return loss;
    soft = divergence(d, logits, n, &h->soft, m);
    result->sums[SUM_HARD] += loss;
    result->sums[SUM_SOFT] += soft;
    return weight * loss + h->soft.soft_weight * soft;
}

void ref_head_loss(Backend *b, HeadResult *result, Mat dx, Mat x, const Weight *w, const HeadLoss *h, void *ws) {
    CHECK_SHAPE(x, x.rows, w->cols);
    if (dx.data) CHECK_SHAPE(dx, x.rows, w->cols);
    double *logits = ws, *d = logits + w->rows;
    *result = (HeadResult){0};
    for (int64_t m = 0; m < x.rows; m++) {
        logits_of(logits, (float *)(d + w->rows + w->cols), f32_row(x, m), w, h->softcap);
        double loss = head_row(result, d, logits, w->rows, h, m);
        result->loss += loss;
        result->correct += arg_max(logits, w->rows) == h->targets[m];
        if (h->token_loss) h->token_loss[m] = loss;
        if (dx.data) head_backward(f32_row(dx, m), logits, d, w, h);
    }
}

// The logits of all rows, turned into their gradients.
size_t ref_class_loss_workspace(Backend *b, const ClassHead *h, int64_t m) {
    return (size_t)(m * h->classes) * sizeof(double);
}

// As classify, of a row whose logits have a loss each.
static void judge_each(HeadResult *result, double *logits, const float *y, const ClassHead *h) {
    double loss = 0, n = (double)h->classes;
    bool right = h->loss == CLASS_SIGMOID;
    for (int64_t i = 0; i < h->classes; i++) {
        double l = logits[i], p = 1 / (1 + exp(-l));
        right = right && (l > 0) == (y[i] == 1);
        loss += h->loss == CLASS_SQUARES ? (l - y[i]) * (l - y[i]) : log(1 + exp(l)) - l * y[i];
        logits[i] = h->state->grad_scale * (h->loss == CLASS_SQUARES ? 2 * (l - y[i]) : p - y[i]) / n;
    }
    result->loss += loss / n;
    result->correct += right;
}

// Loss and arg max of one row; its logits become grad_scale * d(loss)/d(logit).
static void classify(HeadResult *result, double *logits, const float *x, int64_t cols, int64_t m, const ClassHead *h) {
    int64_t n = h->classes;
    for (int64_t i = 0; i < n; i++) logits[i] = ref_dot(x, h->w + i * cols, cols) + (h->bias ? h->bias[i] : 0);
    for (int64_t i = 0; h->logits && i < n; i++) h->logits[m * n + i] = (float)logits[i];
    if (h->loss != CLASS_SOFTMAX) {
        judge_each(result, logits, h->values + m * n, h);
        return;
    }
    double lse = log_sum_exp(logits, n);
    int64_t best = arg_max(logits, n);
    result->loss += cross_entropy(logits, n, lse, h->labels[m], h->label_smoothing);
    result->correct += best == h->labels[m];
    if (h->predicted) h->predicted[m] = (int32_t)best;
    for (int64_t i = 0; i < n; i++) // logit i is read by its own gradient alone
        logits[i] = h->state->grad_scale * logit_gradient(logits, n, lse, i, h->labels[m], h->label_smoothing);
}

// With d [M, N] the gradient of the logits:  dx = d W,  dW += d^T x,  dbias += column sums of d.
void ref_class_loss(Backend *b, HeadResult *result, Mat dx, Mat x, const ClassHead *h, void *ws) {
    CHECK_SHAPE(x, x.rows, x.cols);
    if (dx.data) CHECK_SHAPE(dx, x.rows, x.cols);
    int64_t n = h->classes, cols = x.cols;
    double *d = ws;
    *result = (HeadResult){0};
    for (int64_t m = 0; m < x.rows; m++) classify(result, d + m * n, f32_row(x, m), cols, m, h);
    for (int64_t m = 0; m < x.rows && dx.data; m++)
        for (int64_t c = 0; c < cols; c++) {
            double sum = 0;
            for (int64_t i = 0; i < n; i++) sum += d[m * n + i] * h->w[i * cols + c];
            f32_row(dx, m)[c] = (float)sum;
        }
    for (int64_t i = 0; i < n; i++) {
        double bias = 0;
        for (int64_t m = 0; m < x.rows; m++) bias += d[m * n + i];
        if (h->dbias) h->dbias[i] = (float)(h->dbias[i] + bias);
        for (int64_t c = 0; c < cols && h->dw; c++) {
            double sum = 0;
            for (int64_t m = 0; m < x.rows; m++) sum += d[m * n + i] * f32_row(x, m)[c];
            h->dw[i * cols + c] = (float)(h->dw[i * cols + c] + sum);
        }
    }
}

void ref_dense_gradients(Backend *b, float *dw, float *dbias, Mat dy, Mat x) {
    CHECK_SHAPE(dy, x.rows, dy.cols);
    for (int64_t i = 0; i < dy.cols; i++) {
        double bias = 0;
        for (int64_t m = 0; m < x.rows; m++) bias += f32_row(dy, m)[i];
        dbias[i] = (float)(dbias[i] + bias);
        for (int64_t c = 0; c < x.cols; c++) {
            double sum = 0;
            for (int64_t m = 0; m < x.rows; m++) sum += (double)f32_row(dy, m)[i] * f32_row(x, m)[c];
            dw[i * x.cols + c] = (float)(dw[i * x.cols + c] + sum);
        }
    }
}
