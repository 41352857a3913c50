// sampling: which samples of a data set are used, as lists of indices. Every choice is by hash(seed, index), a pure
// function: a resumed run chooses the same.
#pragma once

#include "dataset.h"

#define SAMPLES_MAX INT64_C(0x7FFFFFFF) // in one list

// Splits the samples: val_size below 1 is a fraction, else a count (at least one sample stays on each side, else
// refused). Both lists ascend; the caller frees them.
int dataset_split(const Dataset *d, double val_size, uint64_t seed, int64_t **train, int64_t *n_train, int64_t **val,
                  int64_t *n_val, Err *err);

// Weights of files: a file of weight w is in the list w times over: each of its samples floor(w) times, and of the rest
// of the weight a share of the samples (rounded) that hash(seed, index) chooses. The choice is made once, before rows
// are packed, and is the same in every epoch: each entry of the list is trained once per epoch, and the number of rows
// is constant. samples: n ascending indices, NULL: all. *out is the caller's; refused when nothing is left, or too
// many are asked for.
int dataset_weigh(const Dataset *d, const double *weights, uint64_t seed, const int64_t *samples, int64_t n,
                  int64_t **out, int64_t *n_out, Err *err);
