// row_runner: one row of data through the decoder, forward only or forward and backward.
//
// Everything a row needs is made once for the largest row: integer buffers, the tape's lists, the arena. After the
// first row nothing is allocated.
#pragma once

#include "decoder.h"
#include "rows.h"

typedef struct RowBounds { // of the largest row, each by itself
    int64_t tokens, samples, scored;
} RowBounds;
void row_bounds_add(RowBounds *bounds, const RowPlan *p); // p may be NULL

typedef struct RowRunner {
    const Model *model;
    Adapter *adapter; // NULL: the base alone
    RowBounds bounds;
    Tape *tape;
    RowInputs *inputs;
    Row row;
    int32_t *predicted; // host
    void *arena;
    size_t arena_bytes;
} RowRunner;

RowRunner *row_runner_new(const Model *m, Adapter *a, RowBounds bounds);
void row_runner_free(RowRunner *r);
// Bytes of arena that the largest row takes with these options; computes nothing.
size_t row_runner_plan(RowRunner *r, const DecoderOptions *o, TapeMode mode);
// Reserves an arena of at least that size; its pages are touched only as far as rows use them.
void row_runner_reserve(RowRunner *r, size_t bytes);
// TAPE_TRAIN adds the row's gradient to the adapter's.
HeadResult row_runner_run(RowRunner *r, const Dataset *d, const RowPlan *p, int64_t row, const DecoderOptions *o,
                          PassState state, TapeMode mode);
// Of a classifier: what it said of each scored position of the row that was run last; valid until the next call.
const int32_t *row_runner_predicted(RowRunner *r);
