// subset: which samples of a data set are used, as lists of indices. Every choice is by hash(seed, index), a pure
// function: a resumed run chooses the same.
#pragma once

#include "dataset.h"

#define SUBSET_MAX INT64_C(0x7FFFFFFF) // in one list

typedef struct SampleList {
    int64_t *items; // indices into the data set, ascending; NULL: 0 to count - 1
    int64_t count;
} SampleList;

// Splits the samples: val_size below 1 is a fraction, else a count. Refused unless both sides get a sample. The caller
// frees the items of both lists.
int subset_split(const Dataset *d, double val_size, uint64_t seed, SampleList *train, SampleList *val, Err *err);

// Weights of files. Each sample of a file with weight w is listed floor(w) times; a fraction w - floor(w) of the file's
// samples (their number is rounded), chosen by hash(seed, index), is listed once more. The choice is made once, before
// rows are packed: each entry of the list is trained once per epoch, and the number of rows is constant. Refused when
// the list is empty or longer than SUBSET_MAX. The caller frees out->items.
int subset_weigh(const Dataset *d, const double *weights, uint64_t seed, SampleList from, SampleList *out, Err *err);
