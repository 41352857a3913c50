// class_loss_cpu: a classifier's head with its cross-entropy and all its gradients, and those of a layer before it.
//
// Rows are few (one a sample) and so are classes, hence plain loops: every logit, every element of dx and of dW is one
// sum in a fixed order by one thread, so that a row's results depend neither on other rows nor on the threads.
#include "class_math.h"
#include "cpu.h"

// The result of one row. best: -1 for a NaN, and where no class is the best.
typedef struct Verdict {
    double loss;
    int32_t best, right;
} Verdict;

// Gradients of the logits [M, N], then a Verdict for each row.
static size_t logit_bytes(const ClassHead *h, int64_t m) {
    return ((size_t)(m * h->classes) * sizeof(float) + 63) & ~(size_t)63;
}

size_t CPU_FN(class_loss_workspace)(Backend *b, const ClassHead *h, int64_t m) {
    return logit_bytes(h, m) + (size_t)m * sizeof(Verdict);
}

static float dot(const Act *a, const float *b, int64_t n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += act_load(a[i]) * b[i];
    return sum;
}

static void add_scaled(float *y, const Act *x, float factor, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] += factor * act_load(x[i]);
}

// dx [c] = the rows of w [n, c], each times its d.
static void weighted_rows(Act *dx, const float *w, const float *d, int64_t n, int64_t c) {
    enum { PIECE = 256 };
    float sum[PIECE];
    for (int64_t first = 0; first < c; first += PIECE) {
        int64_t count = min64(PIECE, c - first);
        memset(sum, 0, sizeof sum);
        for (int64_t i = 0; i < n; i++)
            for (int64_t k = 0; k < count; k++) sum[k] += d[i] * w[i * c + first + k];
        act_round(dx + first, sum, count);
    }
}

// Loss and verdict of a row of n logits, which become grad_scale * d(loss)/d(logit): p_v - e/N, and for the label
// (e - e/N) - (1 - p_y) with 1 - p_y from the other classes alone, so that it stays precise when p_y is close to 1.
static Verdict judge(float *x, int64_t n, int32_t label, const ClassHead *h) {
    double e = (double)h->label_smoothing, others = 0, logits = 0, own = (double)x[label];
    int32_t best = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(x[i])) return (Verdict){NAN, -1, 0};
        if (x[i] > x[best]) best = (int32_t)i;
    }
    double max = (double)x[best];
    for (int64_t i = 0; i < n; i++) {
        logits += (double)x[i];
        if (i != label) others += exp((double)x[i] - max);
    }
    double z = others + exp(own - max), even = e / (double)n;
    for (int64_t i = 0; i < n; i++) {
        double d = i == label ? e - others / z : exp((double)x[i] - max) / z;
        x[i] = (float)((double)h->state->grad_scale * (d - even));
    }
    return (Verdict){log(z) + max - (1 - e) * own - (e == 0 ? 0 : e * logits / (double)n), best, best == label};
}

// The same of a row whose logits have a loss each.
static Verdict judge_each(float *x, int64_t n, const float *y, const ClassHead *h) {
    double loss = 0, scale = (double)h->state->grad_scale / (double)n;
    bool right = true;
    for (int64_t i = 0; i < n; i++) {
        double l = (double)x[i], want = (double)y[i];
        loss += class_logit_loss(h->loss, l, want);
        right = right && class_logit_right(h->loss, l, want);
        x[i] = (float)(scale * class_logit_slope(h->loss, l, want));
    }
    return (Verdict){loss / (double)n, -1, right};
}

static void rows_forward(Mat x, const ClassHead *h, float *d, Verdict *verdicts) {
    int64_t n = h->classes;
#pragma omp for collapse(2)
    for (int64_t m = 0; m < x.rows; m++)
        for (int64_t i = 0; i < n; i++)
            d[m * n + i] = dot(act_row(x, m), h->w + i * x.cols, x.cols) + (h->bias ? h->bias[i] : 0);
#pragma omp for
    for (int64_t m = 0; m < x.rows; m++) {
        if (h->logits) memcpy(h->logits + m * n, d + m * n, (size_t)n * sizeof *d);
        verdicts[m] = h->loss == CLASS_SOFTMAX ? judge(d + m * n, n, h->labels[m], h)
                                               : judge_each(d + m * n, n, h->values + m * n, h);
        if (isnan(verdicts[m].loss)) // so that the gradients are NaN too
            for (int64_t i = 0; i < n; i++) d[m * n + i] = NAN;
    }
}

// With d [M, N] the gradient of the logits:  dx = d W,  dW += d^T x,  dbias += column sums of d.
static void gradients(Mat dx, Mat x, const ClassHead *h, const float *d) {
    int64_t n = h->classes, c = x.cols;
#pragma omp for nowait
    for (int64_t m = 0; m < (dx.data ? x.rows : 0); m++) weighted_rows(act_row(dx, m), h->w, d + m * n, n, c);
#pragma omp for
    for (int64_t i = 0; i < n; i++)
        for (int64_t m = 0; m < x.rows; m++) {
            if (h->dbias) h->dbias[i] += d[m * n + i];
            if (h->dw) add_scaled(h->dw + i * c, act_row(x, m), d[m * n + i], c);
        }
}

void CPU_FN(class_loss)(Backend *b, HeadResult *result, Mat dx, Mat x, const ClassHead *h, void *ws) {
    CHECK_ACT(x, x.rows, x.cols);
    if (dx.data) CHECK_ACT(dx, x.rows, x.cols);
    float *d = ws;
    Verdict *verdicts = (Verdict *)((char *)ws + logit_bytes(h, x.rows));
#pragma omp parallel num_threads(cpu_threads(b, x.rows * h->classes * x.cols))
    {
        rows_forward(x, h, d, verdicts);
        gradients(dx, x, h, d);
    }
    *result = (HeadResult){0};
    for (int64_t m = 0; m < x.rows; m++) {
        result->loss += verdicts[m].loss;
        result->correct += verdicts[m].right;
        if (h->predicted) h->predicted[m] = verdicts[m].best;
    }
}

void CPU_FN(dense_gradients)(Backend *b, float *dw, float *dbias, Mat dy, Mat x) {
    CHECK_ACT(dy, x.rows, dy.cols);
    CHECK_ACT(x, x.rows, x.cols);
#pragma omp parallel for num_threads(cpu_threads(b, x.rows *dy.cols *x.cols))
    for (int64_t i = 0; i < dy.cols; i++)
        for (int64_t m = 0; m < x.rows; m++) {
            float d = act_load(act_row(dy, m)[i]);
            dbias[i] += d;
            add_scaled(dw + i * x.cols, act_row(x, m), d, x.cols);
        }
}
