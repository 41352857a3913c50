// subset: which samples of a data set are used, as lists of indices. Every choice is by hash(seed, index), a pure
// function: a resumed run chooses the same.
#pragma once

#include "dataset.h"

// How data sets are mixed (datasets.interleave_datasets, LLaMA-Factory's mix_strategy).
#define MIX_STRATEGIES(X)                                                                                              \
    X(MIX_CONCAT, "concat", "one after the other, each as often as its weight says")                                   \
    X(MIX_INTERLEAVE_UNDER, "interleave_under", "in turns or by probability, until one of them ends")                  \
    X(MIX_INTERLEAVE_OVER, "interleave_over", "the same until all have ended; those that end begin again")
typedef enum { MIX_STRATEGIES(ENUM_CONSTANT) } MixStrategy;

#define SUBSET_MAX INT64_C(0x7FFFFFFF) // in one list

typedef struct SampleList {
    int64_t *items; // indices into the data set, ascending unless interleaved; NULL: 0 to count - 1
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

// Sources are groups of files. Without probabilities they take turns; with them each sample is drawn from a source by
// hash(seed, draw), and the source's samples come in their order. until_all false: ends where the first source is
// exhausted; else where the last is, and a source that is exhausted begins again. As datasets.interleave_datasets, with
// other random numbers. Refused: a source without samples, probabilities that do not sum to 1, a list longer than
// SUBSET_MAX. The caller frees out->items.
typedef struct Interleaving {
    const size_t *source; // [Dataset.n_files], ascending from 0
    size_t sources;
    const double *probabilities; // [sources]; NULL: in turns
    bool until_all;
    uint64_t seed;
} Interleaving;
int subset_interleave(const Dataset *d, const Interleaving *x, SampleList from, SampleList *out, Err *err);
