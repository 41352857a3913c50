// embedding_ref: pooling and the losses of vectors, reference: formulas as embeddings.h has them, derivatives worked
// out by hand.
#include "ref.h"

#include <math.h>

void ref_pool_forward(Backend *b, Mat out, Mat x, const int32_t *start) {
    CHECK_SHAPE(out, out.rows, x.cols);
    for (int64_t s = 0; s < out.rows; s++)
        for (int64_t c = 0; c < out.cols; c++) {
            double sum = 0;
            for (int64_t m = start[s]; m < start[s + 1]; m++) sum += (double)f32_row(x, m)[c];
            f32_row(out, s)[c] = start[s] < start[s + 1] ? (float)(sum / (start[s + 1] - start[s])) : 0;
        }
}

void ref_pool_backward(Backend *b, Mat dx, Mat dout, const int32_t *start) {
    CHECK_SHAPE(dout, dout.rows, dx.cols);
    for (int64_t m = start[dout.rows]; m < dx.rows; m++)
        for (int64_t c = 0; c < dx.cols; c++) f32_row(dx, m)[c] = 0;
    for (int64_t s = 0; s < dout.rows; s++)
        for (int64_t m = start[s]; m < start[s + 1]; m++)
            for (int64_t c = 0; c < dx.cols; c++)
                f32_row(dx, m)[c] = (float)((double)f32_row(dout, s)[c] / (start[s + 1] - start[s]));
}

// ---- similarities ----

typedef struct Batch {
    const EmbeddingLoss *l;
    Mat e, de; // de.data NULL: no gradient
} Batch;

static double dot_of(const Batch *x, int64_t u, int64_t v) {
    return ref_dot(f32_row(x->e, u), f32_row(x->e, v), x->l->dims);
}

static double length_of(const Batch *x, int64_t v) {
    double length = sqrt(dot_of(x, v, v));
    return !x->l->cosine ? 1 : length < 1e-12 ? 1e-12 : length;
}

static double similarity_of(const Batch *x, int64_t u, int64_t v) {
    return dot_of(x, u, v) / (length_of(x, u) * length_of(x, v));
}

// Adds slope times the gradient of s(u, v).
static void add_gradient(const Batch *x, int64_t u, int64_t v, double slope) {
    const EmbeddingLoss *l = x->l;
    double nu = length_of(x, u), nv = length_of(x, v), s = similarity_of(x, u, v);
    if (!l->cosine) s = 0;
    for (int64_t c = 0; c < l->dims; c++) {
        double a = f32_row(x->e, u)[c] / nu, p = f32_row(x->e, v)[c] / nv;
        f32_row(x->de, u)[c] += (float)(l->grad_scale * slope * (p - s * a) / nu);
        f32_row(x->de, v)[c] += (float)(l->grad_scale * slope * (a - s * p) / nv);
    }
}

// ---- losses ----

static bool is_first(const EmbeddingLoss *l, int64_t v) {
    for (int64_t i = 0; i < l->records; i++)
        if (l->start[i] == v) return true;
    return false;
}

static void ranking(HeadResult *result, const Batch *x, int64_t i) {
    const EmbeddingLoss *l = x->l;
    int64_t a = l->start[i], best = -1;
    double sum = 0, most = -INFINITY, scale = l->scale;
    for (int64_t v = 0; v < x->e.rows; v++)
        if (!is_first(l, v) && similarity_of(x, a, v) > most) most = similarity_of(x, a, best = v);
    for (int64_t v = 0; v < x->e.rows; v++)
        if (!is_first(l, v)) sum += exp(scale * (similarity_of(x, a, v) - most));
    result->loss += l->weight * (log(sum) + scale * (most - similarity_of(x, a, a + 1)));
    result->correct += best == a + 1;
    for (int64_t v = 0; v < x->e.rows && x->de.data; v++) {
        if (is_first(l, v)) continue;
        double p = exp(scale * (similarity_of(x, a, v) - most)) / sum;
        add_gradient(x, a, v, l->weight * scale * (p - (v == a + 1)));
    }
}

static double pair_of(const Batch *x, int64_t i) { return similarity_of(x, x->l->start[i], x->l->start[i] + 1); }

static void add_pair(const Batch *x, int64_t i, double slope) {
    if (x->de.data) add_gradient(x, x->l->start[i], x->l->start[i] + 1, x->l->weight * slope);
}

static void cosent(HeadResult *result, const Batch *x) {
    const EmbeddingLoss *l = x->l;
    double sum = 1, scale = l->scale, n = (double)l->records;
    for (int64_t i = 0; i < l->records; i++)
        for (int64_t j = 0; j < l->records; j++)
            if (l->score[i] < l->score[j]) sum += exp(scale * (pair_of(x, i) - pair_of(x, j)));
    result->loss += l->weight * n * log(sum);
    for (int64_t i = 0; i < l->records; i++)
        for (int64_t j = 0; j < l->records; j++) {
            if (!(l->score[i] < l->score[j])) continue;
            double slope = n * scale * exp(scale * (pair_of(x, i) - pair_of(x, j))) / sum;
            add_pair(x, i, slope);
            add_pair(x, j, -slope);
        }
}

size_t ref_embedding_loss_workspace(Backend *b, const EmbeddingLoss *l, int64_t n) { return 0; }

void ref_embedding_loss(Backend *b, HeadResult *result, float *similarity, Mat de, Mat e, const EmbeddingLoss *l,
                        void *ws) {
    const Batch x = {l, e, de};
    CHECK(l->dims <= e.cols && l->start[l->records] == e.rows, "%ld of %ld dims", l->dims, e.cols);
    *result = (HeadResult){0};
    for (int64_t i = 0; i < l->records; i++) {
        double s = pair_of(&x, i);
        if (similarity) similarity[i] = (float)s;
        if (l->kind == EMBEDDING_RANKING) ranking(result, &x, i);
        if (l->kind != EMBEDDING_COSINE) continue;
        result->loss += l->weight * (s - l->score[i]) * (s - l->score[i]);
        add_pair(&x, i, 2 * (s - l->score[i]));
    }
    if (l->kind == EMBEDDING_COSENT) cosent(result, &x);
}
