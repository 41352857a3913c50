// row_runner: passes of data through the model, forward only or forward and backward.
//
// In host memory a pass is one packed row. On a device it is several rows side by side, padded to one of few shapes;
// what a pass does is recorded when its shape comes for the second time (the first one may still time algorithms) and
// replayed from then on. Calls return while the device works; what a pass counts is added up there.
// Everything a pass needs is made once for the largest: integer buffers, the tape's lists, the arena. After the first
// pass nothing is allocated.
#pragma once

#include "heartbeat.h"
#include "pass.h"
#include "rows.h"

// Of the largest pass of `rows` rows of p, each by itself.
void row_bounds_add(RowShape *bounds, const RowPlan *p, int64_t rows); // p may be NULL
int64_t rows_side_by_side(const Backend *b, int64_t wanted);           // 1 in host memory

// The rows of a pass: `count` of rows[], the first of which is number `first` of its global batch.
typedef struct RowPass {
    const Dataset *dataset;
    const RowPlan *plan;
    const int64_t *rows;
    int64_t count, first;
} RowPass;

enum { RUNNER_SHAPES = 256 };
typedef struct RowRunner {
    const Model *model;
    Adapter *adapter; // NULL: the base alone
    RowShape bounds;
    int64_t eval_rows; // side by side in a pass of an evaluation
    Group *group;      // over which evaluations are dealt; NULL: alone
    Heartbeat *life;   // told of each pass; NULL: alone
    Tape *tape;
    RowInputs *inputs;
    Row row;
    RowPass packed; // what `inputs` holds on the host; its rows are in packed_rows
    int64_t *packed_rows, packed_capacity;
    HeadTally *tally;   // device: of an evaluation
    int32_t *predicted; // host
    void *arena;
    size_t arena_bytes, offloaded_bytes; // the most that a pass has moved to host memory, where the tape keeps room
    uint64_t seen[RUNNER_SHAPES];        // keys of passes that were run once
    int64_t n_seen;
} RowRunner;

RowRunner *row_runner_new(const Model *m, Adapter *a, RowShape bounds);
void row_runner_free(RowRunner *r);
// Bytes of arena that the largest pass takes with these options; computes nothing.
size_t row_runner_plan(RowRunner *r, const PassOptions *o, TapeMode mode);
// Reserves an arena of at least that size; its pages are touched only as far as passes use them.
void row_runner_reserve(RowRunner *r, size_t bytes);

// What a rank is at during a pass, for its heartbeat.
HeartbeatPhase row_runner_phase(const RowRunner *r);
// Lays the pass out on the host, which may be done while the device works; row_runner_start does it where it was not.
void row_runner_pack(RowRunner *r, const RowPass *pass);
// The shape that the pass has, without reading its samples.
RowShape row_runner_shape(const RowRunner *r, const RowPass *pass);
// TAPE_TRAIN adds the pass's gradient to the adapter's. The result is added to *tally, in device memory.
void row_runner_start(RowRunner *r, const RowPass *pass, const PassOptions *o, PassState state, TapeMode mode,
                      HeadTally *tally);
double row_runner_loss(const HeadTally *t); // on the host; NAN where a pass's was not finite
// One row, started; waits for its result.
HeadResult row_runner_run(RowRunner *r, const Dataset *d, const RowPlan *p, int64_t row, const PassOptions *o,
                          PassState state, TapeMode mode);
// Of a classifier: what it said of each scored position of the pass that was started last; waits; valid until the next
// call.
const int32_t *row_runner_predicted(RowRunner *r);
