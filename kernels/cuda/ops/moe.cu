// moe: routing of tokens to experts, gathering rows for the experts and combining them. Products: grouped.cu.
//
// A warp routes one token. Then one block per expert sorts its rows by scanning all choices: no atomics, no scratch, no
// wait on the host. Sums over a token's choices run in the order of the choices.
#include "rows.cuh"

enum { TOKENS = 8, ROUTE_BLOCK = TOKENS * WARP };

static void check_plan(const MoePlan *p) {
    CHECK(p->used > 0 && p->used <= p->experts && p->tokens * p->used <= 1 << 30 && p->experts <= 1 << 30,
          "%ld tokens to %ld of %ld experts", p->tokens, p->used, p->experts);
}

// ---- the choice ----

// Larger for the expert that is chosen first: NaN, then the larger logit, then the lower index. Never 0 or 2^64 - 1.
static __device__ unsigned long long rank_key(float x, int e) {
    uint32_t bits = __float_as_uint(x + 0.0f); // -0 becomes 0
    uint32_t order = isnan(x) ? 0xFFFFFFFEu : bits >> 31 ? ~bits : bits | 0x80000000u;
    return (unsigned long long)order << 32 | (0xFFFFFFFFu - (uint32_t)e);
}

static __device__ unsigned long long warp_largest(unsigned long long key) {
    for (int lane = WARP / 2; lane > 0; lane /= 2) {
        unsigned long long other = __shfl_xor_sync(0xffffffffu, key, lane);
        key = other > key ? other : key;
    }
    return key;
}

// expert = the `used` first of a token. Each is the first of those that rank after the previous one.
template <class T> static __device__ void choose(int32_t *expert, const T *x, int experts, int used) {
    int lane = threadIdx.x % WARP;
    unsigned long long last = ~0ull;
    for (int j = 0; j < used; j++) {
        unsigned long long best = 0;
        for (int e = lane; e < experts; e += WARP) {
            unsigned long long key = rank_key(load(x + e), e);
            if (key < last && key > best) best = key;
        }
        last = warp_largest(best);
        if (lane == 0) expert[j] = (int32_t)(0xFFFFFFFFu - (uint32_t)last);
    }
    __syncwarp(); // all lanes read what lane 0 has written
}

// ---- the probabilities ----

// p[e] = exp(x[e] - max) / z; a NaN among the logits makes z NaN.
typedef struct Softmax {
    float max, z;
} Softmax;

template <class T> static __device__ Softmax softmax_of(const T *x, int n) {
    Softmax s = {-INFINITY, 0};
    for (int e = threadIdx.x % WARP; e < n; e += WARP) s.max = fmaxf(s.max, load(x + e));
    s.max = warp_max(s.max);
    for (int e = threadIdx.x % WARP; e < n; e += WARP) s.z += expf(load(x + e) - s.max);
    s.z = warp_sum(s.z);
    return s;
}

static __device__ float probability(Softmax s, float x) { return expf(x - s.max) / s.z; }

static __device__ float sigmoid(float x) { return 1 / (1 + expf(-x)); }

// The sum of the probabilities of a token's choices, each times `factor` of the choice (NULL: 1).
template <class T>
static __device__ float chosen_sum(Softmax s, const T *x, const int32_t *expert, const float *factor, int used) {
    float sum = 0;
    for (int j = threadIdx.x % WARP; j < used; j += WARP)
        sum += probability(s, load(x + expert[j])) * (factor ? factor[j] : 1);
    return warp_sum(sum);
}

template <class T>
static __global__ void route_forward(Rows<float> weights, MoePlan p, Rows<const T> logits, MoeScores scores) {
    int64_t t = (int64_t)blockIdx.x * TOKENS + threadIdx.x / WARP;
    if (t >= p.tokens) return; // a whole warp
    int used = (int)p.used;
    const T *x = logits.at(t, 0);
    int32_t *expert = p.expert + t * used;
    choose(expert, x, (int)p.experts, used);
    Softmax s = softmax_of(x, (int)p.experts);
    float divisor = scores == MOE_RENORMALISED ? chosen_sum(s, x, expert, NULL, used) : 1;
    for (int j = threadIdx.x % WARP; j < used; j += WARP) {
        float logit = load(x + expert[j]);
        *weights.at(t, j) = scores == MOE_SIGMOID ? sigmoid(logit) : probability(s, logit) / divisor;
    }
}

// ---- the rows ----

enum { SORT_WARPS_MAX = 32 };

// Block e gives expert e its rows. Its warps share the choices in consecutive stretches: each first counts those of
// expert e and those of the experts before it, which gives its first row, and then numbers its own in order.
static __global__ void sort_rows(MoePlan p) {
    SHARED(int32_t, own, [SORT_WARPS_MAX]);
    SHARED(int32_t, before, [SORT_WARPS_MAX]);
    int warps = blockDim.x / WARP, warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, e = blockIdx.x;
    int choices = (int)(p.tokens * p.used);
    int stretch = (choices + (int)blockDim.x - 1) / (int)blockDim.x * WARP;
    int first = min(warp * stretch, choices), end = min(first + stretch, choices);
    int n_own = 0, n_before = 0;
    for (int i = first + lane; i < end; i += WARP) {
        n_own += p.expert[i] == e;
        n_before += p.expert[i] < e;
    }
    n_own = warp_sum(n_own);
    n_before = warp_sum(n_before);
    if (lane == 0) {
        own[warp] = n_own;
        before[warp] = n_before;
    }
    __syncthreads();
    int row = 0;
    for (int w = 0; w < warps; w++) row += before[w];
    if (threadIdx.x == 0) {
        p.offset[e] = row;
        if (e == 0) p.offset[p.experts] = choices;
    }
    for (int w = 0; w < warp; w++) row += own[w];
    for (int i = first; i < end; i += WARP) {
        bool mine = i + lane < end && p.expert[i + lane] == e;
        unsigned all = __ballot_sync(0xffffffffu, mine);
        if (mine) {
            int at = row + __popc(all & ((1u << lane) - 1));
            p.row[i + lane] = at;
            p.choice[at] = i + lane;
        }
        row += __popc(all);
    }
}

void cuda_moe_route_forward(Backend *b, Mat weights, const MoePlan *plan, Mat logits, MoeScores scores) {
    check_plan(plan);
    CHECK_MAT(logits, logits.dtype, plan->tokens, plan->experts);
    CHECK_MAT(weights, DTYPE_F32, plan->tokens, plan->used);
    if (!plan->tokens) return b->k->zero(b, plan->offset, (size_t)(plan->experts + 1) * sizeof *plan->offset);
    unsigned grid = (unsigned)ceil_div(plan->tokens, TOKENS);
    DISPATCH(logits.dtype, T,
             RUN(b, (route_forward<T>), grid, ROUTE_BLOCK, 0, rows_of<float>(weights), *plan, rows_of<const T>(logits),
                 scores));
    int block = plan->tokens * plan->used < 16384 ? 256 : SORT_WARPS_MAX * WARP;
    RUN(b, sort_rows, (unsigned)plan->experts, block, 0, *plan);
}

// dx_e = p_e ([e chosen] dw_j - mean), or with the p of the chosen divided by their sum, where all others get none;
// mean = sum of p dw over the choices. Of a sigmoid: dx = dw w (1 - w), of the chosen alone.
template <class T>
static __global__ void route_backward(Rows<T> dlogits, Rows<const float> dweights, Rows<const T> logits, MoePlan p,
                                      MoeScores scores) {
    int64_t t = (int64_t)blockIdx.x * TOKENS + threadIdx.x / WARP;
    if (t >= p.tokens) return;
    int used = (int)p.used;
    const T *x = logits.at(t, 0);
    const float *dw = dweights.at(t, 0);
    const int32_t *expert = p.expert + t * used;
    bool renormalise = scores == MOE_RENORMALISED;
    Softmax s = softmax_of(x, (int)p.experts);
    float divisor = renormalise ? chosen_sum(s, x, expert, NULL, used) : 1;
    float mean = chosen_sum(s, x, expert, dw, used) / divisor;
    for (int e = threadIdx.x % WARP; e < p.experts; e += WARP) {
        int j = 0;
        while (j < used && expert[j] != e) j++;
        float own = j < used ? dw[j] : 0, dx = (own - mean) * (probability(s, load(x + e)) / divisor);
        if (scores == MOE_SIGMOID) dx = own * sigmoid(load(x + e)) * (1 - sigmoid(load(x + e)));
        store(dlogits.at(t, e), j < used || scores != MOE_RENORMALISED ? dx : 0); // of a sigmoid 0, or a NaN
    }
}

void cuda_moe_route_backward(Backend *b, Mat dlogits, Mat dweights, Mat logits, const MoePlan *plan, MoeScores scores) {
    check_plan(plan);
    CHECK_MAT(logits, logits.dtype, plan->tokens, plan->experts);
    CHECK_MAT(dlogits, logits.dtype, plan->tokens, plan->experts);
    CHECK_MAT(dweights, DTYPE_F32, plan->tokens, plan->used);
    unsigned grid = (unsigned)ceil_div(plan->tokens, TOKENS);
    if (!grid) return;
    DISPATCH(logits.dtype, T,
             RUN(b, (route_backward<T>), grid, ROUTE_BLOCK, 0, rows_of<T>(dlogits), rows_of<const float>(dweights),
                 rows_of<const T>(logits), *plan, scores));
}

// ---- rows to the experts and back ----

template <class T, int N>
static __global__ void gather(Rows<T> out, Rows<const T> x, const int32_t *choice, uint32_t used, uint32_t rows,
                              uint32_t pieces) {
    Place at = place_of(rows, pieces, N);
    if (!at.inside) return;
    store_piece<N>(out.at(at.row, at.col), load_piece<N>(x.at((uint32_t)choice[at.row] / used, at.col)));
}

void cuda_moe_gather(Backend *b, Mat out, Mat x, const MoePlan *plan) {
    CHECK_MAT(x, b->activation, plan->tokens, x.cols);
    CHECK_MAT(out, b->activation, plan->tokens * plan->used, x.cols);
    DISPATCH_PIECES(x.dtype, vectors_fit(out) && vectors_fit(x), T, N,
                    RUN_EACH(b, (gather<T, N>), out.rows, x.cols / N, rows_of<T>(out), rows_of<const T>(x),
                             plan->choice, (uint32_t)plan->used));
}

template <class T, int N>
static __global__ void combine(Rows<T> out, Rows<const T> x, Rows<const T> residual, const int32_t *row, uint32_t used,
                               uint32_t rows, uint32_t pieces) {
    Place at = place_of(rows, pieces, N);
    if (!at.inside) return;
    Piece<N> sum = {};
    if (residual.data) sum = load_piece<N>(residual.at(at.row, at.col));
    for (uint32_t j = 0; j < used; j++) {
        Piece<N> p = load_piece<N>(x.at(row[at.row * used + j], at.col));
        for (int i = 0; i < N; i++) sum.at[i] += p.at[i];
    }
    store_piece<N>(out.at(at.row, at.col), sum);
}

void cuda_moe_combine(Backend *b, Mat out, Mat x, Mat residual, const MoePlan *plan) {
    CHECK_MAT(out, b->activation, plan->tokens, out.cols);
    CHECK_MAT(x, b->activation, plan->tokens * plan->used, out.cols);
    if (residual.data) CHECK_MAT(residual, b->activation, plan->tokens, out.cols);
    bool fit = vectors_fit(out) && vectors_fit(x) && vectors_fit(residual);
    DISPATCH_PIECES(x.dtype, fit, T, N,
                    RUN_EACH(b, (combine<T, N>), out.rows, out.cols / N, rows_of<T>(out), rows_of<const T>(x),
                             rows_of<const T>(residual), plan->row, (uint32_t)plan->used));
}

// ---- rows times the weights of their choices; weights [T, used] contiguous ----

template <class T, int N>
static __global__ void scale_forward(Rows<T> x, const float *weights, const int32_t *choice, uint32_t rows,
                                     uint32_t pieces) {
    Place at = place_of(rows, pieces, N);
    if (!at.inside) return;
    float w = weights[choice[at.row]];
    Piece<N> p = load_piece<N>(x.at(at.row, at.col));
    for (int i = 0; i < N; i++) p.at[i] *= w;
    store_piece<N>(x.at(at.row, at.col), p);
}

static void check_weights(Mat weights, const MoePlan *plan) {
    CHECK_MAT(weights, DTYPE_F32, plan->tokens, plan->used);
    CHECK(mat_stride(weights) == weights.cols, "weights of experts with a stride");
}

void cuda_moe_scale_forward(Backend *b, Mat x, Mat weights, const MoePlan *plan) {
    check_weights(weights, plan);
    CHECK_MAT(x, b->activation, plan->tokens * plan->used, x.cols);
    DISPATCH_PIECES(x.dtype, vectors_fit(x), T, N,
                    RUN_EACH(b, (scale_forward<T, N>), x.rows, x.cols / N, rows_of<T>(x), (const float *)weights.data,
                             plan->choice));
}

enum { SCALE_BLOCK = 128 };

// A block for each row.
template <class T, int N>
static __global__ void scale_backward(Rows<T> dx, float *dweights, Rows<const T> x, const float *weights,
                                      const int32_t *choice, int cols) {
    int c = choice[blockIdx.x];
    float w = weights[c], dot = 0;
    for (int col = threadIdx.x * N; col < cols; col += SCALE_BLOCK * N) {
        Piece<N> d = load_piece<N>(dx.at(blockIdx.x, col)), y = load_piece<N>(x.at(blockIdx.x, col));
        for (int i = 0; i < N; i++) {
            dot += d.at[i] * y.at[i];
            d.at[i] *= w;
        }
        store_piece<N>(dx.at(blockIdx.x, col), d);
    }
    dot = block_sum(dot);
    if (threadIdx.x == 0) dweights[c] = dot;
}

void cuda_moe_scale_backward(Backend *b, Mat dx, Mat dweights, Mat x, Mat weights, const MoePlan *plan) {
    check_weights(weights, plan);
    check_weights(dweights, plan);
    CHECK_MAT(x, b->activation, plan->tokens * plan->used, x.cols);
    CHECK_MAT(dx, b->activation, x.rows, x.cols);
    if (!x.rows) return;
    DISPATCH_PIECES(x.dtype, vectors_fit(dx) && vectors_fit(x), T, N,
                    RUN(b, (scale_backward<T, N>), (unsigned)x.rows, SCALE_BLOCK, 0, rows_of<T>(dx),
                        (float *)dweights.data, rows_of<const T>(x), (const float *)weights.data, plan->choice,
                        (int)x.cols));
}

// ---- biases times the weights of the choices ----

// What a choice adds: its weight times a row of `cols` biases of its expert.
typedef struct Biases {
    const float *weights, *bias;
    const int32_t *expert;
    uint32_t used;
    int64_t cols;
} Biases;

template <class T, int N>
static __global__ void bias_forward(Rows<T> out, Rows<const T> x, Biases b, uint32_t rows, uint32_t pieces) {
    Place at = place_of(rows, pieces, N);
    if (!at.inside) return;
    Piece<N> sum = load_piece<N>(x.at(at.row, at.col));
    for (uint32_t j = 0; j < b.used; j++) {
        float w = b.weights[at.row * b.used + j];
        const float *from = b.bias + b.expert[at.row * b.used + j] * b.cols + at.col;
        for (int i = 0; i < N; i++) sum.at[i] += w * from[i];
    }
    store_piece<N>(out.at(at.row, at.col), sum);
}

void cuda_moe_bias_forward(Backend *b, Mat out, Mat x, Mat weights, const float *bias, const MoePlan *plan) {
    check_weights(weights, plan);
    CHECK_MAT(x, b->activation, plan->tokens, out.cols);
    CHECK_MAT(out, b->activation, plan->tokens, out.cols);
    Biases biases = {(const float *)weights.data, bias, plan->expert, (uint32_t)plan->used, out.cols};
    DISPATCH_PIECES(
        x.dtype, vectors_fit(out) && vectors_fit(x), T, N,
        RUN_EACH(b, (bias_forward<T, N>), out.rows, out.cols / N, rows_of<T>(out), rows_of<const T>(x), biases));
}

// A block for each choice.
template <class T, int N>
static __global__ void bias_backward(float *dweights, Rows<const T> dout, const float *bias, const int32_t *expert,
                                     uint32_t used, int64_t cols) {
    const float *row = bias + expert[blockIdx.x] * cols;
    float dot = 0;
    for (int col = threadIdx.x * N; col < cols; col += SCALE_BLOCK * N) {
        Piece<N> d = load_piece<N>(dout.at(blockIdx.x / used, col));
        for (int i = 0; i < N; i++) dot += d.at[i] * row[col + i];
    }
    dot = block_sum(dot);
    if (threadIdx.x == 0) dweights[blockIdx.x] += dot;
}

void cuda_moe_bias_backward(Backend *b, Mat dweights, Mat dout, const float *bias, const MoePlan *plan) {
    check_weights(dweights, plan);
    CHECK_MAT(dout, b->activation, plan->tokens, dout.cols);
    if (!dout.rows) return;
    DISPATCH_PIECES(dout.dtype, vectors_fit(dout), T, N,
                    RUN(b, (bias_backward<T, N>), (unsigned)(plan->tokens * plan->used), SCALE_BLOCK, 0,
                        (float *)dweights.data, rows_of<const T>(dout), bias, plan->expert, (uint32_t)plan->used,
                        dout.cols));
}
