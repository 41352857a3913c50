// class_loss: a classifier's head with its cross-entropy and all its gradients, and those of a layer before it.
//
// Rows are few (one a sample) and parameters are float32, hence plain sums: a warp for each logit, a thread for each
// element of dx and of dW, each in a fixed order, so that a row's results do not depend on other rows or their number.
#include "class_math.h"
#include "cross_entropy.h"
#include "rows.cuh"

enum { LOGITS = EACH_BLOCK / WARP }; // of a block

// logits [M, N] = x W^T + bias.
template <class T>
static __global__ void class_logits(float *logits, Rows<const T> x, ClassHead h, uint32_t rows, int cols) {
    uint32_t classes = (uint32_t)h.classes, i = blockIdx.x * LOGITS + threadIdx.x / WARP, m = i / classes;
    if (m >= rows) return; // a whole warp
    const float *w = h.w + (int64_t)(i % classes) * cols;
    float sum = 0;
    for (int c = threadIdx.x % WARP; c < cols; c += WARP) sum += load(x.at(m, c)) * w[c];
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0) logits[i] = sum + (h.bias ? h.bias[i % classes] : 0);
}

// dx = d W.
template <class T>
static __global__ void class_dx(Rows<T> dx, const float *d, ClassHead h, uint32_t rows, uint32_t cols) {
    Place at = place_of(rows, cols, 1);
    if (!at.inside) return;
    float sum = 0;
    for (int64_t i = 0; i < h.classes; i++) sum += d[at.row * h.classes + i] * h.w[i * cols + at.col];
    store(dx.at(at.row, at.col), sum);
}

// Row i of dW += d[:, i]^T x; the last column is of the bias, dbias[i] += the sum of d[:, i].
template <class T>
static __global__ void class_dw(Rows<const T> x, const float *d, ClassHead h, int64_t m, uint32_t rows,
                                uint32_t columns) {
    Place at = place_of(rows, columns, 1);
    uint32_t cols = columns - 1;
    bool bias = at.col == cols;
    if (!at.inside || !(bias ? h.dbias : h.dw)) return;
    float sum = 0;
    for (int64_t t = 0; t < m; t++) sum += d[t * h.classes + at.row] * (bias ? 1 : load(x.at(t, at.col)));
    float *to = bias ? h.dbias + at.row : h.dw + (int64_t)at.row * cols + at.col;
    *to += sum;
}

// The logits d of one row to its loss and their gradients, where each has a loss of its own. One block for each row.
static __global__ void class_judge_each(float *d, RowLoss *rows, ClassHead h) {
    int64_t m = blockIdx.x, n = h.classes;
    bool padding = h.labels[m] < 0;
    float scale = h.state && !padding ? h.state->grad_scale / (float)n : 0;
    double loss = 0;
    int wrong = 0;
    for (int64_t i = m * n + threadIdx.x; i < (m + 1) * n && !padding; i += blockDim.x) {
        double l = (double)d[i], y = (double)h.values[i];
        if (h.logits) h.logits[i] = d[i];
        loss += class_logit_loss(h.loss, l, y);
        wrong += !class_logit_right(h.loss, l, y);
        d[i] = (float)((double)scale * class_logit_slope(h.loss, l, y));
    }
    for (int64_t i = m * n + threadIdx.x; i < (m + 1) * n && padding; i += blockDim.x) d[i] = 0;
    loss = block_sum(loss);
    wrong = block_sum(wrong);
    if (threadIdx.x == 0) rows[m] = {loss / (double)n, !padding && !wrong, {0, 0}};
}

static void judge(Backend *b, int64_t rows, const ClassHead *h, const CrossEntropy *c, float *d) {
    if (h->loss == CLASS_SOFTMAX)
        cuda_cross_entropy(b, mat_of(d, DTYPE_F32, rows, h->classes), c);
    else
        RUN(b, class_judge_each, (unsigned)rows, EACH_BLOCK, 0, d, c->rows, *h);
}

template <class T>
static void class_loss(Backend *b, Mat dx, Mat x, const ClassHead *h, const CrossEntropy *c, float *d) {
    int64_t n = h->classes;
    CHECK(x.rows * n <= INT32_MAX && x.cols <= INT32_MAX / 2, "%ld rows of %ld classes", x.rows, n);
    RUN(b, (class_logits<T>), (unsigned)ceil_div(x.rows * n, LOGITS), EACH_BLOCK, 0, d, rows_of<const T>(x), *h,
        (uint32_t)x.rows, (int)x.cols);
    judge(b, x.rows, h, c, d);
    if (dx.data) RUN_EACH(b, (class_dx<T>), x.rows, x.cols, rows_of<T>(dx), d, *h);
    if (h->dw || h->dbias) RUN_EACH(b, (class_dw<T>), n, x.cols + 1, rows_of<const T>(x), d, *h, x.rows);
}

void cuda_class_loss(Backend *b, HeadResult *result, Mat dx, Mat x, const ClassHead *h, void *ws) {
    CHECK_MAT(x, b->activation, x.rows, x.cols);
    if (dx.data) CHECK_MAT(dx, b->activation, x.rows, x.cols);
    float *d = (float *)ws;
    RowLoss *rows = (RowLoss *)((char *)ws + cuda_align((size_t)(x.rows * h->classes) * sizeof(float)));
    CrossEntropy c = {};
    c.targets = h->labels;
    c.state = dx.data || h->dw || h->dbias ? h->state : NULL;
    c.label_smoothing = h->label_smoothing;
    c.rows = rows;
    c.predicted = h->predicted;
    if (x.rows) DISPATCH(x.dtype, T, class_loss<T>(b, dx, x, h, &c, d));
    cuda_total_loss(b, result, rows, x.rows);
}

// Row i of dW += dy[:, i]^T x; the last column is of the bias.
template <class T>
static __global__ void dense_gradients(float *dw, float *dbias, Rows<const T> dy, Rows<const T> x, int64_t m,
                                       uint32_t rows, uint32_t columns) {
    Place at = place_of(rows, columns, 1);
    if (!at.inside) return;
    uint32_t cols = columns - 1;
    bool bias = at.col == cols;
    float sum = 0;
    for (int64_t t = 0; t < m; t++) sum += load(dy.at(t, at.row)) * (bias ? 1 : load(x.at(t, at.col)));
    float *to = bias ? dbias + at.row : dw + (int64_t)at.row * cols + at.col;
    *to += sum;
}

void cuda_dense_gradients(Backend *b, float *dw, float *dbias, Mat dy, Mat x) {
    CHECK_MAT(dy, b->activation, x.rows, dy.cols);
    CHECK_MAT(x, b->activation, x.rows, x.cols);
    DISPATCH(x.dtype, T,
             RUN_EACH(b, (dense_gradients<T>), dy.cols, x.cols + 1, dw, dbias, rows_of<const T>(dy),
                      rows_of<const T>(x), x.rows));
}
