// embedding: pooling, and the losses of vectors: a block for each record or vector; all in double.
#include "embeddings.h"

#include "rows.cuh"

enum { POOL_BLOCK = 256, VECTOR_BLOCK = 256, SCORE_BLOCK = 1024 };

// ---- pooling: a block for each sample ----

template <class T>
static __global__ void pool_forward(Rows<float> out, Rows<const T> x, const int32_t *start, int64_t cols) {
    int64_t s = blockIdx.x, from = start[s], to = start[s + 1];
    for (int64_t c = threadIdx.x; c < cols; c += POOL_BLOCK) {
        float sum = 0;
        for (int64_t m = from; m < to; m++) sum += load(x.at(m, c));
        *out.at(s, c) = from < to ? sum * (1.0f / (float)(to - from)) : 0;
    }
}

// The block after the last sample clears the rows of padding.
template <class T>
static __global__ void pool_backward(Rows<T> dx, Rows<const float> dout, const int32_t *start, int64_t samples,
                                     int64_t rows, int64_t cols) {
    int64_t s = blockIdx.x, from = start[s], to = s < samples ? start[s + 1] : rows;
    float part = s < samples ? 1.0f / (float)(to - from) : 0;
    for (int64_t c = threadIdx.x; c < cols && from < to; c += POOL_BLOCK) {
        float d = s < samples ? *dout.at(s, c) * part : 0;
        for (int64_t m = from; m < to; m++) store(dx.at(m, c), d);
    }
}

void cuda_pool_forward(Backend *b, Mat out, Mat x, const int32_t *start) {
    CHECK_MAT(x, b->activation, x.rows, out.cols);
    CHECK_MAT(out, DTYPE_F32, out.rows, x.cols);
    DISPATCH(b->activation, T,
             RUN(b, (pool_forward<T>), (unsigned)out.rows, POOL_BLOCK, 0, rows_of<float>(out), rows_of<const T>(x),
                 start, out.cols));
}

void cuda_pool_backward(Backend *b, Mat dx, Mat dout, const int32_t *start) {
    CHECK_MAT(dx, b->activation, dx.rows, dout.cols);
    CHECK_MAT(dout, DTYPE_F32, dout.rows, dx.cols);
    DISPATCH(b->activation, T,
             RUN(b, (pool_backward<T>), (unsigned)dout.rows + 1, POOL_BLOCK, 0, rows_of<T>(dx),
                 rows_of<const float>(dout), start, dout.rows, dx.rows, dx.cols));
}

// ---- losses of vectors ----

struct Batch {
    EmbeddingLoss l;
    EmbeddingWork w;
    const float *e;
    float *de;
    int64_t n, cols;
};

static __device__ bool is_first(const Batch &x, int64_t v) { return x.l.start[x.w.record[v]] == v; }

static __device__ double dot_of(const Batch &x, int64_t u, int64_t v) {
    const float *a = x.e + u * x.cols, *p = x.e + v * x.cols;
    double sum = 0;
    for (int64_t c = 0; c < x.l.dims; c++) sum += (double)a[c] * (double)p[c];
    return sum;
}

// A block for each record.
static __global__ void measure(Batch x) {
    int64_t i = blockIdx.x;
    for (int64_t v = x.l.start[i] + threadIdx.x; v < x.l.start[i + 1]; v += VECTOR_BLOCK) {
        double length = sqrt(dot_of(x, v, v));
        x.w.inverse[v] = x.l.cosine ? 1 / (length < 1e-12 ? 1e-12 : length) : 1;
        x.w.record[v] = (int32_t)i;
    }
}

static __device__ double warp_most(double x) {
    for (int lane = WARP / 2; lane > 0; lane /= 2) x = fmax(x, __shfl_xor_sync(0xffffffffu, x, lane));
    return x;
}
static __device__ double block_most(double x) {
    return block_reduce(warp_most(x), [](double a, double b) { return fmax(a, b); });
}
static __device__ int block_least(int x) {
    for (int lane = WARP / 2; lane > 0; lane /= 2) {
        int other = __shfl_xor_sync(0xffffffffu, x, lane);
        x = other < x ? other : x;
    }
    return block_reduce(x, [](int a, int b) { return a < b ? a : b; });
}

// A block for each record: similarities of its first vector with all candidates, then their slopes.
static __global__ void rank(Batch x) {
    int64_t i = blockIdx.x, own = x.l.start[i] + 1;
    double *s = x.w.s + i * x.n, scale = x.l.scale, most = -INFINITY, sum = 0;
    for (int64_t v = threadIdx.x; v < x.n; v += VECTOR_BLOCK) {
        s[v] = is_first(x, v) ? -INFINITY : scale * dot_of(x, own - 1, v) * x.w.inverse[own - 1] * x.w.inverse[v];
        most = fmax(most, s[v]);
    }
    most = block_most(most);
    int best = INT32_MAX;
    for (int64_t v = threadIdx.x; v < x.n; v += VECTOR_BLOCK) {
        if (s[v] == most && v < best) best = (int)v;
        sum += exp(s[v] - most);
    }
    best = block_least(best);
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        x.w.best[i] = best;
        x.w.loss[i] = log(sum) + most - s[own];
    }
    __syncthreads(); // s[own] is read before it is overwritten
    for (int64_t v = threadIdx.x; v < x.n; v += VECTOR_BLOCK) s[v] = exp(s[v] - most) / sum - (v == own);
}

// One block. Similarities, slopes and terms of records with scores.
static __global__ void score(Batch x) {
    int64_t n = x.l.records;
    double *s = x.w.s, *slope = s + n, scale = x.l.scale, most = 0, sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += SCORE_BLOCK) {
        int64_t a = x.l.start[i];
        s[i] = dot_of(x, a, a + 1) * x.w.inverse[a] * x.w.inverse[a + 1];
        double by = s[i] - (double)x.l.score[i];
        slope[i] = 2 * by;
        x.w.loss[i] = by * by;
    }
    if (x.l.kind != EMBEDDING_COSENT) return;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < n; i += SCORE_BLOCK)
        for (int64_t j = 0; j < n; j++)
            if (x.l.score[i] < x.l.score[j]) most = fmax(most, scale * (s[i] - s[j]));
    most = block_most(most);
    for (int64_t i = threadIdx.x; i < n; i += SCORE_BLOCK) {
        double above = 0, below = 0;
        for (int64_t j = 0; j < n; j++) {
            if (x.l.score[i] < x.l.score[j]) above += exp(scale * (s[i] - s[j]) - most);
            if (x.l.score[j] < x.l.score[i]) below += exp(scale * (s[j] - s[i]) - most);
        }
        slope[i] = above - below;
        sum += above;
    }
    sum = block_sum(sum) + exp(-most);
    for (int64_t i = threadIdx.x; i < n; i += SCORE_BLOCK) {
        slope[i] *= (double)n * scale / sum;
        x.w.loss[i] = most + log(sum);
    }
}

static __global__ void note_similarities(float *similarity, Batch x) {
    int64_t i = (int64_t)blockIdx.x * VECTOR_BLOCK + threadIdx.x;
    if (i >= x.l.records) return;
    int64_t a = x.l.start[i];
    similarity[i] = (float)(dot_of(x, a, a + 1) * x.w.inverse[a] * x.w.inverse[a + 1]);
}

// Column c of the gradient of the unit vector v.
static __device__ double column(const Batch &x, int64_t v, int64_t c, bool ranks) {
    int64_t i = x.w.record[v];
    bool first = is_first(x, v);
    double d = 0, scale = x.l.scale;
    if (!ranks) {
        int64_t other = first ? v + 1 : v - 1;
        return x.w.s[x.l.records + i] * x.w.inverse[other] * (double)x.e[other * x.cols + c];
    }
    for (int64_t u = 0; u < x.n && first; u++)
        if (!is_first(x, u)) d += scale * x.w.s[i * x.n + u] * x.w.inverse[u] * (double)x.e[u * x.cols + c];
    for (int64_t r = 0; r < x.l.records && !first; r++) {
        int64_t u = x.l.start[r];
        d += scale * x.w.s[r * x.n + v] * x.w.inverse[u] * (double)x.e[u * x.cols + c];
    }
    return d;
}

// A block for each vector.
static __global__ void gradient(Batch x, bool ranks) {
    int64_t v = blockIdx.x;
    const float *row = x.e + v * x.cols;
    double *d = x.w.d + v * x.l.dims, own = 0, inverse = x.w.inverse[v];
    for (int64_t c = threadIdx.x; c < x.l.dims; c += VECTOR_BLOCK) {
        d[c] = column(x, v, c, ranks);
        own += d[c] * (double)row[c];
    }
    own = block_sum(own) * (x.l.cosine ? inverse * inverse : 0);
    double factor = (double)x.l.weight * (double)x.l.grad_scale * inverse;
    for (int64_t c = threadIdx.x; c < x.l.dims; c += VECTOR_BLOCK)
        x.de[v * x.cols + c] += (float)(factor * (d[c] - own * (double)row[c]));
}

static __global__ void total(HeadResult *result, Batch x, bool ranks) {
    HeadResult sum = {};
    for (int64_t i = threadIdx.x; i < x.l.records; i += VECTOR_BLOCK) {
        sum.loss += (double)x.l.weight * x.w.loss[i];
        sum.correct += ranks && x.w.best[i] == x.l.start[i] + 1;
    }
    sum.loss = block_sum(sum.loss);
    sum.correct = block_sum((long long)sum.correct);
    if (threadIdx.x == 0) *result = sum;
}

void cuda_embedding_loss(Backend *b, HeadResult *result, float *similarity, Mat de, Mat e, const EmbeddingLoss *l,
                         void *ws) {
    CHECK_MAT(e, DTYPE_F32, e.rows, e.cols);
    if (de.data) CHECK_MAT(de, DTYPE_F32, e.rows, e.cols);
    CHECK(mat_stride(e) == e.cols && (!de.data || mat_stride(de) == e.cols) && l->dims <= e.cols, "%ld dims", l->dims);
    Batch x = {*l, embedding_work_at(ws, l, e.rows), (const float *)e.data, (float *)de.data, e.rows, e.cols};
    bool ranks = l->kind == EMBEDDING_RANKING;
    RUN(b, measure, (unsigned)l->records, VECTOR_BLOCK, 0, x);
    if (ranks)
        RUN(b, rank, (unsigned)l->records, VECTOR_BLOCK, 0, x);
    else
        RUN(b, score, 1, SCORE_BLOCK, 0, x);
    if (similarity) RUN(b, note_similarities, blocks_of(l->records, VECTOR_BLOCK), VECTOR_BLOCK, 0, similarity, x);
    if (de.data) RUN(b, gradient, (unsigned)e.rows, VECTOR_BLOCK, 0, x, ranks);
    RUN(b, total, 1, VECTOR_BLOCK, 0, result, x, ranks);
}
