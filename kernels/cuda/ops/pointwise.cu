// pointwise: add, soft-cap, NEFTune.
#include "rows.cuh"

template <class T, int N> static __global__ void add(Rows<T> dst, Rows<const T> src, uint32_t rows, uint32_t pieces) {
    Place p = place_of(rows, pieces, N);
    if (!p.inside) return;
    Piece<N> sum = load_piece<N>(dst.at(p.row, p.col)), x = load_piece<N>(src.at(p.row, p.col));
#pragma unroll
    for (int i = 0; i < N; i++) sum.at[i] += x.at[i];
    store_piece<N>(dst.at(p.row, p.col), sum);
}

void cuda_add(Backend *b, Mat dst, Mat src) {
    bool fit = CHECK_ALIKE(b, src, dst);
    DISPATCH_PIECES(b->activation, fit, T, N,
                    RUN_EACH(b, (add<T, N>), src.rows, src.cols / N, rows_of<T>(dst), rows_of<const T>(src)));
}

template <class T, int N> static __global__ void softcap(Rows<T> x, float cap, uint32_t rows, uint32_t pieces) {
    Place p = place_of(rows, pieces, N);
    if (!p.inside) return;
    Piece<N> y = load_piece<N>(x.at(p.row, p.col));
#pragma unroll
    for (int i = 0; i < N; i++) y.at[i] = cap * tanhf(y.at[i] / cap);
    store_piece<N>(x.at(p.row, p.col), y);
}

void cuda_softcap(Backend *b, Mat x, float cap) {
    CHECK_MAT(x, DTYPE_F32, x.rows, x.cols);
    DISPATCH_PIECES(DTYPE_F32, vectors_fit(x), T, N,
                    RUN_EACH(b, (softcap<T, N>), x.rows, x.cols / N, rows_of<T>(x), cap));
}

// A thread for each four columns, which share their random words.
template <class T>
static __global__ void neftune(Rows<T> x, const float *magnitude, float alpha, TokenKeys keys, uint32_t cols,
                               uint32_t rows, uint32_t pieces) {
    Place p = place_of(rows, pieces, 4);
    if (!p.inside) return;
    uint32_t words[4];
    rng_philox(token_key(&keys, p.row), token_index(&keys, p.row), p.col / 4, words);
    float strength = alpha * magnitude[p.row];
    for (uint32_t i = 0; i < 4 && p.col + i < cols; i++) {
        T *element = x.at(p.row, p.col + i);
        store(element, load(element) + strength * rng_symmetric(words[i]));
    }
}

void cuda_neftune(Backend *b, Mat x, const float *magnitude, float alpha, const TokenKeys *keys) {
    CHECK_MAT(x, b->activation, x.rows, x.cols);
    DISPATCH(
        b->activation, T,
        RUN_EACH(b, neftune<T>, x.rows, ceil_div(x.cols, 4), rows_of<T>(x), magnitude, alpha, *keys, (uint32_t)x.cols));
}
