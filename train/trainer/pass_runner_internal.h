// The fields of a PassRunner, for the files of this room.
#pragma once

#include "pass_runner.h"

enum { RUNNER_SHAPES = 256 };

struct PassRunner {
    const Model *model;
    Adapter *adapter; // NULL: the base alone
    PassShape bounds;
    int64_t eval_rows;
    RankContext ranks;
    Tape *tape;
    PassInputs *inputs;
    Row row;
    PassRows packed; // the pass that `inputs` holds on the host; its rows are in packed_rows
    int64_t *packed_rows, packed_capacity;
    HeadTally *tally;   // device: of an evaluation
    int32_t *predicted; // host; NULL: not a classifier
    void *arena;
    size_t arena_bytes, offloaded_bytes; // the most that a pass has moved to host memory, where the tape keeps room
    uint64_t seen[RUNNER_SHAPES];        // keys of passes that were run once
    int64_t n_seen;
};

// Classifier: the predicted class of each scored position of the last pass (-1: NaN). Waits for the device; valid until
// the next call.
const int32_t *pass_runner_predicted(PassRunner *r);
