// dora: DoRA, lengths of the rows of W + scale B A and their magnitudes.
#include "rows.cuh"

// ---- norm: a panel of rows of W at a time, as float32 ----

enum { NORM_BLOCK = 256, NORM_ROWS = 4 }; // rows of a block, so that A is read once for all

// Of the first rows under l; w: these rows.
static __global__ void row_norms(float *norm, const float *w, int64_t rows, int64_t k, Lora l) {
    int64_t first = (int64_t)blockIdx.x * NORM_ROWS;
    int n = rows - first < NORM_ROWS ? (int)(rows - first) : (int)NORM_ROWS;
    float squares[NORM_ROWS] = {};
    for (int64_t j = threadIdx.x; j < k; j += NORM_BLOCK) {
        float sum[NORM_ROWS] = {};
        for (int64_t r = 0; r < l.rank; r++) {
            float x = l.a[r * k + j];
            for (int i = 0; i < n; i++) sum[i] += l.b[(first + i) * l.rank + r] * x;
        }
        for (int i = 0; i < n; i++) {
            float x = w[(first + i) * k + j] + l.scale * sum[i];
            squares[i] += x * x;
        }
    }
    for (int i = 0; i < n; i++) {
        float sum = block_sum(squares[i]);
        if (threadIdx.x == 0) norm[first + i] = sqrtf(sum);
    }
}

void cuda_dora_norm(Backend *b, float *norm, const Weight *w, const Lora *l, void *ws) {
    if (cuda_failed(b)) return;
    int64_t k = w->cols, panel = cuda_dora_panel(w);
    CHECK(l->row_offset >= 0 && l->row_offset + l->rows <= w->rows, "%s: rows from %ld on of %ld", w->name,
          l->row_offset, w->rows);
    Lora part = *l;
    for (int64_t at = 0; at < l->rows; at += panel, part.b += panel * l->rank) {
        int64_t rows = min64(panel, l->rows - at);
        cuda_expand(b, mat_of(ws, DTYPE_F32, rows, k), w, l->row_offset + at);
        RUN(b, row_norms, (unsigned)ceil_div(rows, NORM_ROWS), NORM_BLOCK, 0, norm + at, (const float *)ws, rows, k,
            part);
    }
}

// ---- magnitudes ----

struct Dora {
    Lora pairs[LORA_MAX_PAIRS];
    const float *bias;
};

static Dora dora_of(const Lora *l, const float *bias) {
    Dora d = {};
    for (int i = 0; i <= l->more; i++) d.pairs[i] = l[i];
    d.bias = bias;
    return d;
}

// What y - shift is multiplied by.
struct Factor {
    float g, shift;
};
static __device__ Factor factor_of(const Dora &d, int64_t col) {
    int64_t i;
    const Lora *of = dora_column(d.pairs, col, &i);
    if (!of) return {1, 0};
    return {dora_over(of, i, of->magnitude[i]), d.bias ? d.bias[col] : 0};
}

template <class T, int N>
static __global__ void dora_forward(Rows<T> out, Rows<const T> y, Dora d, uint32_t rows, uint32_t pieces) {
    Place p = place_of(rows, pieces, N);
    if (!p.inside) return;
    Piece<N> x = load_piece<N>(y.at(p.row, p.col));
#pragma unroll
    for (int i = 0; i < N; i++) {
        Factor f = factor_of(d, p.col + i);
        x.at[i] = f.g * (x.at[i] - f.shift) + f.shift;
    }
    store_piece<N>(out.at(p.row, p.col), x);
}

void cuda_dora_forward(Backend *b, Mat out, Mat y, const float *bias, const Lora *l) {
    bool fit = CHECK_ALIKE(b, y, out);
    DISPATCH_PIECES(
        b->activation, fit, T, N,
        RUN_EACH(b, (dora_forward<T, N>), y.rows, y.cols / N, rows_of<T>(out), rows_of<const T>(y), dora_of(l, bias)));
}

enum { SUM_ROWS = 8 }; // of a block, which has a warp of columns

// Each thread sums every SUM_ROWS-th row of its column.
template <class T>
static __global__ void dora_backward(Rows<T> dy, Rows<const T> dout, Rows<const T> y, Dora d, int64_t rows,
                                     int64_t cols) {
    SHARED(float, sums, [SUM_ROWS][WARP]);
    int64_t col = (int64_t)blockIdx.x * WARP + threadIdx.x % WARP;
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    float sum = 0;
    if (col < cols) {
        Factor f = factor_of(d, col);
        for (int64_t t = warp; t < rows; t += SUM_ROWS) {
            float x = load(dout.at(t, col));
            sum += x * (load(y.at(t, col)) - f.shift);
            store(dy.at(t, col), f.g * x);
        }
    }
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp || col >= cols) return;
    int64_t i;
    const Lora *of = dora_column(d.pairs, col, &i);
    if (!of || !of->dmagnitude) return;
    for (int w = 1; w < SUM_ROWS; w++) sum += sums[w][lane];
    of->dmagnitude[i] += dora_over(of, i, sum);
}

void cuda_dora_backward(Backend *b, Mat dy, Mat dout, Mat y, const float *bias, const Lora *l) {
    CHECK_ALIKE(b, y, dout, dy);
    if (!y.rows) return;
    DISPATCH(b->activation, T,
             RUN(b, dora_backward<T>, blocks_of(y.cols, WARP), WARP * SUM_ROWS, 0, rows_of<T>(dy),
                 rows_of<const T>(dout), rows_of<const T>(y), dora_of(l, bias), y.rows, y.cols));
}
