// flash_backward: the gradients of attention on tensor cores, for half and bfloat16 (Dao et al. 2022). With
// P = exp(score - lse), dP = dout v^T, delta = rowsum(dout * out) and dS = P * (dP - delta), under a soft cap times
// 1 - tanh^2:   dq = scale dS k,   dk = scale dS^T q,   dv = P^T dout.
// Two kernels, so that every sum has one owner and one order: one walks the keys for a tile of rows and computes dq,
// one walks the rows for a tile of keys and computes dk and dv. P and dS are rounded to T for their products.
#include "flash.cuh"

namespace {

// Replaces a score by P and its dP by dS; not seen: both are 0. lse is in units of log2.
__device__ inline void differentiate(float &score, float &dp, const Scores &scores, float lse, float delta, bool seen) {
    float x = score, slope = 1;
    if (scores.cap != 0) {
        float t = tanh_fast(scores.inner * x);
        slope = 1 - t * t;
        x = scores.cap * t;
    }
    float p = exp2_fast(x * scores.factor - lse);
    score = seen ? p : 0;
    dp = seen ? p * (dp - delta) * slope : 0;
}

// ---- dq ----

// M: tiles of 16 rows of a warp; STEP: keys of a step.
template <int D_, int M_, int STEP_> struct RowForm {
    static constexpr int D = D_, M = M_, STEP = STEP_, WARPS = 4, THREADS = WARPS * WARP;
    static constexpr int ROWS = WARPS * 16 * M, LD = D + ROW_PAD;
    static constexpr size_t bytes = (size_t)(2 * ROWS + 4 * STEP) * LD * 2;
};

template <class T, class F> __global__ void __launch_bounds__(F::THREADS) flash_dq_kernel(AttentionArgs<T> a) {
    DYN_SHARED(T, memory);
    T *q_tile = memory, *dout_tile = q_tile + F::ROWS * F::LD, *k_tiles = dout_tile + F::ROWS * F::LD;
    T *v_tiles = k_tiles + 2 * F::STEP * F::LD;
    QueryTile t = query_tile(a, F::ROWS);
    if (t.n == 0) return;
    int own = (int)threadIdx.x / WARP * 16 * F::M, lane = lane_of_warp();
    Range keys = some_row_sees(a, t, 0, t.n);
    AsyncCopies copies;
    auto copy_keys = [&](int first, int slot) {
        int n = min(F::STEP, keys.end - first);
        copy_rows<T, F::D, F::STEP, F::THREADS>(copies, k_tiles + slot * F::STEP * F::LD, n, a.head_size,
                                                [&](int i) { return key_at(a, t, a.k, first + i); });
        copy_rows<T, F::D, F::STEP, F::THREADS>(copies, v_tiles + slot * F::STEP * F::LD, n, a.head_size,
                                                [&](int i) { return key_at(a, t, a.v, first + i); });
    };
    copy_rows<T, F::D, F::ROWS, F::THREADS>(copies, q_tile, t.n, a.head_size,
                                            [&](int i) { return row_at(a, t, a.q, i); });
    copy_rows<T, F::D, F::ROWS, F::THREADS>(copies, dout_tile, t.n, a.head_size,
                                            [&](int i) { return row_at(a, t, a.dout, i); });
    if (keys.first < keys.end) copy_keys(keys.first, 0);

    Range seen[F::M][2], some = some_row_sees(a, t, own, 16 * F::M), all = all_rows_see(a, t, own, 16 * F::M);
    float row_lse[F::M][2], row_delta[F::M][2], factor[F::M][2], sums[F::M][F::D / 8][4];
    set_zero(sums);
#pragma unroll
    for (int m = 0; m < F::M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int i = own + m * 16 + half * 8 + lane / 4;
            seen[m][half] = row_sees(a, t, i);
            row_lse[m][half] = row_delta[m][half] = 0;
            factor[m][half] = a.scale;
            if (i >= t.n) continue;
            row_lse[m][half] = LOG2_E * *lse_at(a, t, i);
            row_delta[m][half] = *delta_at(a, t, i);
        }
    Scores scores = scores_of(a);
    for (int first = keys.first, slot = 0; first < keys.end; first += F::STEP, slot ^= 1) {
        copies.wait();
        __syncthreads(); // the tile is loaded, and no thread reads the other one any more
        if (first + F::STEP < keys.end) copy_keys(first + F::STEP, slot ^ 1);
        if (first >= some.end || first + F::STEP <= some.first) continue;
        const T *k_tile = k_tiles + slot * F::STEP * F::LD, *v_tile = v_tiles + slot * F::STEP * F::LD;
        bool full = first >= all.first && first + F::STEP <= all.end;
        float s[F::M][F::STEP / 8][4], dp[F::M][F::STEP / 8][4];
        product_transposed<T, F::D, F::M, F::STEP>(s, q_tile + own * F::LD, k_tile);
        product_transposed<T, F::D, F::M, F::STEP>(dp, dout_tile + own * F::LD, v_tile);
#pragma unroll
        for (int m = 0; m < F::M; m++)
#pragma unroll
            for (int n = 0; n < F::STEP / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    int key = first + n * 8 + lane % 4 * 2 + i % 2;
                    differentiate(s[m][n][i], dp[m][n][i], scores, row_lse[m][i / 2], row_delta[m][i / 2],
                                  full || in_range(seen[m][i / 2], key));
                }
        add_product<T, F::D, F::M, F::STEP>(sums, dp, k_tile);
    }
    copies.wait();
    __syncthreads();
    write_rows<T, F::D, F::M>(q_tile + own * F::LD, sums, factor, t.n - own, a.head_size,
                              [&](int i) { return row_at(a, t, a.dq, own + i); });
}

// ---- dk and dv ----

// M: tiles of 16 keys of a warp; STEP: rows of a step. DK, DV: which of the two it computes; the sums of both take too
// many registers for large heads.
template <int D_, int M_, int STEP_, int WARPS_, bool DK_, bool DV_> struct KeyForm {
    static constexpr int D = D_, M = M_, STEP = STEP_, WARPS = WARPS_, THREADS = WARPS * WARP;
    static constexpr bool DK = DK_, DV = DV_;
    static constexpr int KEYS = WARPS * 16 * M, LD = D + ROW_PAD;
    static constexpr size_t tiles = (size_t)(2 * KEYS + 4 * STEP) * LD * 2;
    static constexpr size_t bytes = tiles + 2 * STEP * 3 * sizeof(float); // lse, delta and positions of the rows
};

// Data of a step's rows, in shared memory.
template <int STEP> struct RowFacts {
    float lse[STEP], delta[STEP];
    int32_t pos[STEP];
};

template <class T, class F> __global__ void __launch_bounds__(F::THREADS) flash_dkv_kernel(AttentionArgs<T> a) {
    DYN_SHARED(T, memory);
    T *k_tile = memory, *v_tile = k_tile + F::KEYS * F::LD, *q_tiles = v_tile + F::KEYS * F::LD;
    T *dout_tiles = q_tiles + 2 * F::STEP * F::LD;
    auto *facts = reinterpret_cast<RowFacts<F::STEP> *>(dout_tiles + 2 * F::STEP * F::LD);
    KeyTile t = key_tile(a, F::KEYS);
    if (t.n == 0) return;
    int own = (int)threadIdx.x / WARP * 16 * F::M, lane = lane_of_warp();
    int low = t.key + own, high = min(low + 16 * F::M, t.key + t.n); // the warp's keys
    AsyncCopies copies;
    auto copy_step = [&](int row, int slot) {
        QueryTile r = rows_for(t, row, min(F::STEP, t.rows.end - row));
        copy_rows<T, F::D, F::STEP, F::THREADS>(copies, q_tiles + slot * F::STEP * F::LD, r.n, a.head_size,
                                                [&](int i) { return row_at(a, r, a.q, i); });
        copy_rows<T, F::D, F::STEP, F::THREADS>(copies, dout_tiles + slot * F::STEP * F::LD, r.n, a.head_size,
                                                [&](int i) { return row_at(a, r, a.dout, i); });
        int i = (int)threadIdx.x;
        if (i >= F::STEP) return;
        int at = i < r.n ? i : 0;
        copies.bytes4(&facts[slot].lse[i], lse_at(a, r, at), i < r.n);
        copies.bytes4(&facts[slot].delta[i], delta_at(a, r, at), i < r.n);
        copies.bytes4(&facts[slot].pos[i], a.q_pos + query_of(a, r, at), i < r.n);
    };
    copy_rows<T, F::D, F::KEYS, F::THREADS>(copies, k_tile, t.n, a.head_size,
                                            [&](int i) { return key_at(a, t, a.k, i); });
    if (F::DK) // dv needs no v
        copy_rows<T, F::D, F::KEYS, F::THREADS>(copies, v_tile, t.n, a.head_size,
                                                [&](int i) { return key_at(a, t, a.v, i); });
    if (t.rows.first < t.rows.end) copy_step(t.rows.first, 0);

    float dk_sum[F::DK ? F::M : 1][F::DK ? F::D / 8 : 1][4], dv_sum[F::DV ? F::M : 1][F::DV ? F::D / 8 : 1][4];
    set_zero(dk_sum);
    set_zero(dv_sum);
    bool want_dk = F::DK && a.dk.data, want_dv = F::DV && a.dv.data;
    Scores scores = scores_of(a);
    for (int row = t.rows.first, slot = 0; row < t.rows.end; row += F::STEP, slot ^= 1) {
        copies.wait();
        __syncthreads(); // the tiles are loaded, and no thread reads the others any more
        if (row + F::STEP < t.rows.end) copy_step(row + F::STEP, slot ^ 1);
        const RowFacts<F::STEP> &fact = facts[slot];
        int n_rows = min(F::STEP, t.rows.end - row);
        Range top = keys_seen(a, fact.pos[0], t.k_len), bottom = keys_seen(a, fact.pos[n_rows - 1], t.k_len);
        if (own >= t.n || low >= bottom.end || high <= top.first) continue;
        bool full = low >= bottom.first && high <= top.end && n_rows == F::STEP;
        const T *q_tile = q_tiles + slot * F::STEP * F::LD, *dout_tile = dout_tiles + slot * F::STEP * F::LD;
        float s[F::M][F::STEP / 8][4], dp[F::M][F::STEP / 8][4];
        product_transposed<T, F::D, F::M, F::STEP>(s, k_tile + own * F::LD, q_tile);
        if (want_dk)
            product_transposed<T, F::D, F::M, F::STEP>(dp, v_tile + own * F::LD, dout_tile);
        else
            set_zero(dp);
#pragma unroll
        for (int n = 0; n < F::STEP / 8; n++)
#pragma unroll
            for (int odd = 0; odd < 2; odd++) {
                int i = n * 8 + lane % 4 * 2 + odd;
                float row_lse = LOG2_E * fact.lse[i], row_delta = fact.delta[i];
                Range seen = full || i >= n_rows ? Range{0, 0} : keys_seen(a, fact.pos[i], t.k_len);
#pragma unroll
                for (int m = 0; m < F::M; m++)
#pragma unroll
                    for (int half = 0; half < 2; half++) {
                        int key = low + m * 16 + half * 8 + lane / 4;
                        differentiate(s[m][n][2 * half + odd], dp[m][n][2 * half + odd], scores, row_lse, row_delta,
                                      full || in_range(seen, key));
                    }
            }
        if constexpr (F::DV) {
            if (want_dv) add_product<T, F::D, F::M, F::STEP>(dv_sum, s, dout_tile);
        }
        if constexpr (F::DK) {
            if (want_dk) add_product<T, F::D, F::M, F::STEP>(dk_sum, dp, q_tile);
        }
    }
    copies.wait();
    __syncthreads();
    float factor[F::M][2];
#pragma unroll
    for (int m = 0; m < F::M; m++) factor[m][0] = factor[m][1] = 1;
    if constexpr (F::DV) {
        if (want_dv)
            write_rows<T, F::D, F::M>(v_tile + own * F::LD, dv_sum, factor, t.n - own, a.head_size,
                                      [&](int i) { return key_at(a, t, a.dv, own + i); });
    }
#pragma unroll
    for (int m = 0; m < F::M; m++) factor[m][0] = factor[m][1] = a.scale;
    if constexpr (F::DK) {
        if (want_dk)
            write_rows<T, F::D, F::M>(k_tile + own * F::LD, dk_sum, factor, t.n - own, a.head_size,
                                      [&](int i) { return key_at(a, t, a.dk, own + i); });
    }
}

template <class T, class F> void run_dq(Backend *b, const AttentionCall *c) {
    AttentionArgs<T> a = args_of<T>(c);
    RUN_WIDE(b, (flash_dq_kernel<T, F>), query_blocks(a, F::ROWS), F::THREADS, F::bytes, a);
}

template <class T, class F> void run_dkv(Backend *b, const AttentionCall *c) {
    AttentionArgs<T> a = args_of<T>(c);
    RUN_WIDE(b, (flash_dkv_kernel<T, F>), key_blocks(a, F::KEYS), F::THREADS, F::bytes, a);
}

template <class T, int D, int STEP, int WARPS> void run_dkv_apart(Backend *b, const AttentionCall *c) {
    if (c->dv.data) run_dkv<T, KeyForm<D, 1, STEP, WARPS, false, true>>(b, c);
    if (c->dk.data) run_dkv<T, KeyForm<D, 1, STEP, WARPS, true, false>>(b, c);
}

// At most 99 KiB of shared memory (sm_86, sm_89, sm_120), and no spilled registers.
template <class T> void run_head_size(Backend *b, const AttentionCall *c) {
    int64_t d = c->shape->head_size;
    bool keys = c->dk.data || c->dv.data;
    if (d <= 64) {
        if (c->dq.data) run_dq<T, RowForm<64, 2, 32>>(b, c);
        if (keys) run_dkv<T, KeyForm<64, 1, 64, 4, true, true>>(b, c);
    } else if (d <= 96) {
        if (c->dq.data) run_dq<T, RowForm<96, 1, 32>>(b, c);
        if (keys) run_dkv<T, KeyForm<96, 1, 32, 4, true, true>>(b, c);
    } else if (d <= 128) {
        if (c->dq.data) run_dq<T, RowForm<128, 1, 32>>(b, c);
        if (keys) run_dkv<T, KeyForm<128, 1, 32, 4, true, true>>(b, c);
    } else if (d <= 192) {
        if (c->dq.data) run_dq<T, RowForm<192, 1, 16>>(b, c);
        run_dkv_apart<T, 192, 16, 4>(b, c);
    } else {
        if (c->dq.data) run_dq<T, RowForm<256, 1, 16>>(b, c);
        run_dkv_apart<T, 256, 16, 3>(b, c);
    }
}

} // namespace

void flash_backward(Backend *b, const AttentionCall *c) { DISPATCH_HALF(b->activation, T, run_head_size<T>(b, c)); }
