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
        if (thread == 0) c.rows[row] = {0, 0, {0, 0}};
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
        c.rows[row] = {loss, best == target, {0, 0}};
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

// ---- soft targets: the same two sweeps, then the gradients of the targets' logits, which were kept, over the second's

enum { SOFT_BLOCK = 512 };

// Softmax state of a row with a temperature T.
typedef struct SoftStats {
    RowStats hard;
    float tempered; // sum of exp((logit - max) / T), with the target
    float own;      // the target's logit
} SoftStats;

// q of the soft target of this value: exp((value - largest) / T) / sum.
typedef struct SoftRow {
    const int32_t *ids;
    const float *values;
    float largest, sum, factor; // factor: 1 / T
} SoftRow;

static __device__ float any_capped(float x, float cap) { return cap == 0 ? x : capped<true>(x, cap); }

template <class T> static __device__ SoftStats soft_stats(const T *x, int cols, const CrossEntropy &c, float factor) {
    SoftStats s = {{-FLT_MAX, 0, 0, INT32_MAX}, 0, 0};
    int target = c.targets[blockIdx.x];
    for (int col = threadIdx.x; col < cols; col += SOFT_BLOCK) {
        float l = any_capped(load(x + col), c.softcap);
        if (l > s.hard.max) {
            s.hard.others *= expf(s.hard.max - l);
            s.tempered *= expf((s.hard.max - l) * factor);
            s.hard.max = l;
            s.hard.best = col;
        }
        s.hard.others += col == target ? 0 : expf(l - s.hard.max);
        s.tempered += expf((l - s.hard.max) * factor);
    }
    SoftStats all = {merge(s.hard, false), 0, any_capped(load(x + target), c.softcap)};
    all.tempered = (float)block_sum((double)(s.tempered * expf((s.hard.max - all.hard.max) * factor)));
    return all;
}

static __device__ SoftRow soft_row(const SoftTargets &s) {
    SoftRow r = {s.ids + blockIdx.x * s.k, s.values + blockIdx.x * s.k, -FLT_MAX, 0, 1 / s.temperature};
    for (int i = threadIdx.x; i < s.k; i += SOFT_BLOCK)
        if (r.ids[i] >= 0) r.largest = fmaxf(r.largest, r.values[i]);
    r.largest = block_max(r.largest);
    double sum = 0;
    for (int i = threadIdx.x; i < s.k; i += SOFT_BLOCK)
        if (r.ids[i] >= 0) sum += (double)expf((r.values[i] - r.largest) * r.factor);
    r.sum = (float)block_sum(sum);
    return r;
}

// Keeps the logits of the soft targets. Returns KL(q || p).
template <class T>
static __device__ double keep_soft(float *kept, const T *x, const SoftRow &r, int64_t k, const SoftStats &s,
                                   float cap) {
    double sum = 0, of_q = log((double)r.sum), of_p = log((double)s.tempered);
    for (int i = threadIdx.x; i < k; i += SOFT_BLOCK) {
        if (r.ids[i] < 0) continue;
        kept[i] = load(x + r.ids[i]);
        double log_q = (double)((r.values[i] - r.largest) * r.factor) - of_q;
        double log_p = (double)((any_capped(kept[i], cap) - s.hard.max) * r.factor) - of_p;
        sum += exp(log_q) * (log_q - log_p);
    }
    return block_sum(sum);
}

// The gradients of a row's logits.
template <class T>
static __device__ void soft_gradients(T *x, int cols, const CrossEntropy &c, const SoftTargets &s, const float *kept,
                                      const SoftRow &r, const SoftStats &stats) {
    int target = c.targets[blockIdx.x];
    float max = stats.hard.max, z = stats.hard.others + expf(stats.own - max), scale = c.state->grad_scale;
    float hard = scale * s.hard_weight / z, soft = scale * s.soft_weight * s.temperature;
    float of_target = -hard * stats.hard.others;
    for (int col = threadIdx.x; col < cols; col += SOFT_BLOCK) {
        float at = load(x + col), l = any_capped(at, c.softcap) - max;
        float d = (col == target ? of_target : expf(l) * hard) + expf(l * r.factor) / stats.tempered * soft;
        store(x + col, c.softcap == 0 ? d : d * cap_slope(at, c.softcap));
    }
    __syncthreads();
    for (int i = threadIdx.x; i < s.k; i += SOFT_BLOCK) {
        if (r.ids[i] < 0) continue;
        float l = any_capped(kept[i], c.softcap) - max, q = expf((r.values[i] - r.largest) * r.factor) / r.sum;
        float d = (r.ids[i] == target ? of_target : expf(l) * hard) + (expf(l * r.factor) / stats.tempered - q) * soft;
        store(x + r.ids[i], c.softcap == 0 ? d : d * cap_slope(kept[i], c.softcap));
    }
}

template <class T>
static __global__ void soft_cross_entropy(Rows<T> logits, CrossEntropy c, SoftTargets s, float *kept, int cols) {
    int64_t row = blockIdx.x;
    int target = c.targets[row];
    T *x = logits.at(row, 0);
    if (target < 0) { // padding
        for (int col = threadIdx.x; col < cols && c.state; col += SOFT_BLOCK) store(x + col, 0);
        if (threadIdx.x == 0) c.rows[row] = {0, 0, {0, 0}};
        return; // the whole block
    }
    kept += row * s.k;
    SoftStats stats = soft_stats(x, cols, c, 1 / s.temperature);
    SoftRow r = soft_row(s);
    // Ends with a barrier: no thread reads the targets' logits any more.
    double soft = keep_soft(kept, x, r, s.k, stats, c.softcap) * (double)s.temperature * (double)s.temperature;
    if (threadIdx.x == 0) {
        double hard = log((double)stats.hard.others + (double)expf(stats.own - stats.hard.max)) +
                      (double)stats.hard.max - (double)stats.own;
        double loss = (double)s.hard_weight * hard + (double)s.soft_weight * soft;
        int best = isnan(loss) ? -1 : stats.hard.best;
        c.rows[row] = {loss, best == target, {hard, soft}};
        if (c.token_loss) c.token_loss[row] = loss;
    }
    if (c.state) soft_gradients(x, cols, c, s, kept, r, stats);
}

void cuda_soft_cross_entropy(Backend *b, Mat logits, const CrossEntropy *c, const SoftTargets *s, float *kept) {
    CHECK(logits.data && logits.cols > 0 && logits.cols <= INT32_MAX / 2 && s->k <= logits.cols, "%ld of %ld logits",
          s->k, logits.cols);
    if (!logits.rows) return;
    DISPATCH(logits.dtype, T,
             RUN(b, (soft_cross_entropy<T>), (unsigned)logits.rows, SOFT_BLOCK, 0, rows_of<T>(logits), *c, *s, kept,
                 (int)logits.cols));
}

// ---- all rows ----

enum { TOTAL_BLOCK = 1024 };

static __global__ void total_loss(HeadResult *result, const RowLoss *rows, int64_t m) {
    HeadResult sum = {};
    for (int64_t i = threadIdx.x; i < m; i += TOTAL_BLOCK) {
        sum.loss += rows[i].loss;
        sum.correct += rows[i].correct;
        for (int k = 0; k < SOFT_SUMS; k++) sum.sums[k] += rows[i].parts[k];
    }
    sum.loss = block_sum(sum.loss);
    sum.correct = block_sum((long long)sum.correct);
    for (int k = 0; k < SOFT_SUMS; k++) sum.sums[k] = block_sum(sum.sums[k]);
    if (threadIdx.x == 0) *result = sum;
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
