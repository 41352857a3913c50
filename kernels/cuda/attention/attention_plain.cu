// attention_plain: attention by multiplications and additions in float32, for float32 activations, and for half and
// bfloat16 where the tensor cores' kernels cannot reach the rows (head sizes or strides that are not multiples of 8).
// The same walk as flash_forward.cu and flash_backward.cu. The threads form 16 lines of 8: thread (y, x) owns SIDE / 16
// rows of a tile, from y * SIDE / 16 on; of a row of SIDE scores every eighth, from x on; of a row of D sums four of
// every 32, from 4 x on.
#include "attention.cuh"

namespace {

constexpr int THREADS = 128;
enum { PAD = 4 }; // floats after each row of a tile

template <int D_, int SIDE_> struct Form {
    static constexpr int D = D_, SIDE = SIDE_, LD = D + PAD, ROWS = SIDE / 16, COLS = SIDE / 8;
    static constexpr int TILE = SIDE * LD, SCORES = SIDE * (SIDE + PAD); // floats
    static constexpr size_t forward_bytes = (3 * TILE + SCORES) * sizeof(float);
    static constexpr size_t backward_bytes = (4 * TILE + SCORES) * sizeof(float);
};
template <class F> using Scores = float[F::ROWS][F::COLS];
template <class F> using Sums = float[F::ROWS][F::D / 32][4];

__device__ inline int line() { return (int)threadIdx.x / 8; }
__device__ inline int column() { return (int)threadIdx.x % 8; }

template <class T, class F, class At> __device__ inline void load_tile(float *tile, int n, int head_size, At at) {
    for (int i = (int)threadIdx.x; i < F::SIDE * F::D; i += THREADS) {
        int row = i / F::D, d = i % F::D;
        tile[row * F::LD + d] = row < n && d < head_size ? load(at(row) + d) : 0;
    }
}

// s = a b^T over the tiles' rows.
template <class F> __device__ inline void dots(Scores<F> &s, const float *a, const float *b) {
#pragma unroll
    for (int r = 0; r < F::ROWS; r++)
#pragma unroll
        for (int c = 0; c < F::COLS; c++) s[r][c] = 0;
#pragma unroll 4
    for (int d = 0; d < F::D; d += 4) {
        float4 left[F::ROWS];
#pragma unroll
        for (int r = 0; r < F::ROWS; r++)
            left[r] = *reinterpret_cast<const float4 *>(a + (line() * F::ROWS + r) * F::LD + d);
#pragma unroll
        for (int c = 0; c < F::COLS; c++) {
            float4 right = *reinterpret_cast<const float4 *>(b + (column() + 8 * c) * F::LD + d);
#pragma unroll
            for (int r = 0; r < F::ROWS; r++)
                s[r][c] += left[r].x * right.x + left[r].y * right.y + left[r].z * right.z + left[r].w * right.w;
        }
    }
}

// sum += p b; p goes through shared memory, where only the eight lanes of a line meet.
template <class F> __device__ inline void add_product(Sums<F> &sum, const Scores<F> &p, float *shared, const float *b) {
    constexpr int LD = F::SIDE + PAD;
    __syncwarp();
#pragma unroll
    for (int r = 0; r < F::ROWS; r++)
#pragma unroll
        for (int c = 0; c < F::COLS; c++) shared[(line() * F::ROWS + r) * LD + column() + 8 * c] = p[r][c];
    __syncwarp();
#pragma unroll 4
    for (int k = 0; k < F::SIDE; k++) {
        float left[F::ROWS];
#pragma unroll
        for (int r = 0; r < F::ROWS; r++) left[r] = shared[(line() * F::ROWS + r) * LD + k];
#pragma unroll
        for (int d = 0; d < F::D / 32; d++) {
            float4 right = *reinterpret_cast<const float4 *>(b + k * F::LD + d * 32 + column() * 4);
#pragma unroll
            for (int r = 0; r < F::ROWS; r++) {
                sum[r][d][0] += left[r] * right.x;
                sum[r][d][1] += left[r] * right.y;
                sum[r][d][2] += left[r] * right.z;
                sum[r][d][3] += left[r] * right.w;
            }
        }
    }
}

template <class F> __device__ inline void set_zero(Sums<F> &sum) {
#pragma unroll
    for (int r = 0; r < F::ROWS; r++)
#pragma unroll
        for (int d = 0; d < F::D / 32; d++)
#pragma unroll
            for (int i = 0; i < 4; i++) sum[r][d][i] = 0;
}

template <class T, class F>
__device__ inline void store_row(T *to, const Sums<F> &sum, int r, float factor, int head_size) {
#pragma unroll
    for (int d = 0; d < F::D / 32; d++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (d * 32 + column() * 4 + i < head_size) store(to + d * 32 + column() * 4 + i, sum[r][d][i] * factor);
}

__device__ inline float line_sum(float x) {
    for (int lane = 4; lane > 0; lane /= 2) x += __shfl_xor_sync(0xffffffffu, x, lane);
    return x;
}
__device__ inline float line_max(float x) {
    for (int lane = 4; lane > 0; lane /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, lane));
    return x;
}

template <class T, class F> __global__ void __launch_bounds__(THREADS) plain_forward_kernel(AttentionArgs<T> a) {
    DYN_SHARED(float, memory);
    float *q_tile = memory, *k_tile = q_tile + F::TILE, *v_tile = k_tile + F::TILE, *shared = v_tile + F::TILE;
    QueryTile t = query_tile(a, F::SIDE);
    if (t.n == 0) return;
    load_tile<T, F>(q_tile, t.n, a.head_size, [&](int i) { return row_at(a, t, a.q, i); });
    Range seen[F::ROWS], keys = some_row_sees(a, t, 0, t.n);
    float max[F::ROWS], sum[F::ROWS];
    Sums<F> sums;
    set_zero<F>(sums);
    for (int r = 0; r < F::ROWS; r++) {
        seen[r] = row_sees(a, t, line() * F::ROWS + r);
        max[r] = -INFINITY;
        sum[r] = 0;
    }
    for (int first = keys.first; first < keys.end; first += F::SIDE) {
        int n = min(F::SIDE, keys.end - first);
        __syncthreads(); // no thread reads the tiles any more
        load_tile<T, F>(k_tile, n, a.head_size, [&](int i) { return key_at(a, t, a.k, first + i); });
        load_tile<T, F>(v_tile, n, a.head_size, [&](int i) { return key_at(a, t, a.v, first + i); });
        __syncthreads();
        Scores<F> s;
        dots<F>(s, q_tile, k_tile);
#pragma unroll
        for (int r = 0; r < F::ROWS; r++) {
            float largest = max[r]; // a NaN is left out by fmaxf and shows in its probability
#pragma unroll
            for (int c = 0; c < F::COLS; c++) {
                s[r][c] *= a.scale;
                if (a.softcap != 0) s[r][c] = a.softcap * tanhf(s[r][c] / a.softcap);
                if (!in_range(seen[r], first + column() + 8 * c)) s[r][c] = -INFINITY;
                largest = fmaxf(largest, s[r][c]);
            }
            largest = line_max(largest);
            float zero = largest == -INFINITY ? 0 : largest, shrink = expf(max[r] - zero);
            max[r] = largest;
            sum[r] *= shrink;
#pragma unroll
            for (int d = 0; d < F::D / 32; d++)
#pragma unroll
                for (int i = 0; i < 4; i++) sums[r][d][i] *= shrink;
#pragma unroll
            for (int c = 0; c < F::COLS; c++) {
                s[r][c] = expf(s[r][c] - zero);
                sum[r] += s[r][c];
            }
        }
        add_product<F>(sums, s, shared, v_tile);
    }
#pragma unroll
    for (int r = 0; r < F::ROWS; r++) {
        int i = line() * F::ROWS + r;
        float total = line_sum(sum[r]);
        if (i >= t.n) continue;
        if (column() == 0) *lse_at(a, t, i) = max[r] + logf(total);
        store_row<T, F>(row_at(a, t, a.out, i), sums, r, total == 0 ? 0 : 1 / total, a.head_size);
    }
}

// From a score q k^T and dP = dout v^T: P, and dS, which replaces dP (flash_backward.cu has the formulas).
__device__ inline void differentiate(const Attention &a, float &s, float &dp, float lse, float delta, bool seen) {
    float x = s * a.scale, slope = 1;
    if (a.softcap != 0) {
        float t = tanhf(x / a.softcap);
        slope = 1 - t * t;
        x = a.softcap * t;
    }
    float p = expf(x - lse);
    s = seen ? p : 0;
    dp = seen ? p * (dp - delta) * slope : 0;
}

template <class T, class F> __global__ void __launch_bounds__(THREADS) plain_dq_kernel(AttentionArgs<T> a) {
    DYN_SHARED(float, memory);
    float *q_tile = memory, *dout_tile = q_tile + F::TILE, *k_tile = dout_tile + F::TILE, *v_tile = k_tile + F::TILE;
    float *shared = v_tile + F::TILE;
    QueryTile t = query_tile(a, F::SIDE);
    if (t.n == 0) return;
    load_tile<T, F>(q_tile, t.n, a.head_size, [&](int i) { return row_at(a, t, a.q, i); });
    load_tile<T, F>(dout_tile, t.n, a.head_size, [&](int i) { return row_at(a, t, a.dout, i); });
    Range seen[F::ROWS], keys = some_row_sees(a, t, 0, t.n);
    float row_lse[F::ROWS], row_delta[F::ROWS];
    Sums<F> sums;
    set_zero<F>(sums);
    for (int r = 0; r < F::ROWS; r++) {
        int i = line() * F::ROWS + r, at = min(i, t.n - 1);
        seen[r] = row_sees(a, t, i);
        row_lse[r] = *lse_at(a, t, at);
        row_delta[r] = *delta_at(a, t, at);
    }
    for (int first = keys.first; first < keys.end; first += F::SIDE) {
        int n = min(F::SIDE, keys.end - first);
        __syncthreads(); // no thread reads the tiles any more
        load_tile<T, F>(k_tile, n, a.head_size, [&](int i) { return key_at(a, t, a.k, first + i); });
        load_tile<T, F>(v_tile, n, a.head_size, [&](int i) { return key_at(a, t, a.v, first + i); });
        __syncthreads();
        Scores<F> s, dp;
        dots<F>(s, q_tile, k_tile);
        dots<F>(dp, dout_tile, v_tile);
#pragma unroll
        for (int r = 0; r < F::ROWS; r++)
#pragma unroll
            for (int c = 0; c < F::COLS; c++)
                differentiate(a, s[r][c], dp[r][c], row_lse[r], row_delta[r],
                              in_range(seen[r], first + column() + 8 * c));
        add_product<F>(sums, dp, shared, k_tile);
    }
#pragma unroll
    for (int r = 0; r < F::ROWS; r++) {
        int i = line() * F::ROWS + r;
        if (i < t.n) store_row<T, F>(row_at(a, t, a.dq, i), sums, r, a.scale, a.head_size);
    }
}

template <class T, class F> __global__ void __launch_bounds__(THREADS) plain_dkv_kernel(AttentionArgs<T> a) {
    DYN_SHARED(float, memory);
    float *k_tile = memory, *v_tile = k_tile + F::TILE, *q_tile = v_tile + F::TILE, *dout_tile = q_tile + F::TILE;
    float *shared = dout_tile + F::TILE;
    KeyTile t = key_tile(a, F::SIDE);
    if (t.n == 0) return;
    load_tile<T, F>(k_tile, t.n, a.head_size, [&](int i) { return key_at(a, t, a.k, i); });
    load_tile<T, F>(v_tile, t.n, a.head_size, [&](int i) { return key_at(a, t, a.v, i); });
    Sums<F> dk_sums, dv_sums;
    set_zero<F>(dk_sums);
    set_zero<F>(dv_sums);
    for (int row = t.rows.first; row < t.rows.end; row += F::SIDE) {
        QueryTile rows = rows_for(t, row, min(F::SIDE, t.rows.end - row));
        __syncthreads(); // no thread reads the tiles any more
        load_tile<T, F>(q_tile, rows.n, a.head_size, [&](int i) { return row_at(a, rows, a.q, i); });
        load_tile<T, F>(dout_tile, rows.n, a.head_size, [&](int i) { return row_at(a, rows, a.dout, i); });
        __syncthreads();
        Scores<F> s, dp;
        dots<F>(s, k_tile, q_tile);
        dots<F>(dp, v_tile, dout_tile);
#pragma unroll
        for (int c = 0; c < F::COLS; c++) {
            int i = column() + 8 * c, at = min(i, rows.n - 1);
            Range seen = row_sees(a, rows, i);
            float row_lse = *lse_at(a, rows, at), row_delta = *delta_at(a, rows, at);
#pragma unroll
            for (int r = 0; r < F::ROWS; r++)
                differentiate(a, s[r][c], dp[r][c], row_lse, row_delta, in_range(seen, t.key + line() * F::ROWS + r));
        }
        add_product<F>(dv_sums, s, shared, dout_tile);
        add_product<F>(dk_sums, dp, shared, q_tile);
    }
#pragma unroll
    for (int r = 0; r < F::ROWS; r++) {
        int i = line() * F::ROWS + r;
        if (i >= t.n) continue;
        if (a.dv.data) store_row<T, F>(key_at(a, t, a.dv, i), dv_sums, r, 1, a.head_size);
        if (a.dk.data) store_row<T, F>(key_at(a, t, a.dk, i), dk_sums, r, a.scale, a.head_size);
    }
}

struct Forward {
    template <class T, class F> static void run(Backend *b, const AttentionCall *c) {
        AttentionArgs<T> a = args_of<T>(c);
        RUN_WIDE(b, (plain_forward_kernel<T, F>), query_blocks(a, F::SIDE), THREADS, F::forward_bytes, a);
    }
};

struct Backward {
    template <class T, class F> static void run(Backend *b, const AttentionCall *c) {
        AttentionArgs<T> a = args_of<T>(c);
        if (c->dq.data) RUN_WIDE(b, (plain_dq_kernel<T, F>), query_blocks(a, F::SIDE), THREADS, F::backward_bytes, a);
        if (c->dk.data || c->dv.data)
            RUN_WIDE(b, (plain_dkv_kernel<T, F>), key_blocks(a, F::SIDE), THREADS, F::backward_bytes, a);
    }
};

template <class Direction> void run_by_head_size(Backend *b, const AttentionCall *c) {
    int64_t d = c->shape->head_size;
    DISPATCH(b->activation, T, {
        if (d <= 64)
            Direction::template run<T, Form<64, 32>>(b, c);
        else if (d <= 128)
            Direction::template run<T, Form<128, 32>>(b, c);
        else
            Direction::template run<T, Form<256, 16>>(b, c);
    });
}

} // namespace

void plain_forward(Backend *b, const AttentionCall *c) { run_by_head_size<Forward>(b, c); }

void plain_backward(Backend *b, const AttentionCall *c) { run_by_head_size<Backward>(b, c); }
