// The fields of a RowRunner, for the files of this room.
#pragma once

#include "row_runner.h"

enum { RUNNER_SHAPES = 256 };

struct RowRunner {
    const Model *model;
    Adapter *adapter; // NULL: the base alone
    RowShape bounds;
    int64_t eval_rows;
    RankContext ranks;
    Tape *tape;
    RowInputs *inputs;
    Row row;
    RowPass packed; // the pass that `inputs` holds on the host; its rows are in packed_rows
    int64_t *packed_rows, packed_capacity;
    HeadTally *tally;   // device: of an evaluation
    int32_t *predicted; // host; NULL: not a classifier
    void *arena;
    size_t arena_bytes, offloaded_bytes; // the most that a pass has moved to host memory, where the tape keeps room
    uint64_t seen[RUNNER_SHAPES];        // keys of passes that were run once
    int64_t n_seen;
};

static const PassOptions EVAL_OPTIONS = {0}; // neither dropout nor noise nor label smoothing

// Classifier: the predicted class of each scored position of the last pass (-1: NaN). Waits for the device; valid until
// the next call.
const int32_t *row_runner_predicted(RowRunner *r);
