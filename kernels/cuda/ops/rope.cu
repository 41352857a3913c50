// rope: rotary positions (Su et al. 2021), in place.
#include "rows.cuh"

typedef struct Rotation {
    const float *cos_sin;
    const int32_t *pos;
    uint32_t head_size, half;
    float sign; // -1: inverse
} Rotation;

// A thread for N pairs of a head, two pieces of N neighbours; a row of x has `pieces` such threads.
template <class T, int N, bool INTERLEAVED>
static __global__ void rope(Rows<T> x, Rotation r, uint32_t rows, uint32_t pieces) {
    Place p = place_of(rows, pieces, N);
    if (!p.inside) return;
    uint32_t head = p.col / r.half, i = p.col % r.half;
    const float *cosines = r.cos_sin + (int64_t)r.pos[p.row] * (2 * r.half) + i;
    T *lo = x.at(p.row, head * r.head_size + (INTERLEAVED ? 2 * i : i)), *hi = lo + (INTERLEAVED ? N : r.half);
    Piece<N> c = load_piece<N>(cosines), s = load_piece<N>(cosines + r.half);
    Piece<N> both[2] = {load_piece<N>(lo), load_piece<N>(hi)};
#pragma unroll
    for (int j = 0; j < N; j++) {
        float &a = INTERLEAVED ? both[2 * j / N].at[2 * j % N] : both[0].at[j];
        float &b = INTERLEAVED ? both[(2 * j + 1) / N].at[(2 * j + 1) % N] : both[1].at[j];
        float l = a, h = b;
        a = l * c.at[j] - h * (r.sign * s.at[j]);
        b = h * c.at[j] + l * (r.sign * s.at[j]);
    }
    store_piece<N>(lo, both[0]);
    store_piece<N>(hi, both[1]);
}

void cuda_rope(Backend *b, Mat x, const RopeTable *table, bool inverse) {
    CHECK_MAT(x, b->activation, x.rows, x.cols);
    check_rope(x, table);
    int64_t head_size = table->head_size, half = table->rotated / 2, heads = x.cols / head_size;
    int64_t n = 16 / (int64_t)cuda_element(b->activation);
    bool fit = vectors_fit(x) && vector_fits(table->cos_sin) && head_size % n == 0 && half % n == 0;
    Rotation r = {table->cos_sin, table->pos, (uint32_t)head_size, (uint32_t)half, inverse ? -1.0f : 1.0f};
    if (table->interleaved)
        DISPATCH_PIECES(b->activation, fit, T, N,
                        RUN_EACH(b, (rope<T, N, true>), x.rows, heads * half / N, rows_of<T>(x), r));
    else
        DISPATCH_PIECES(b->activation, fit, T, N,
                        RUN_EACH(b, (rope<T, N, false>), x.rows, heads * half / N, rows_of<T>(x), r));
}
