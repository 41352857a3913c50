// flash_forward: softmax(scale q k^T) v with an online softmax (Dao et al. 2022, Dao 2023) on tensor cores, for half
// and bfloat16. A block walks the keys that its tile of rows sees; scores and probabilities live in registers,
// probabilities are rounded to T for their product with v.
#include "flash.cuh"

namespace {

constexpr int WARPS = 4, THREADS = WARPS * WARP;

// M: tiles of 16 rows of a warp; KEYS: keys of a step.
template <int D_, int M_, int KEYS_> struct Form {
    static constexpr int D = D_, M = M_, KEYS = KEYS_;
    static constexpr int ROWS = WARPS * 16 * M, LD = D + ROW_PAD;
    static constexpr size_t bytes = (size_t)(ROWS + 4 * KEYS) * LD * 2;
};

// The softmax so far of a lane's rows: largest score, this lane's part of the sum of 2^(factor * (score - largest)).
template <int M> struct Running { float max[M][2], sum[M][2]; };

// Scores of keys that their row does not see become -infinity. first: the tile's first key.
template <int M, int KEYS>
__device__ inline void mask(float (&s)[M][KEYS / 8][4], const Range (&seen)[M][2], int first) {
    int column = lane_of_warp() % 4 * 2;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                if (!in_range(seen[m][i / 2], first + n * 8 + column + i % 2)) s[m][n][i] = -INFINITY;
}

// Online-softmax update: turns a tile of scores into exponentials relative to the running maximum, and rescales the
// accumulated output to it. fmaxf ignores a NaN, whose exponential shows it.
template <int D, int M, int KEYS>
__device__ inline void fold(Running<M> &r, float (&out)[M][D / 8][4], float (&s)[M][KEYS / 8][4], float factor) {
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float max = r.max[m][half];
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++) max = fmaxf(max, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
            max = fmaxf(max, __shfl_xor_sync(0xffffffffu, max, 1));
            max = fmaxf(max, __shfl_xor_sync(0xffffffffu, max, 2));
            float zero = max == -INFINITY ? 0 : max * factor; // where a score is `max`
            if (__any_sync(0xffffffffu, max > r.max[m][half])) {
                float shrink = exp2_fast(r.max[m][half] * factor - zero);
                r.sum[m][half] *= shrink;
#pragma unroll
                for (int d = 0; d < D / 8; d++) {
                    out[m][d][2 * half] *= shrink;
                    out[m][d][2 * half + 1] *= shrink;
                }
            }
            r.max[m][half] = max;
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; i++) {
                    s[m][n][i] = exp2_fast(s[m][n][i] * factor - zero);
                    r.sum[m][half] += s[m][n][i];
                }
        }
}

// A warp's rows while it walks the keys.
template <class F> struct Warp {
    Running<F::M> running;
    float sums[F::M][F::D / 8][4];
    Range seen[F::M][2];
};

// A warp's step: keys [first, first + KEYS) of the sample, in tiles k and v.
template <class T, class F>
__device__ inline void attend(Warp<F> &w, const T *q, const T *k, const T *v, const Scores &scores, int first,
                              bool masked) {
    float s[F::M][F::KEYS / 8][4];
    product_transposed<T, F::D, F::M, F::KEYS>(s, q, k);
    if (scores.cap != 0) {
#pragma unroll
        for (int m = 0; m < F::M; m++)
#pragma unroll
            for (int n = 0; n < F::KEYS / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) s[m][n][i] = scores.cap * tanh_fast(scores.inner * s[m][n][i]);
    }
    if (masked) mask<F::M, F::KEYS>(s, w.seen, first);
    fold<F::D, F::M, F::KEYS>(w.running, w.sums, s, scores.factor);
    add_product<T, F::D, F::M, F::KEYS>(w.sums, s, v);
}

template <class T, class F> __global__ void __launch_bounds__(THREADS) flash_forward_kernel(AttentionArgs<T> a) {
    DYN_SHARED(T, memory);
    T *q_tile = memory, *k_tiles = q_tile + F::ROWS * F::LD, *v_tiles = k_tiles + 2 * F::KEYS * F::LD;
    QueryTile t = query_tile(a, F::ROWS);
    if (t.n == 0) return;
    int own = (int)threadIdx.x / WARP * 16 * F::M, lane = lane_of_warp(); // own: the warp's first row
    Range keys = some_row_sees(a, t, 0, t.n);
    AsyncCopies copies;
    auto copy_keys = [&](int first, int slot) {
        int n = min(F::KEYS, keys.end - first);
        copy_rows<T, F::D, F::KEYS, THREADS>(copies, k_tiles + slot * F::KEYS * F::LD, n, a.head_size,
                                             [&](int i) { return key_at(a, t, a.k, first + i); });
        copy_rows<T, F::D, F::KEYS, THREADS>(copies, v_tiles + slot * F::KEYS * F::LD, n, a.head_size,
                                             [&](int i) { return key_at(a, t, a.v, first + i); });
    };
    copy_rows<T, F::D, F::ROWS, THREADS>(copies, q_tile, t.n, a.head_size, [&](int i) { return row_at(a, t, a.q, i); });
    if (keys.first < keys.end) copy_keys(keys.first, 0);

    Range some = some_row_sees(a, t, own, 16 * F::M), all = all_rows_see(a, t, own, 16 * F::M);
    Warp<F> w;
#pragma unroll
    for (int m = 0; m < F::M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            w.seen[m][half] = row_sees(a, t, own + m * 16 + half * 8 + lane / 4);
            w.running.max[m][half] = -INFINITY;
            w.running.sum[m][half] = 0;
        }
    set_zero(w.sums);
    Scores scores = scores_of(a);
    for (int first = keys.first, slot = 0; first < keys.end; first += F::KEYS, slot ^= 1) {
        copies.wait();
        __syncthreads(); // the tile is loaded, and no thread reads the other one any more
        if (first + F::KEYS < keys.end) copy_keys(first + F::KEYS, slot ^ 1);
        if (first >= some.end || first + F::KEYS <= some.first) continue;
        bool masked = first < all.first || first + F::KEYS > all.end;
        attend<T, F>(w, q_tile + own * F::LD, k_tiles + slot * F::KEYS * F::LD, v_tiles + slot * F::KEYS * F::LD,
                     scores, first, masked);
    }
    copies.wait();
    __syncthreads();

    float factor[F::M][2];
#pragma unroll
    for (int m = 0; m < F::M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float sum = w.running.sum[m][half];
            sum += __shfl_xor_sync(0xffffffffu, sum, 1);
            sum += __shfl_xor_sync(0xffffffffu, sum, 2);
            factor[m][half] = sum == 0 ? 0 : 1 / sum;
            int i = own + m * 16 + half * 8 + lane / 4;
            if (lane % 4 == 0 && i < t.n) *lse_at(a, t, i) = w.running.max[m][half] * scores.factor * LN_2 + logf(sum);
        }
    write_rows<T, F::D, F::M>(q_tile + own * F::LD, w.sums, factor, t.n - own, a.head_size,
                              [&](int i) { return row_at(a, t, a.out, own + i); });
}

template <class T, class F> void run(Backend *b, const AttentionCall *c) {
    AttentionArgs<T> a = args_of<T>(c);
    RUN_WIDE(b, (flash_forward_kernel<T, F>), query_blocks(a, F::ROWS), THREADS, F::bytes, a);
}

// At most 99 KiB of shared memory (sm_86, sm_89, sm_120), and no spilled registers.
template <class T> void run_head_size(Backend *b, const AttentionCall *c) {
    int64_t d = c->shape->head_size;
    if (d <= 64)
        run<T, Form<64, 2, 64>>(b, c);
    else if (d <= 96)
        run<T, Form<96, 2, 32>>(b, c);
    else if (d <= 128)
        run<T, Form<128, 2, 32>>(b, c);
    else if (d <= 192)
        run<T, Form<192, 1, 32>>(b, c);
    else
        run<T, Form<256, 1, 32>>(b, c);
}

} // namespace

void flash_forward(Backend *b, const AttentionCall *c) { DISPATCH_HALF(b->activation, T, run_head_size<T>(b, c)); }
