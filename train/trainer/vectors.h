// vectors: sentence embeddings (task "embedding"): the vectors of all texts of a step, their loss, and its gradient.
//
// The loss compares the texts of a batch of rows with each other, however these are split into passes and ranks. So a
// step computes each pass twice (Gao et al. 2021): forward, into a table of vectors that all ranks share; then the loss
// over the table, the same on every rank; then forward and backward, from the gradient of the pass's vectors. Each
// vector depends on its row alone: the same bits for any split. An evaluation computes the first two parts for one
// batch after the other.
#pragma once

#include "config.h"
#include "rows.h"

// From the config.
typedef struct VectorLoss {
    EmbeddingLoss loss; // kind, cosine, scale
    IntList dims;       // none: all columns
    FloatList weights;  // of dims; none: 1
    int64_t rows;       // whose texts are compared; 0: all of a step
} VectorLoss;
// Borrows from c. normalize: vectors are scaled to length 1.
VectorLoss vector_loss_of(const Config *c, bool normalize);
int vector_loss_check(const VectorLoss *l, int64_t cols, Err *err); // dims within the length of a vector
// That batches of `rows` rows have something to compare a text with.
int vector_loss_check_batch(const VectorLoss *l, const RowPlan *p, int64_t rows, Err *err);

// Sums over records.
typedef struct VectorSums {
    int64_t records, correct; // correct: whose positive is the most similar text, of all columns (or most of dims)
    double loss;
} VectorSums;

typedef struct Vectors Vectors;
// For batches of at most `rows` rows of the plans (NULL: none), vectors of `cols` numbers. l is borrowed.
Vectors *vectors_new(Backend *b, const VectorLoss *l, const RowPlan *const plans[2], int64_t rows, int64_t cols);
void vectors_free(Vectors *v);
int64_t vectors_rows(const Vectors *v); // `rows`
bool vectors_are_ranked(const Vectors *v);
size_t vectors_bytes(const Vectors *v); // of its memory on the backend

// The rows of a batch: count of rows[], in their order. Gradients are 0.
void vectors_begin(Vectors *v, const Dataset *d, const RowPlan *p, const int64_t *rows, int64_t count);
// n vectors of the passed rows, which begin with row `first` of the batch, into the table; their gradients from it.
// Before the first batch: nothing.
void vectors_put(Vectors *v, int64_t first, const float *from, int64_t n);
void vectors_gradient(const Vectors *v, int64_t first, float *to, int64_t n);
void vectors_gather(Vectors *v); // collective: the table gets the vectors of all ranks
// Of the whole table; grad_scale 0: no gradients. similarity (host, NULL: not wanted): of the texts of each record.
VectorSums vectors_loss(Vectors *v, double grad_scale, float *similarity);
float vectors_score(const Vectors *v, int64_t record); // of a record of the batch
