// attention_ragged: before and after cuDNN's attention: offsets and lengths of the samples in each matrix; out = 0 and
// lse = -inf for tokens outside any sample, which cuDNN does not write; contiguous gradients copied to their matrices.
// Reads device memory only, so that a recorded pass can be replayed.
#include "attention.cuh"

namespace {

constexpr int THREADS = 128;

// Thread i has sample i, warp i row i.
template <class T>
__global__ void __launch_bounds__(THREADS) begin_kernel(AttentionArgs<T> a, RaggedLayout to, bool forward) {
    int64_t i = blockIdx.x * (int64_t)THREADS + threadIdx.x, row = i / WARP;
    int lane = (int)threadIdx.x % WARP, heads = a.kv_heads * a.group;
    if (i <= a.samples)
        for (int m = 0; m < CUDNN_MATS; m++) to.offset[m][i] = a.q_start[i] * to.stride[m];
    if (i < a.samples) to.length[i] = a.q_start[i + 1] - a.q_start[i];
    if (!forward || row >= a.tq || row < a.q_start[a.samples]) return;
    for (int d = lane; d < heads * a.head_size; d += WARP) store(a.out.data + row * a.out.stride + d, 0);
    for (int h = lane; h < heads; h += WARP) a.lse.data[row * a.lse.stride + h] = -INFINITY;
}

template <class T> struct Gradient {
    Rows<T> to;
    const T *from; // contiguous; may be to.data
    int cols;
};
template <class T> struct Gradients {
    Gradient<T> of[3]; // dq, dk, dv
};

// One warp a row; blockIdx.y chooses the matrix.
template <class T> __global__ void __launch_bounds__(THREADS) end_kernel(Attention a, Gradients<T> gradients) {
    Gradient<T> g = gradients.of[blockIdx.y];
    int64_t row = (blockIdx.x * (int64_t)THREADS + threadIdx.x) / WARP;
    if (!g.to.data || row >= a.tq) return;
    int lane = (int)threadIdx.x % WARP;
    T *to = g.to.data + row * g.to.stride;
    const T *from = g.from + row * g.cols;
    if (row >= a.q_start[a.samples]) {
        for (int d = lane; d < g.cols; d += WARP) store(to + d, 0);
    } else if (to != from) {
        constexpr int N = Vector<T>::size; // head sizes and strides are multiples of it
        for (int d = lane * N; d < g.cols; d += WARP * N)
            *reinterpret_cast<VectorBits<T> *>(to + d) = *reinterpret_cast<const VectorBits<T> *>(from + d);
    }
}

template <class T> void begin(Backend *b, const AttentionCall *c, const RaggedLayout *layout) {
    bool forward = !c->dout.data;
    int64_t threads = c->shape->samples + 1;
    if (forward && c->q.rows * WARP > threads) threads = c->q.rows * WARP;
    unsigned blocks = (unsigned)ceil_div(threads, THREADS);
    RUN(b, (begin_kernel<T>), blocks, THREADS, 0, args_of<T>(c), *layout, forward);
}

template <class T> void end(Backend *b, const AttentionCall *c, void *const *from) {
    const Mat to[] = {c->dq, c->dk, c->dv};
    Gradients<T> gradients;
    for (int i = 0; i < 3; i++) gradients.of[i] = {rows_of<T>(to[i]), (const T *)from[i], (int)to[i].cols};
    dim3 blocks((unsigned)ceil_div(c->q.rows * WARP, THREADS), 3);
    RUN(b, (end_kernel<T>), blocks, THREADS, 0, attention_of(c), gradients);
}

} // namespace

void ragged_begin(Backend *b, const AttentionCall *c, const RaggedLayout *layout) {
    DISPATCH_HALF(b->activation, T, begin<T>(b, c, layout));
}

void ragged_end(Backend *b, const AttentionCall *c, void *const *from) {
    DISPATCH_HALF(b->activation, T, end<T>(b, c, from));
}
