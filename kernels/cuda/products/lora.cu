// lora: the LoRA pair of a linear, as products, and its dropout, whose mask is recomputed at each use. A and B, float32
// parameters, are rounded to the activation type into the workspace at each call.
#include "device.cuh"
#include "matmul.h"

// ---- rounding ----

struct Rounding { // dst = src [n]
    void *dst;
    const float *src;
    int64_t n;
};

// Rounds both in one launch.
template <class T> static __global__ void round_floats(Rounding one, Rounding two) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < one.n)
        store((T *)one.dst + i, one.src[i]);
    else if (i < one.n + two.n)
        store((T *)two.dst + (i - one.n), two.src[i - one.n]);
}

static void round_two(Backend *b, DType type, Rounding one, Rounding two) {
    enum { THREADS = 256 };
    DISPATCH(type, T, RUN(b, (round_floats<T>), blocks_of(one.n + two.n, THREADS), THREADS, 0, one, two));
}

void cuda_round(Backend *b, void *dst, DType type, const float *src, int64_t n) {
    round_two(b, type, {dst, src, n}, {});
}

// ---- dropout ----

struct Drop {
    int64_t rows, cols, out_stride, x_stride;
    bool wide; // load_eight
    TokenKeys keys;
    float dropout, factor;
};

// y = y * the factors of drop at row t, columns [at, at + 8).
static __device__ void drop_eight(float *y, const Drop &d, int64_t t, int64_t at) {
    RngKey key = token_key(&d.keys, t);
    uint32_t token = token_index(&d.keys, t);
#pragma unroll
    for (int group = 0; group < 2; group++) {
        uint32_t words[4];
        rng_philox(key, token, (uint32_t)(at / 4 + group), words);
        for (int i = 0; i < 4; i++) y[4 * group + i] *= rng_keep(words[i], d.dropout) ? d.factor : 0;
    }
}

// ADD false: out = drop(x); true: out += drop(x).
template <class T, bool ADD> static __global__ void drop(T *out, const T *x, Drop d) {
    int64_t chunks = (d.cols + 7) / 8, chunk = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (chunk >= d.rows * chunks) return;
    int64_t t = chunk / chunks, at = chunk % chunks * 8;
    int n = d.cols - at < 8 ? (int)(d.cols - at) : 8;
    float y[8], sum[8];
    load_eight(y, x + t * d.x_stride + at, n, d.wide);
    drop_eight(y, d, t, at);
    T *p = out + t * d.out_stride + at;
    if (ADD) {
        load_eight(sum, p, n, d.wide);
        for (int i = 0; i < 8; i++) y[i] += sum[i];
    }
    store_eight(p, y, n, d.wide);
}

template <bool ADD> static void run_drop(Backend *b, Mat out, Mat x, const Lora *l) {
    enum { THREADS = 256 };
    unsigned blocks = blocks_of(x.rows * ceil_div(x.cols, 8), THREADS);
    CHECK(out.dtype == x.dtype);
    bool wide = vectors_fit(out) && vectors_fit(x) && x.cols % 8 == 0;
    float factor = (float)(1 / (1 - (double)l->dropout));
    Drop d = {x.rows, x.cols, mat_stride(out), mat_stride(x), wide, l->keys, l->dropout, factor};
    DISPATCH(x.dtype, T, RUN(b, (drop<T, ADD>), blocks, THREADS, 0, (T *)out.data, (const T *)x.data, d));
}

// ---- the op ----

// The matrices in the workspace (sizes.h).
typedef struct LoraParts {
    Mat a, b, dxa, dropped;
} LoraParts;

static LoraParts lora_parts(const Backend *b, const Lora *l, int64_t t, int64_t k, void *ws) {
    DType type = b->activation;
    LoraSizes at = cuda_lora_sizes(type, l, t, k);
    char *p = (char *)ws;
    bool rounded = type != DTYPE_F32;
    LoraParts parts = {mat_of(rounded ? p + at.a : (void *)l->a, type, l->rank, k),
                       mat_of(rounded ? p + at.b : (void *)l->b, type, l->rows, l->rank),
                       mat_of(p + at.dxa, type, t, l->rank), mat_of(p + at.dropped, type, t, k)};
    return parts;
}

static void check_lora(const Backend *b, const Lora *l, Mat y, Mat xa, Mat x) {
    DType type = b->activation;
    CHECK(x.rows == y.rows && x.rows == xa.rows && xa.cols == l->rank && l->rank > 0 && l->row_offset >= 0 &&
              l->row_offset + l->rows <= y.cols && x.dtype == type && xa.dtype == type && y.dtype == type,
          "lora of rank %ld over rows [%ld, +%ld): x [%ld, %ld], xa [%ld, %ld], y [%ld, %ld]", l->rank, l->row_offset,
          l->rows, x.rows, x.cols, xa.rows, xa.cols, y.rows, y.cols);
}

static LoraParts begin_lora(Backend *b, const Lora *l, Mat x, void *ws) {
    LoraParts p = lora_parts(b, l, x.rows, x.cols, ws);
    if (b->activation != DTYPE_F32)
        round_two(b, b->activation, {p.a.data, l->a, l->rank * x.cols}, {p.b.data, l->b, l->rows * l->rank});
    return p;
}

struct Factor {
    Mat m;
    bool transposed = false;
};

static void multiply(Backend *b, Mat c, Factor left, Factor right, float alpha, float beta) {
    Product p = {};
    p.c = c;
    p.a = left.m;
    p.a_t = left.transposed;
    p.b = right.m;
    p.b_t = right.transposed;
    p.alpha = alpha;
    p.beta = beta;
    cuda_product(b, &p);
}

static Mat dropped(Backend *b, const LoraParts *p, const Lora *l, Mat x) {
    if (l->dropout == 0) return x;
    run_drop<false>(b, p->dropped, x, l);
    return p->dropped;
}

void cuda_lora_forward(Backend *b, Mat y, Mat xa, Mat x, const Lora *l, void *ws) {
    if (cuda_failed(b) || x.rows == 0) return;
    check_lora(b, l, y, xa, x);
    LoraParts p = begin_lora(b, l, x, ws);
    multiply(b, xa, {dropped(b, &p, l, x)}, {p.a, true}, 1, 0);
    multiply(b, cuda_columns(y, l->row_offset, l->rows), {xa}, {p.b, true}, l->scale, 1);
}

void cuda_lora_backward(Backend *b, Mat dx, Mat dy, Mat x, Mat xa, const Lora *l, void *ws) {
    if (cuda_failed(b) || x.rows == 0) return;
    check_lora(b, l, dy, xa, x);
    LoraParts p = begin_lora(b, l, x, ws);
    Mat dy_part = cuda_columns(dy, l->row_offset, l->rows);
    multiply(b, p.dxa, {dy_part}, {p.b}, l->scale, 0);
    if (l->db) multiply(b, mat_of(l->db, DTYPE_F32, l->rows, l->rank), {dy_part, true}, {xa}, l->scale, 1);
    if (l->da) multiply(b, mat_of(l->da, DTYPE_F32, l->rank, x.cols), {p.dxa, true}, {dropped(b, &p, l, x)}, 1, 1);
    if (!dx.data) return;
    CHECK(dx.rows == x.rows && dx.cols == x.cols && dx.dtype == x.dtype);
    if (l->dropout == 0) {
        multiply(b, dx, {p.dxa}, {p.a}, 1, 1);
    } else {
        multiply(b, p.dropped, {p.dxa}, {p.a}, 1, 0);
        run_drop<true>(b, dx, p.dropped, l);
    }
}
