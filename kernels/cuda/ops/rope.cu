// rope: rotary positions (Su et al. 2021), halves layout, in place.
#include "rows.cuh"

typedef struct Rotation {
    const float *cos_sin;
    const int32_t *pos;
    uint32_t head_size, half;
    float sign; // -1: inverse
} Rotation;

// A thread for N pairs (i, i + P/2) of a head; a row of x has `pieces` such threads.
template <class T, int N> static __global__ void rope(Rows<T> x, Rotation r, uint32_t rows, uint32_t pieces) {
    Place p = place_of(rows, pieces, N);
    if (!p.inside) return;
    uint32_t head = p.col / r.half, i = p.col % r.half;
    const float *cosines = r.cos_sin + (int64_t)r.pos[p.row] * (2 * r.half) + i;
    T *lo = x.at(p.row, head * r.head_size + i), *hi = lo + r.half;
    Piece<N> l = load_piece<N>(lo), h = load_piece<N>(hi), c = load_piece<N>(cosines),
             s = load_piece<N>(cosines + r.half), low, high;
#pragma unroll
    for (int j = 0; j < N; j++) {
        low.at[j] = l.at[j] * c.at[j] - h.at[j] * (r.sign * s.at[j]);
        high.at[j] = h.at[j] * c.at[j] + l.at[j] * (r.sign * s.at[j]);
    }
    store_piece<N>(lo, low);
    store_piece<N>(hi, high);
}

void cuda_rope(Backend *b, Mat x, const float *cos_sin, const int32_t *pos, int64_t head_size, int64_t rotated,
               bool inverse) {
    CHECK_MAT(x, b->activation, x.rows, x.cols);
    check_rope(x, head_size, rotated);
    int64_t half = rotated / 2, heads = x.cols / head_size, n = 16 / (int64_t)cuda_element(b->activation);
    bool fit = vectors_fit(x) && vector_fits(cos_sin) && head_size % n == 0 && half % n == 0;
    Rotation r = {cos_sin, pos, (uint32_t)head_size, (uint32_t)half, inverse ? -1.0f : 1.0f};
    DISPATCH_PIECES(b->activation, fit, T, N, RUN_EACH(b, (rope<T, N>), x.rows, heads * half / N, rows_of<T>(x), r));
}
