// embedding_cpu: pooling, and the losses of vectors: all in double, threads share records or vectors, sums in their
// order.
#include "cpu.h"

void CPU_FN(pool_forward)(Backend *b, Mat out, Mat x, const int32_t *start) {
    CHECK_ACT(x, x.rows, out.cols);
    CHECK_MATRIX(out, DTYPE_F32, out.rows, x.cols);
#pragma omp parallel for schedule(dynamic) num_threads(cpu_threads(b, x.rows *x.cols))
    for (int64_t s = 0; s < out.rows; s++) {
        float *to = (float *)out.data + s * out.cols, part = 1.0f / (float)(start[s + 1] - start[s]);
        for (int64_t c = 0; c < out.cols; c++) to[c] = 0;
        for (int64_t m = start[s]; m < start[s + 1]; m++) {
            const Act *row = act_row(x, m);
#pragma omp simd
            for (int64_t c = 0; c < out.cols; c++) to[c] += act_load(row[c]);
        }
        for (int64_t c = 0; c < out.cols && start[s] < start[s + 1]; c++) to[c] *= part;
    }
}

void CPU_FN(pool_backward)(Backend *b, Mat dx, Mat dout, const int32_t *start) {
    CHECK_ACT(dx, dx.rows, dout.cols);
    CHECK_MATRIX(dout, DTYPE_F32, dout.rows, dx.cols);
    for (int64_t m = start[dout.rows]; m < dx.rows; m++) memset(act_row(dx, m), 0, (size_t)dx.cols * sizeof(Act));
#pragma omp parallel for schedule(dynamic) num_threads(cpu_threads(b, dx.rows *dx.cols))
    for (int64_t s = 0; s < dout.rows; s++) {
        const float *from = (const float *)dout.data + s * dout.cols;
        float part = 1.0f / (float)(start[s + 1] - start[s]);
        for (int64_t m = start[s]; m < start[s + 1]; m++) {
            Act *row = act_row(dx, m);
#pragma omp simd
            for (int64_t c = 0; c < dx.cols; c++) row[c] = act_store(from[c] * part);
        }
    }
}

// ---- losses of vectors ----

typedef struct Batch {
    const EmbeddingLoss *l;
    EmbeddingWork w;
    const float *e;
    float *de; // NULL: no gradient
    int64_t n, cols;
} Batch;

static double dot_of(const Batch *x, int64_t u, int64_t v) {
    const float *a = x->e + u * x->cols, *p = x->e + v * x->cols;
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < x->l->dims; c++) sum += (double)a[c] * (double)p[c];
    return sum;
}

static double scaled(const Batch *x, int64_t u, int64_t v) {
    return (double)x->l->scale * dot_of(x, u, v) * x->w.inverse[u] * x->w.inverse[v];
}

static bool is_first(const Batch *x, int64_t v) { return x->l->start[x->w.record[v]] == v; }

static void measure(const Batch *x, int64_t i) {
    for (int64_t v = x->l->start[i]; v < x->l->start[i + 1]; v++) {
        double length = sqrt(dot_of(x, v, v));
        x->w.inverse[v] = x->l->cosine ? 1 / (length < 1e-12 ? 1e-12 : length) : 1;
        x->w.record[v] = (int32_t)i;
    }
}

// d += factor times the unit vector v.
static void add_vector(double *d, const Batch *x, int64_t v, double factor) {
    const float *row = x->e + v * x->cols;
    factor *= x->w.inverse[v];
#pragma omp simd
    for (int64_t c = 0; c < x->l->dims; c++) d[c] += factor * (double)row[c];
}

// d: the gradient of the unit vector v.
static void add_gradient(const Batch *x, int64_t v, const double *d) {
    const float *row = x->e + v * x->cols;
    float *to = x->de + v * x->cols;
    double own = 0, factor = (double)x->l->weight * (double)x->l->grad_scale * x->w.inverse[v];
#pragma omp simd reduction(+ : own)
    for (int64_t c = 0; c < x->l->dims; c++) own += d[c] * (double)row[c];
    own *= x->l->cosine ? x->w.inverse[v] * x->w.inverse[v] : 0;
#pragma omp simd
    for (int64_t c = 0; c < x->l->dims; c++) to[c] += (float)(factor * (d[c] - own * (double)row[c]));
}

// Similarities of record i's first vector with all candidates, then their slopes.
static void rank(const Batch *x, int64_t i) {
    double *s = x->w.s + i * x->n, most = -INFINITY, sum = 0;
    int64_t own = x->l->start[i] + 1;
    x->w.best[i] = -1;
    for (int64_t v = 0; v < x->n; v++) {
        s[v] = is_first(x, v) ? -INFINITY : scaled(x, own - 1, v);
        if (s[v] > most) most = s[v], x->w.best[i] = (int32_t)v;
    }
    for (int64_t v = 0; v < x->n; v++) sum += exp(s[v] - most);
    x->w.loss[i] = log(sum) + most - s[own];
    for (int64_t v = 0; v < x->n; v++) s[v] = exp(s[v] - most) / sum - (v == own);
}

static void rank_gradient(const Batch *x, int64_t v) {
    double *d = x->w.d + v * x->l->dims, scale = (double)x->l->scale;
    int64_t i = x->w.record[v];
    memset(d, 0, (size_t)x->l->dims * sizeof *d);
    for (int64_t u = 0; u < x->n && is_first(x, v); u++)
        if (!is_first(x, u)) add_vector(d, x, u, scale * x->w.s[i * x->n + u]);
    for (int64_t r = 0; r < x->l->records && !is_first(x, v); r++)
        add_vector(d, x, x->l->start[r], scale * x->w.s[r * x->n + v]);
    add_gradient(x, v, d);
}

// ---- scored records: similarities, slopes and terms in s ----

static void score(const Batch *x, int64_t i) {
    int64_t a = x->l->start[i];
    double s = dot_of(x, a, a + 1) * x->w.inverse[a] * x->w.inverse[a + 1], by = s - (double)x->l->score[i];
    x->w.s[i] = s;
    x->w.s[x->l->records + i] = 2 * by;
    x->w.loss[i] = by * by;
}

static void score_gradient(const Batch *x, int64_t v) {
    double *d = x->w.d + v * x->l->dims;
    int64_t i = x->w.record[v], other = is_first(x, v) ? v + 1 : v - 1;
    memset(d, 0, (size_t)x->l->dims * sizeof *d);
    add_vector(d, x, other, x->w.s[x->l->records + i]);
    add_gradient(x, v, d);
}

// Sum over j of a higher score than i's, of exp(z_i - z_j - most), and the slope of z_i.
static double higher(const Batch *x, int64_t i, double most) {
    const double *s = x->w.s;
    double sum = 0, scale = (double)x->l->scale;
    for (int64_t j = 0; j < x->l->records; j++)
        if (x->l->score[i] < x->l->score[j]) sum += exp(scale * (s[i] - s[j]) - most);
    return sum;
}

static double lower(const Batch *x, int64_t i, double most) {
    const double *s = x->w.s;
    double sum = 0, scale = (double)x->l->scale;
    for (int64_t j = 0; j < x->l->records; j++)
        if (x->l->score[j] < x->l->score[i]) sum += exp(scale * (s[j] - s[i]) - most);
    return sum;
}

static double most_above(const Batch *x, int64_t i) {
    const double *s = x->w.s;
    double most = 0;
    for (int64_t j = 0; j < x->l->records; j++) {
        double z = (double)x->l->scale * (s[i] - s[j]);
        if (x->l->score[i] < x->l->score[j] && z > most) most = z;
    }
    return most;
}

static void cosent(Backend *b, const Batch *x) {
    int64_t n = x->l->records;
    double *slope = x->w.s + n, *term = slope + n, most = 0, sum = 0;
#pragma omp parallel for num_threads(cpu_threads(b, n *n))
    for (int64_t i = 0; i < n; i++) term[i] = most_above(x, i);
    for (int64_t i = 0; i < n; i++) most = term[i] > most ? term[i] : most;
#pragma omp parallel for num_threads(cpu_threads(b, n *n))
    for (int64_t i = 0; i < n; i++) {
        term[i] = higher(x, i, most);
        slope[i] = term[i] - lower(x, i, most);
    }
    for (int64_t i = 0; i < n; i++) sum += term[i];
    sum += exp(-most);
    for (int64_t i = 0; i < n; i++) {
        slope[i] *= (double)n * (double)x->l->scale / sum;
        x->w.loss[i] = most + log(sum);
    }
}

size_t CPU_FN(embedding_loss_workspace)(Backend *b, const EmbeddingLoss *l, int64_t n) {
    return embedding_work_bytes(l, n);
}

static void similarities(Backend *b, const Batch *x, float *similarity) {
    int64_t n = x->l->records;
    bool ranks = x->l->kind == EMBEDDING_RANKING;
    // NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): of the pragmas
    int threads = cpu_threads(b, x->cols * x->n * (ranks ? n : 1));
#pragma omp parallel for num_threads(threads)
    for (int64_t i = 0; i < n; i++) measure(x, i);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t i = 0; i < n; i++) {
        int64_t a = x->l->start[i];
        if (similarity) similarity[i] = (float)(dot_of(x, a, a + 1) * x->w.inverse[a] * x->w.inverse[a + 1]);
        ranks ? rank(x, i) : score(x, i);
    }
    if (x->l->kind == EMBEDDING_COSENT) cosent(b, x);
}

void CPU_FN(embedding_loss)(Backend *b, HeadResult *result, float *similarity, Mat de, Mat e, const EmbeddingLoss *l,
                            void *ws) {
    CHECK_MATRIX(e, DTYPE_F32, e.rows, e.cols);
    if (de.data) CHECK_MATRIX(de, DTYPE_F32, e.rows, e.cols);
    CHECK(l->dims <= e.cols && l->start[l->records] == e.rows, "%ld of %ld dims", l->dims, e.cols);
    Batch x = {l, embedding_work_at(ws, l, e.rows), e.data, de.data, e.rows, e.cols};
    bool ranks = l->kind == EMBEDDING_RANKING;
    similarities(b, &x, similarity);
#pragma omp parallel for schedule(dynamic) num_threads(cpu_threads(b, e.rows *e.cols *(ranks ? l->records : 1)))
    for (int64_t v = 0; v < (de.data ? e.rows : 0); v++) ranks ? rank_gradient(&x, v) : score_gradient(&x, v);
    *result = (HeadResult){0};
    for (int64_t i = 0; i < l->records; i++) {
        result->loss += (double)l->weight * x.w.loss[i];
        result->correct += ranks && x.w.best[i] == l->start[i] + 1;
    }
}
