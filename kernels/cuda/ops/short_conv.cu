// short_conv: a causal convolution of a few taps, each column by itself (LFM2).
#include "rows.cuh"

// A thread for N columns of a row; `row(j)` is the row of x that tap j reads, negative: zeros.
template <class T, int N, class Row>
static __device__ inline void convolve(Rows<T> out, Rows<const T> x, const float *weight, int taps, Place p, Row row) {
    Piece<N> sum = {};
    for (int j = 0; j < taps; j++) {
        int from = row(j);
        Piece<N> y = {};
        if (from >= 0) y = load_piece<N>(x.at(from, p.col));
#pragma unroll
        for (int i = 0; i < N; i++) sum.at[i] += weight[(int64_t)(p.col + i) * taps + j] * y.at[i];
    }
    store_piece<N>(out.at(p.row, p.col), sum);
}

template <class T, int N>
static __global__ void short_conv(Rows<T> out, Rows<const T> x, const float *weight, int taps, AttentionShape s,
                                  uint32_t rows, uint32_t pieces) {
    Place p = place_of(rows, pieces, N);
    if (!p.inside) return;
    bool in_sample = (int)p.row < s.q_start[s.samples];
    int first = in_sample ? s.k_start[attention_sample(&s, p.row)] : 0, pos = in_sample ? s.q_pos[p.row] : -taps;
    convolve<T, N>(out, x, weight, taps, p, [&](int j) {
        int at = pos - (taps - 1 - j);
        return at < 0 ? -1 : first + at;
    });
}

template <class T, int N>
static __global__ void short_conv_backward(Rows<T> dx, Rows<const T> dout, const float *weight, int taps,
                                           AttentionShape s, uint32_t rows, uint32_t pieces) {
    Place p = place_of(rows, pieces, N);
    if (!p.inside) return;
    int end = s.q_start[s.samples], pos = (int)p.row < end ? s.q_pos[p.row] : 0;
    convolve<T, N>(dx, dout, weight, taps, p, [&](int j) { // a later token of the same sample?
        int after = taps - 1 - j, at = (int)p.row + after;
        return at < end && s.q_pos[at] == pos + after ? at : -1;
    });
}

static bool check_conv(Backend *b, Mat out, Mat x, int64_t taps) {
    CHECK(taps > 0 && taps <= SHORT_CONV_MAX_TAPS, "%ld taps", taps);
    CHECK_MAT(out, b->activation, out.rows, out.cols);
    CHECK_MAT(x, b->activation, x.rows, out.cols);
    return vectors_fit(out) && vectors_fit(x);
}

void cuda_short_conv_forward(Backend *b, Mat out, Mat x, const float *weight, int64_t taps, const AttentionShape *s) {
    bool fit = check_conv(b, out, x, taps);
    DISPATCH_PIECES(b->activation, fit, T, N,
                    RUN_EACH(b, (short_conv<T, N>), out.rows, out.cols / N, rows_of<T>(out), rows_of<const T>(x),
                             weight, (int)taps, *s));
}

void cuda_short_conv_backward(Backend *b, Mat dx, Mat dout, const float *weight, int64_t taps,
                              const AttentionShape *s) {
    bool fit = check_conv(b, dx, dout, taps);
    DISPATCH_PIECES(b->activation, fit, T, N,
                    RUN_EACH(b, (short_conv_backward<T, N>), dx.rows, dx.cols / N, rows_of<T>(dx),
                             rows_of<const T>(dout), weight, (int)taps, *s));
}
