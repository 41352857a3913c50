// embeddings: pooling rows to vectors, and the losses of vectors (kernels.h).
#pragma once

#include "heads.h"

C_BEGIN

// Losses of records of vectors; a record is two vectors or more. s is the cosine of two vectors or their dot product.
//   RANKING  by the first vector a of a record, its second p, and all vectors c of the batch that are not the first of
//            their record: -log(exp(scale s(a, p)) / sum over c of exp(scale s(a, c)))
//   COSINE   by a record of two vectors: (s(a, p) - score)^2
//   COSENT   of all records: log(1 + sum over i, j with score_i < score_j of exp(scale (s_i - s_j))), for each of them
// As MultipleNegativesRankingLoss, CosineSimilarityLoss and CoSENTLoss of sentence-transformers, but for the mean.
typedef enum { EMBEDDING_RANKING, EMBEDDING_COSINE, EMBEDDING_COSENT } EmbeddingKind;
typedef struct EmbeddingLoss {
    EmbeddingKind kind;
    bool cosine;          // s is the cosine; else the dot product
    float scale;          // COSINE: not used
    float weight;         // of the loss
    float grad_scale;     // d(total) / d(result->loss)
    int64_t dims;         // columns of a vector that are used, the first ones
    int64_t records;      // 1 or more
    const int32_t *start; // [records + 1] first vector of each record; the last one is the number of vectors
    const float *score;   // [records]; RANKING: not used
} EmbeddingLoss;

// The workspace of the fast backends, in this order; n vectors.
typedef struct EmbeddingWork {
    double *s;       // RANKING: [records, n] similarities, then slopes; else [3, records]: similarities, slopes, terms
    double *d;       // [n, dims] gradients of the unit vectors
    double *inverse; // [n] 1 / length; 1 of a dot product
    double *loss;    // [records]
    int32_t *record; // [n] of each vector
    int32_t *best;   // [records] the vector that is most similar to the first one
} EmbeddingWork;
HOST_DEVICE static inline int64_t embedding_similarities(const EmbeddingLoss *l, int64_t n) {
    return l->records * (l->kind == EMBEDDING_RANKING ? n : 3);
}
static inline size_t embedding_work_bytes(const EmbeddingLoss *l, int64_t n) {
    int64_t doubles = embedding_similarities(l, n) + n * l->dims + n + l->records;
    return (size_t)doubles * sizeof(double) + (size_t)(n + l->records) * sizeof(int32_t);
}
static inline EmbeddingWork embedding_work_at(void *memory, const EmbeddingLoss *l, int64_t n) {
    EmbeddingWork w;
    w.s = (double *)memory;
    w.d = w.s + embedding_similarities(l, n);
    w.inverse = w.d + n * l->dims;
    w.loss = w.inverse + n;
    w.record = (int32_t *)(w.loss + l->records);
    w.best = w.record + n;
    return w;
}

C_END
