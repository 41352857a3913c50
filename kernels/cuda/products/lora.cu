// lora: the LoRA pairs of a linear, as products, and their dropout, whose mask is recomputed at each use. A and B,
// float32 parameters, are rounded to the activation type into the workspace at each call. Pairs without dropout that
// follow each other have one x: their A are one matrix, so that x and dx are read and written once for all.
#include "device.cuh"
#include "matmul.h"

// ---- copies of parameters ----

struct Copy { // dst (+)= src [n]
    void *dst;
    const float *src;
    int64_t n;
};
struct Copies {
    Copy of[2 * LORA_MAX_PAIRS];
    int count;
};

// All in one launch; rounds to T.
template <class T, bool ADD> static __global__ void copy_floats(Copies c) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
#pragma unroll
    for (int k = 0; k < 2 * LORA_MAX_PAIRS; k++) {
        if (k < c.count && i >= 0 && i < c.of[k].n) {
            T *to = (T *)c.of[k].dst + i;
            store(to, c.of[k].src[i] + (ADD ? load(to) : 0));
        }
        i -= k < c.count ? c.of[k].n : 0;
    }
}

template <bool ADD> static void run_copies(Backend *b, DType type, const Copies &c) {
    enum { THREADS = 256 };
    int64_t n = 0;
    for (int k = 0; k < c.count; k++) n += c.of[k].n;
    DISPATCH(type, T, RUN(b, (copy_floats<T, ADD>), blocks_of(n, THREADS), THREADS, 0, c));
}

void cuda_round(Backend *b, void *dst, DType type, const float *src, int64_t n) {
    run_copies<false>(b, type, {{{dst, src, n}}, 1});
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

// ---- pairs of a linear ----

// The matrices in the workspace (sizes.h). a, dxa, da: of all pairs.
struct LoraParts {
    Mat a, b[LORA_MAX_PAIRS], dxa, da, dropped;
};

static LoraParts lora_parts(const Backend *b, const Lora *l, int64_t t, int64_t k, void *ws) {
    DType type = b->activation;
    LoraSizes at = cuda_lora_sizes(type, l, t, k);
    char *p = (char *)ws;
    int64_t ranks = lora_ranks(l);
    bool rounded = type != DTYPE_F32;
    LoraParts parts = {};
    parts.a = mat_of(rounded || l->more ? p + at.a : (void *)l->a, type, ranks, k);
    for (int i = 0; i <= l->more; i++)
        parts.b[i] = mat_of(rounded ? p + at.b[i] : (void *)l[i].b, type, l[i].rows, l[i].rank);
    parts.dxa = mat_of(p + at.dxa, type, t, ranks);
    parts.da = mat_of(p + at.da, DTYPE_F32, ranks, k);
    parts.dropped = mat_of(p + at.dropped, type, t, k);
    return parts;
}

static void check_lora(const Backend *b, const Lora *l, Mat y, Mat xa, Mat x) {
    DType type = b->activation;
    CHECK(l->more >= 0 && l->more < LORA_MAX_PAIRS && x.rows == y.rows && x.rows == xa.rows &&
              xa.cols == lora_ranks(l) && x.dtype == type && xa.dtype == type && y.dtype == type,
          "%d pairs of rank %ld: x [%ld, %ld], xa [%ld, %ld], y [%ld, %ld]", 1 + l->more, lora_ranks(l), x.rows, x.cols,
          xa.rows, xa.cols, y.rows, y.cols);
    for (int i = 0; i <= l->more; i++)
        CHECK(l[i].rank > 0 && l[i].row_offset >= 0 && l[i].row_offset + l[i].rows <= y.cols,
              "pair %d: rank %ld, rows [%ld, +%ld) of y [%ld, %ld]", i, l[i].rank, l[i].row_offset, l[i].rows, y.rows,
              y.cols);
}

// Rounds A and B of all pairs, or copies A where they are to be one matrix.
static LoraParts begin_lora(Backend *b, const Lora *l, Mat x, void *ws) {
    LoraParts p = lora_parts(b, l, x.rows, x.cols, ws);
    Copies c = {};
    Mat a = p.a;
    for (int i = 0; i <= l->more; i++) {
        if (a.data != l[i].a) c.of[c.count++] = {a.data, l[i].a, l[i].rank * x.cols};
        if (p.b[i].data != l[i].b) c.of[c.count++] = {p.b[i].data, l[i].b, l[i].rows * l[i].rank};
        a = mat_rows(a, l[i].rank, a.rows - l[i].rank);
    }
    if (c.count) run_copies<false>(b, b->activation, c);
    return p;
}

// Pairs [first, first + n) of an array, which one product serves: those without dropout that follow each other; with
// dropout one, as masks differ. at: of their ranks among all.
struct Joint {
    int first, n;
    int64_t at, rank;
};
static Joint next_joint(const Lora *l, Joint last) {
    Joint g = {last.first + last.n, 0, last.at + last.rank, 0};
    for (int i = g.first; i <= l->more && (g.n == 0 || (l[i - 1].dropout == 0 && l[i].dropout == 0)); i++)
        g.n++, g.rank += l[i].rank;
    return g; // after the last: none
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

// ---- pairs of experts ----

// A and B of expert 0 in the type of activations, those of the others after them; dxa.
struct ExpertPairs {
    const void *a, *b;
    Mat dxa;
    int64_t size; // elements from a pair to the next
};

static ExpertPairs begin_experts(Backend *b, const Lora *l, Mat x, void *ws) {
    LoraSizes at = cuda_lora_sizes(b->activation, l, x.rows, x.cols);
    int64_t size = l->rank * (x.cols + l->rows), offset = l->rank * x.cols;
    CHECK(l->dropout == 0 && l->more == 0 && l->row_offset == 0 && l->b == l->a + offset);
    ExpertPairs p = {l->a, l->b, mat_of((char *)ws + at.dxa, b->activation, x.rows, l->rank), size};
    if (b->activation == DTYPE_F32) return p;
    p.a = (char *)ws + at.a;
    p.b = (const char *)p.a + (size_t)offset * cuda_element(b->activation);
    cuda_round(b, (char *)ws + at.a, b->activation, l->a, l->experts->experts * size);
    return p;
}

static void forward_experts(Backend *b, Mat y, Mat xa, Mat x, const Lora *l, void *ws) {
    ExpertPairs p = begin_experts(b, l, x, ws);
    ExpertProduct down = {xa, x, p.a, p.size, l->experts, false, false, 1};
    ExpertProduct up = {y, xa, p.b, p.size, l->experts, false, true, l->scale};
    cuda_expert_product(b, &down);
    cuda_expert_product(b, &up);
}

static void backward_experts(Backend *b, Mat dx, Mat dy, Mat x, Mat xa, const Lora *l, void *ws) {
    ExpertPairs p = begin_experts(b, l, x, ws);
    ExpertProduct up = {p.dxa, dy, p.b, p.size, l->experts, true, false, l->scale};
    ExpertProduct down = {dx, p.dxa, p.a, p.size, l->experts, true, true, 1};
    cuda_expert_product(b, &up);
    if (l->db) cuda_expert_gradient(b, l->db, dy, xa, &up);
    if (l->da) cuda_expert_gradient(b, l->da, p.dxa, x, &down);
    if (dx.data) cuda_expert_product(b, &down);
}

// ---- the op ----

void cuda_lora_forward(Backend *b, Mat y, Mat xa, Mat x, const Lora *l, void *ws) {
    if (cuda_failed(b) || x.rows == 0) return;
    check_lora(b, l, y, xa, x);
    if (l->experts) return forward_experts(b, y, xa, x, l, ws);
    LoraParts p = begin_lora(b, l, x, ws);
    for (Joint g = next_joint(l, {}); g.first <= l->more; g = next_joint(l, g))
        multiply(b, cuda_columns(xa, g.at, g.rank), {dropped(b, &p, l + g.first, x)},
                 {mat_rows(p.a, g.at, g.rank), true}, 1, 0);
    int64_t at = 0;
    for (int i = 0; i <= l->more; at += l[i++].rank)
        multiply(b, cuda_columns(y, l[i].row_offset, l[i].rows), {cuda_columns(xa, at, l[i].rank)}, {p.b[i], true},
                 l[i].scale, 1);
}

// dA of pairs with one product: one product, which is added to each pair's.
static void backward_a(Backend *b, const LoraParts *p, const Lora *l, const Joint &g, Mat x) {
    Mat dxa = cuda_columns(p->dxa, g.at, g.rank), in = dropped(b, p, l + g.first, x);
    if (g.n == 1) {
        multiply(b, mat_of(l[g.first].da, DTYPE_F32, g.rank, x.cols), {dxa, true}, {in}, 1, 1);
        return;
    }
    multiply(b, mat_rows(p->da, 0, g.rank), {dxa, true}, {in}, 1, 0);
    Copies c = {};
    const float *from = (const float *)p->da.data;
    for (int i = g.first; i < g.first + g.n; from += l[i++].rank * x.cols)
        if (l[i].da) c.of[c.count++] = {l[i].da, from, l[i].rank * x.cols};
    run_copies<true>(b, DTYPE_F32, c);
}

static void backward_x(Backend *b, Mat dx, const LoraParts *p, const Lora *l, const Joint &g) {
    Mat dxa = cuda_columns(p->dxa, g.at, g.rank), a = mat_rows(p->a, g.at, g.rank);
    if (l[g.first].dropout == 0) {
        multiply(b, dx, {dxa}, {a}, 1, 1);
    } else {
        multiply(b, p->dropped, {dxa}, {a}, 1, 0);
        run_drop<true>(b, dx, p->dropped, l + g.first);
    }
}

void cuda_lora_backward(Backend *b, Mat dx, Mat dy, Mat x, Mat xa, const Lora *l, void *ws) {
    if (cuda_failed(b) || x.rows == 0) return;
    check_lora(b, l, dy, xa, x);
    CHECK(!dx.data || (dx.rows == x.rows && dx.cols == x.cols && dx.dtype == x.dtype));
    if (l->experts) return backward_experts(b, dx, dy, x, xa, l, ws);
    LoraParts p = begin_lora(b, l, x, ws);
    int64_t at = 0;
    for (int i = 0; i <= l->more; at += l[i++].rank) {
        Mat dy_part = cuda_columns(dy, l[i].row_offset, l[i].rows), low = cuda_columns(xa, at, l[i].rank);
        multiply(b, cuda_columns(p.dxa, at, l[i].rank), {dy_part}, {p.b[i]}, l[i].scale, 0);
        if (l[i].db)
            multiply(b, mat_of(l[i].db, DTYPE_F32, l[i].rows, l[i].rank), {dy_part, true}, {low}, l[i].scale, 1);
    }
    for (Joint g = next_joint(l, {}); g.first <= l->more; g = next_joint(l, g)) {
        bool trained = false;
        for (int i = g.first; i < g.first + g.n; i++) trained |= l[i].da != NULL;
        if (trained) backward_a(b, &p, l, g, x);
        if (dx.data) backward_x(b, dx, &p, l, g);
    }
}
