// norm: RMS normalisation (Zhang & Sennrich 2019) and layer normalisation (Ba et al. 2016).
//
// One warp for each group of columns that are normalised together, or one block where the group is long; the choice and
// the order of a sum depend on the group's length alone. A row is read again from the first-level cache.
#include "rows.cuh"

enum { BLOCK = 256, LONG_GROUP = 2048 }; // elements

// The threads of one group: THREADS of them, a warp or the block.
template <int THREADS> struct Team {
    static constexpr int per_block = BLOCK / THREADS;
    __device__ static uint32_t group() { return blockIdx.x * per_block + threadIdx.x / THREADS; }
    __device__ static uint32_t member() { return threadIdx.x % THREADS; }
    __device__ static float sum(float x) {
        if constexpr (THREADS == WARP)
            return warp_sum(x);
        else
            return block_sum(x);
    }
};

// Launches kernel<T, N, THREADS> with a team for each of `count` groups of `length` columns.
#define RUN_TEAMS(b, kernel, dtype, fit, count, length, ...)                                                           \
    DISPATCH_PIECES(                                                                                                   \
        dtype, fit, T, N,                                                                                              \
        if ((length) < LONG_GROUP) {                                                                                   \
            unsigned grid = (unsigned)ceil_div(count, Team<WARP>::per_block);                                          \
            if (grid) RUN(b, (kernel<T, N, WARP>), grid, BLOCK, 0, __VA_ARGS__);                                       \
        } else if (count) { RUN(b, (kernel<T, N, BLOCK>), (unsigned)(count), BLOCK, 0, __VA_ARGS__); })

// ---- rmsnorm ----

// Group `group` of a matrix of rows of `per_row` groups of `length` columns.
typedef struct Groups {
    uint32_t count, per_row, length;
} Groups;

static Groups groups_of(Mat x, int64_t per_row) {
    CHECK(per_row > 0 && x.cols % per_row == 0 && x.cols <= INT32_MAX && x.rows * per_row <= INT32_MAX,
          "%ld groups of each row of [%ld, %ld]", per_row, x.rows, x.cols);
    return {(uint32_t)(x.rows * per_row), (uint32_t)per_row, (uint32_t)(x.cols / per_row)};
}

template <class T, int N, int THREADS>
static __global__ void rmsnorm_forward(Rows<T> out, Rows<float> rstd, Rows<const T> x, const float *weight, Groups g,
                                       float eps) {
    uint32_t group = Team<THREADS>::group(), t = group / g.per_row, head = group % g.per_row;
    if (group >= g.count) return; // a whole warp
    const T *from = x.at(t, (int64_t)head * g.length);
    T *to = out.at(t, (int64_t)head * g.length);
    float sum = 0;
    for (uint32_t c = Team<THREADS>::member() * N; c < g.length; c += THREADS * N) {
        Piece<N> p = load_piece<N>(from + c);
#pragma unroll
        for (int i = 0; i < N; i++) sum += p.at[i] * p.at[i];
    }
    float r = 1 / sqrtf(Team<THREADS>::sum(sum) / (float)g.length + eps);
    for (uint32_t c = Team<THREADS>::member() * N; c < g.length; c += THREADS * N) {
        Piece<N> p = load_piece<N>(from + c), w = load_piece<N>(weight + c);
#pragma unroll
        for (int i = 0; i < N; i++) p.at[i] *= r * w.at[i];
        store_piece<N>(to + c, p);
    }
    if (Team<THREADS>::member() == 0) *rstd.at(t, head) = r;
}

void cuda_rmsnorm_forward(Backend *b, Mat out, Mat rstd, Mat x, const float *weight, float eps) {
    Groups g = groups_of(x, rstd.cols);
    CHECK_MAT(rstd, DTYPE_F32, x.rows, g.per_row);
    bool fit = CHECK_ALIKE(b, x, out) && vector_fits(weight) && g.length % 8 == 0;
    RUN_TEAMS(b, rmsnorm_forward, b->activation, fit, g.count, g.length, rows_of<T>(out), rows_of<float>(rstd),
              rows_of<const T>(x), weight, g, eps);
}

// With n = x r and g = dout w:  dx = r (g - n mean(g n)).
template <class T, int N, int THREADS>
static __global__ void rmsnorm_backward(Rows<T> dx, Rows<const T> dout, Rows<const T> x, Rows<const float> rstd,
                                        const float *weight, Groups g, bool accumulate) {
    uint32_t group = Team<THREADS>::group(), t = group / g.per_row, head = group % g.per_row;
    if (group >= g.count) return; // a whole warp
    const T *from = x.at(t, (int64_t)head * g.length), *dy = dout.at(t, (int64_t)head * g.length);
    T *to = dx.at(t, (int64_t)head * g.length);
    float sum = 0, r = *rstd.at(t, head);
    for (uint32_t c = Team<THREADS>::member() * N; c < g.length; c += THREADS * N) {
        Piece<N> p = load_piece<N>(from + c), d = load_piece<N>(dy + c), w = load_piece<N>(weight + c);
#pragma unroll
        for (int i = 0; i < N; i++) sum += d.at[i] * w.at[i] * (p.at[i] * r);
    }
    float mean = Team<THREADS>::sum(sum) / (float)g.length;
    for (uint32_t c = Team<THREADS>::member() * N; c < g.length; c += THREADS * N) {
        Piece<N> p = load_piece<N>(from + c), d = load_piece<N>(dy + c), w = load_piece<N>(weight + c), old = {};
        if (accumulate) old = load_piece<N>(to + c);
#pragma unroll
        for (int i = 0; i < N; i++) old.at[i] += r * (d.at[i] * w.at[i] - p.at[i] * r * mean);
        store_piece<N>(to + c, old);
    }
}

void cuda_rmsnorm_backward(Backend *b, Mat dx, Mat dout, Mat x, Mat rstd, const float *weight, bool accumulate) {
    Groups g = groups_of(x, rstd.cols);
    CHECK_MAT(rstd, DTYPE_F32, x.rows, g.per_row);
    bool fit = CHECK_ALIKE(b, x, dx, dout) && vector_fits(weight) && g.length % 8 == 0;
    RUN_TEAMS(b, rmsnorm_backward, b->activation, fit, g.count, g.length, rows_of<T>(dx), rows_of<const T>(dout),
              rows_of<const T>(x), rows_of<const float>(rstd), weight, g, accumulate);
}

// ---- layernorm ----

// Mean and variance in two passes: the mean of the squares minus the square of the mean would cancel.
template <class T, int N, int THREADS>
static __global__ void layernorm_forward(Rows<T> out, Rows<float> stats, Rows<const T> x, const float *weight,
                                         const float *bias, Groups g, float eps) {
    uint32_t t = Team<THREADS>::group(), cols = g.length;
    if (t >= g.count) return; // a whole warp
    const T *from = x.at(t, 0);
    float sum = 0, squares = 0;
    for (uint32_t c = Team<THREADS>::member() * N; c < cols; c += THREADS * N) {
        Piece<N> p = load_piece<N>(from + c);
#pragma unroll
        for (int i = 0; i < N; i++) sum += p.at[i];
    }
    float mean = Team<THREADS>::sum(sum) / (float)cols;
    for (uint32_t c = Team<THREADS>::member() * N; c < cols; c += THREADS * N) {
        Piece<N> p = load_piece<N>(from + c);
#pragma unroll
        for (int i = 0; i < N; i++) squares += (p.at[i] - mean) * (p.at[i] - mean);
    }
    float r = 1 / sqrtf(Team<THREADS>::sum(squares) / (float)cols + eps);
    for (uint32_t c = Team<THREADS>::member() * N; c < cols; c += THREADS * N) {
        Piece<N> p = load_piece<N>(from + c), w = load_piece<N>(weight + c), shift = load_piece<N>(bias + c);
#pragma unroll
        for (int i = 0; i < N; i++) p.at[i] = (p.at[i] - mean) * r * w.at[i] + shift.at[i];
        store_piece<N>(out.at(t, c), p);
    }
    if (Team<THREADS>::member() == 0) *stats.at(t, 0) = mean, *stats.at(t, 1) = r;
}

void cuda_layernorm_forward(Backend *b, Mat out, Mat stats, Mat x, const float *weight, const float *bias, float eps) {
    Groups g = groups_of(x, 1);
    CHECK_MAT(stats, DTYPE_F32, x.rows, 2);
    bool fit = CHECK_ALIKE(b, x, out) && vector_fits(weight) && vector_fits(bias);
    RUN_TEAMS(b, layernorm_forward, b->activation, fit, g.count, g.length, rows_of<T>(out), rows_of<float>(stats),
              rows_of<const T>(x), weight, bias, g, eps);
}

// With n = (x - mean) r and g = dout w:  dx = r (g - mean(g) - n mean(g n)).
template <class T, int N, int THREADS>
static __global__ void layernorm_backward(Rows<T> dx, Rows<const T> dout, Rows<const T> x, Rows<const float> stats,
                                          const float *weight, Groups g, bool accumulate) {
    uint32_t t = Team<THREADS>::group(), cols = g.length;
    if (t >= g.count) return; // a whole warp
    const T *from = x.at(t, 0), *dy = dout.at(t, 0);
    float mean = *stats.at(t, 0), r = *stats.at(t, 1), sum_g = 0, sum_gn = 0;
    for (uint32_t c = Team<THREADS>::member() * N; c < cols; c += THREADS * N) {
        Piece<N> p = load_piece<N>(from + c), d = load_piece<N>(dy + c), w = load_piece<N>(weight + c);
#pragma unroll
        for (int i = 0; i < N; i++) {
            float dn = d.at[i] * w.at[i];
            sum_g += dn;
            sum_gn += dn * ((p.at[i] - mean) * r);
        }
    }
    float mean_g = Team<THREADS>::sum(sum_g) / (float)cols, mean_gn = Team<THREADS>::sum(sum_gn) / (float)cols;
    for (uint32_t c = Team<THREADS>::member() * N; c < cols; c += THREADS * N) {
        Piece<N> p = load_piece<N>(from + c), d = load_piece<N>(dy + c), w = load_piece<N>(weight + c), old = {};
        if (accumulate) old = load_piece<N>(dx.at(t, c));
#pragma unroll
        for (int i = 0; i < N; i++) old.at[i] += r * (d.at[i] * w.at[i] - mean_g - (p.at[i] - mean) * r * mean_gn);
        store_piece<N>(dx.at(t, c), old);
    }
}

void cuda_layernorm_backward(Backend *b, Mat dx, Mat dout, Mat x, Mat stats, const float *weight, bool accumulate) {
    Groups g = groups_of(x, 1);
    CHECK_MAT(stats, DTYPE_F32, x.rows, 2);
    bool fit = CHECK_ALIKE(b, x, dx, dout) && vector_fits(weight);
    RUN_TEAMS(b, layernorm_backward, b->activation, fit, g.count, g.length, rows_of<T>(dx), rows_of<const T>(dout),
              rows_of<const T>(x), rows_of<const float>(stats), weight, g, accumulate);
}
