// cross_entropy: softmax, cross-entropy and its gradient, in place on rows of logits.
//
// One block for each row, two sweeps over it: the first gathers the largest logit and the sum of exponentials (relative
// to a running maximum), the second turns logits into gradients; a row is in the second-level cache by then. With l the
// capped logits of a row, y its target, Z the sum of exp(l_v), Z' the same without the target and e the smoothing:
//     loss = log Z - (1-e) l_y - e mean(l)
//     d(loss)/d(l_v) = exp(l_v) / Z - e/V, for the target e - Z'/Z - e/V
// The target is kept apart so that Z'/Z = 1 - p_y keeps its relative precision when p_y is close to 1. A capped logit
// l = c tanh(x / c) has dl/dx = 1 - (l / c)^2 = 4 w / (1 + w)^2 with w = exp(-2 |x / c|), which keeps its precision
// when l is close to c.
#include <float.h>

#include "cross_entropy.h"
#include "rows.cuh"

// Softmax state of a row: a thread's share of it, or the block's.
typedef struct RowStats {
    float max;
    float others;  // sum of exp(logit - max) without the target
    double logits; // sum of the logits (label smoothing only)
    int best;      // lowest index of the largest
} RowStats;

template <bool CAPPED> static __device__ float capped(float x, float cap) { return CAPPED ? cap * tanhf(x / cap) : x; }

static __device__ float cap_slope(float x, float cap) {
    float w = expf(-2 * fabsf(x / cap));
    return 4 * w / ((1 + w) * (1 + w));
}

// Adds the N logits from x[col] on to the thread's share.
template <class T, int N, bool CAPPED>
static __device__ void fold(RowStats *s, const T *x, int col, int target, const CrossEntropy &c) {
    Piece<N> l = load_piece<N>(x + col);
    float max = -FLT_MAX;
#pragma unroll
    for (int i = 0; i < N; i++) {
        l.at[i] = capped<CAPPED>(l.at[i], c.softcap);
        max = fmaxf(max, l.at[i]); // leaves NaN out; its exponential shows it
    }
    if (max > s->max) {
        for (int i = N - 1; i >= 0; i--)
            if (l.at[i] == max) s->best = col + i;
        s->others *= expf(s->max - max);
        s->max = max;
    }
#pragma unroll
    for (int i = 0; i < N; i++) s->others += col + i == target ? 0 : expf(l.at[i] - s->max);
    if (c.label_smoothing == 0) return;
    float sum = 0;
    for (int i = 0; i < N; i++) sum += l.at[i];
    s->logits += (double)sum;
}

static __device__ int block_min(int x) {
    return block_reduce((int)__reduce_min_sync(0xffffffffu, x), [](int a, int b) { return min(a, b); });
}

// Merges the threads' shares; every thread gets the result.
static __device__ RowStats merge(RowStats s, bool smooth) {
    RowStats all;
    all.max = block_max(s.max);
    all.best = block_min(s.max == all.max ? s.best : INT32_MAX);
    all.others = (float)block_sum((double)(s.others * expf(s.max - all.max)));
    all.logits = smooth ? block_sum(s.logits) : 0;
    return all;
}

// How the logits of a row become gradients.
typedef struct Slope {
    float max, scale; // grad_scale exp(l - max) / Z:  scale is grad_scale / Z
    float even;       // grad_scale e/V
    float of_target;
} Slope;

template <class T, int N, bool CAPPED>
static __device__ void differentiate(T *x, int col, int target, const Slope &s, float cap) {
    Piece<N> p = load_piece<N>(x + col);
#pragma unroll
    for (int i = 0; i < N; i++) {
        float l = capped<CAPPED>(p.at[i], cap);
        float d = col + i == target ? s.of_target : expf(l - s.max) * s.scale - s.even;
        p.at[i] = CAPPED ? d * cap_slope(p.at[i], cap) : d;
    }
    store_piece<N>(x + col, p);
}

// `whole` columns of a row are read in pieces, the rest one by one.
template <class T, int N, bool CAPPED>
static __global__ void __launch_bounds__(1024, 1) cross_entropy(Rows<T> logits, CrossEntropy c, int cols, int whole) {
    int64_t row = blockIdx.x;
    int target = c.targets[row], step = (int)blockDim.x, thread = (int)threadIdx.x;
    T *x = logits.at(row, 0);
    if (target < 0) { // padding
        for (int col = thread; col < cols && c.state; col += step) store(x + col, 0);
        if (thread == 0) c.rows[row] = {0, 0};
        if (thread == 0 && c.predicted) c.predicted[row] = -1;
        return; // the whole block
    }
    RowStats mine = {-FLT_MAX, 0, 0, INT32_MAX};
#pragma unroll 4
    for (int col = thread * N; col < whole; col += step * N) fold<T, N, CAPPED>(&mine, x, col, target, c);
    for (int col = whole + thread; col < cols; col += step) fold<T, 1, CAPPED>(&mine, x, col, target, c);
    float own = capped<CAPPED>(load(x + target), c.softcap), e = c.label_smoothing;
    RowStats all = merge(mine, e != 0); // ends with a barrier: no thread reads logits any more
    float z = all.others + expf(own - all.max);
    if (thread == 0) {
        double loss = log((double)all.others + (double)expf(own - all.max)) + (double)all.max - (1 - (double)e) * own;
        if (e != 0) loss -= (double)e * all.logits / cols;
        int best = isnan(loss) ? -1 : all.best;
        c.rows[row] = {loss, best == target};
        if (c.token_loss) c.token_loss[row] = loss;
        if (c.predicted) c.predicted[row] = best;
    }
    if (!c.state) return;
    float grad_scale = c.state->grad_scale, even = grad_scale * e / (float)cols;
    Slope s = {all.max, grad_scale / z, even, grad_scale * (e - all.others / z) - even};
    for (int col = thread * N; col < whole; col += step * N) differentiate<T, N, CAPPED>(x, col, target, s, c.softcap);
    for (int col = whole + thread; col < cols; col += step) differentiate<T, 1, CAPPED>(x, col, target, s, c.softcap);
}

// Rows in flight should stay in the second-level cache between the sweeps: at most one long row per multiprocessor.
enum { LONG_ROW = 128 << 10 }; // bytes

void cuda_cross_entropy(Backend *b, Mat logits, const CrossEntropy *c) {
    CHECK(logits.data && logits.cols > 0 && logits.cols <= INT32_MAX / 2, "%ld logits", logits.cols);
    if (!logits.rows) return;
    // A row may end within 16 bytes, as long as each begins at a multiple of them.
    bool fit = (uintptr_t)logits.data % 16 == 0 && mat_stride(logits) * cuda_element(logits.dtype) % 16 == 0;
    int cols = (int)logits.cols;
    DISPATCH_PIECES(logits.dtype, fit, T, N, {
        int64_t block = ceil_div(ceil_div(cols, N), WARP) * WARP;
        int64_t most = cols * (int64_t)sizeof(T) > LONG_ROW ? 1024 : 512;
        if (block > most) block = most;
        if (c->softcap != 0)
            RUN(b, (cross_entropy<T, N, true>), (unsigned)logits.rows, (unsigned)block, 0, rows_of<T>(logits), *c, cols,
                cols / N * N);
        else
            RUN(b, (cross_entropy<T, N, false>), (unsigned)logits.rows, (unsigned)block, 0, rows_of<T>(logits), *c,
                cols, cols / N * N);
    });
}

enum { TOTAL_BLOCK = 1024 };

static __global__ void total_loss(HeadResult *result, const RowLoss *rows, int64_t m) {
    double loss = 0;
    long long correct = 0;
    for (int64_t i = threadIdx.x; i < m; i += TOTAL_BLOCK) {
        loss += rows[i].loss;
        correct += rows[i].correct;
    }
    loss = block_sum(loss);
    correct = block_sum(correct);
    if (threadIdx.x == 0) *result = {loss, correct, {0, 0, 0, 0}};
}

void cuda_total_loss(Backend *b, HeadResult *result, const RowLoss *rows, int64_t m) {
    RUN(b, total_loss, 1, TOTAL_BLOCK, 0, result, rows, m);
}

template <class T> static __global__ void round_rows(Rows<T> dst, Rows<const float> src, uint32_t rows, uint32_t cols) {
    Place at = place_of(rows, cols, 1);
    if (at.inside) store(dst.at(at.row, at.col), *src.at(at.row, at.col));
}

void cuda_round_rows(Backend *b, Mat dst, Mat src) {
    CHECK_MAT(src, DTYPE_F32, dst.rows, dst.cols);
    DISPATCH(dst.dtype, T,
             RUN_EACH(b, (round_rows<T>), dst.rows, dst.cols, rows_of<T>(dst), rows_of<const float>(src)));
}
