// attention_prepare: what the backward pass of attention needs before its own kernels: delta = rowsum(dout * out) of
// each query and head, and zeros in dk and dv for keys that are in no sample (no other kernel writes those); and what
// sinks change after the forward pass.
#include "attention.cuh"

namespace {

constexpr int THREADS = 128;

// `lanes` lanes to a row, 8, 16 or 32 of them: rows [0, Tq * H) are sums, the rest are keys.
template <class T, bool VECTORS>
__global__ void __launch_bounds__(THREADS) prepare_kernel(AttentionArgs<T> a, int lanes) {
    int64_t row = (blockIdx.x * (int64_t)THREADS + threadIdx.x) / lanes;
    int heads = a.kv_heads * a.group, lane = (int)threadIdx.x % lanes;
    int64_t sums = (int64_t)a.tq * heads, key = row - sums;
    float sum = 0;
    if (row < sums) {
        const T *x = a.dout.data + row / heads * a.dout.stride + row % heads * a.head_size;
        const T *y = a.out.data + row / heads * a.out.stride + row % heads * a.head_size;
        if (VECTORS) {
            constexpr int N = Vector<T>::size;
            for (int d = lane * N; d < a.head_size; d += lanes * N) {
                Vector<T> u = load_vector(x + d), w = load_vector(y + d);
#pragma unroll
                for (int i = 0; i < N; i++) sum += u.at[i] * w.at[i];
            }
        } else {
            for (int d = lane; d < a.head_size; d += lanes) sum += load(x + d) * load(y + d);
        }
    }
    for (int step = lanes / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    if (row < sums) {
        if (lane == 0) a.delta[row] = sum;
        return;
    }
    if (key >= a.tk) return;
    for (int i = 0; i < a.samples; i++)
        if (key >= a.k_start[i] && key < a.k_start[i] + a.k_len[i]) return;
    for (int d = lane; d < a.kv_heads * a.head_size; d += lanes) {
        if (a.dk.data) store(a.dk.data + key * a.dk.stride + d, 0);
        if (a.dv.data) store(a.dv.data + key * a.dv.stride + d, 0);
    }
}

template <class T> void run(Backend *b, const AttentionCall *c) {
    AttentionArgs<T> a = args_of<T>(c);
    int lanes = 8;
    while (lanes < WARP && lanes * Vector<T>::size < a.head_size) lanes *= 2;
    int64_t rows = c->q.rows * c->shape->heads + c->k.rows;
    unsigned blocks = (unsigned)ceil_div(rows * lanes, THREADS);
    bool vectors = a.head_size % Vector<T>::size == 0 && vectors_fit(c->dout) && vectors_fit(c->out);
    if (vectors)
        RUN(b, (prepare_kernel<T, true>), blocks, THREADS, 0, a, lanes);
    else
        RUN(b, (prepare_kernel<T, false>), blocks, THREADS, 0, a, lanes);
}

// A warp for each query and head: the share of the keys beside the sink, and the logarithm of both sums.
template <class T>
__global__ void __launch_bounds__(THREADS) sinks_kernel(AttentionArgs<T> a, float *lse, const float *sinks, int q) {
    int64_t row = (blockIdx.x * (int64_t)THREADS + threadIdx.x) / WARP;
    int heads = a.kv_heads * a.group, lane = (int)threadIdx.x % WARP, head = (int)(row % heads);
    if (row >= (int64_t)q * heads) return;
    float keys = lse[row], sink = sinks[head], high = sink > keys ? sink : keys;
    if (keys == -INFINITY) return; // no keys
    __syncwarp();
    if (lane == 0) lse[row] = high + logf(expf(sink - high) + expf(keys - high));
    float share = 1 / (1 + expf(sink - keys));
    T *out = (T *)a.out.data + row / heads * a.out.stride + (int64_t)head * a.head_size;
    for (int d = lane; d < a.head_size; d += WARP) store(out + d, load(out + d) * share);
}

template <class T> void run_sinks(Backend *b, const AttentionCall *c) {
    int64_t lanes = c->q.rows * c->shape->heads * WARP;
    RUN(b, (sinks_kernel<T>), (unsigned)ceil_div(lanes, THREADS), THREADS, 0, args_of<T>(c), (float *)c->lse.data,
        c->shape->sinks, (int)c->q.rows);
}

} // namespace

void attention_sinks(Backend *b, const AttentionCall *c) {
    CHECK(mat_stride(c->lse) == c->lse.cols, "lse with a stride");
    if (c->q.rows) DISPATCH(b->activation, T, run_sinks<T>(b, c));
}

void attention_prepare(Backend *b, const AttentionCall *c) { DISPATCH(b->activation, T, run<T>(b, c)); }
