// row_runner: runs passes of data through the model, forward only or forward and backward.
//
// In host memory a pass is one packed row. On a device it is several rows, padded to one of few shapes; a pass is
// recorded when its shape occurs for the second time (the first run may still time algorithms) and replayed from then
// on. Calls return while the device works; counts are accumulated in device memory. All buffers are allocated once, for
// the largest pass; only the arena may grow later, if a smaller pass needs a little more.
#pragma once

#include "pass.h"
#include "ranks.h"
#include "rows.h"

typedef struct RowRunner RowRunner;

typedef struct RowRunnerOptions { // all borrowed
    const Model *model;
    Adapter *adapter;  // NULL: the base alone
    RowShape bounds;   // of the largest pass (row_bounds_add)
    int64_t eval_rows; // rows in a pass of an evaluation
    RankContext ranks; // evaluations are divided over them
} RowRunnerOptions;

RowRunner *row_runner_new(const RowRunnerOptions *o);
void row_runner_free(RowRunner *r);

// Raises *bounds to the largest pass of `rows` rows of p (may be NULL).
void row_bounds_add(RowShape *bounds, const RowPlan *p, int64_t rows);
int64_t rows_in_pass(const Backend *b, int64_t wanted); // 1 in host memory

// The rows of a pass: `count` of rows[], the first of which has index `first` in its global batch.
typedef struct RowPass {
    const Dataset *dataset;
    const RowPlan *plan;
    const int64_t *rows;
    int64_t count, first;
} RowPass;

// The tape of the largest pass, built without running it.
typedef struct PassPlan {
    size_t arena, offloaded; // bytes; offloaded: to host memory
    RowShape shape;
    const Tape *tape; // valid until the next call on the runner
} PassPlan;
PassPlan row_runner_build_largest(RowRunner *r, const PassOptions *o, TapeMode mode);
// Reserves an arena of at least that size; its pages are touched only as far as passes use them.
void row_runner_reserve(RowRunner *r, size_t bytes);

HeartbeatPhase row_runner_phase(const RowRunner *r); // the heartbeat's phase during a pass
// Packs the pass in host memory, which may overlap with the device's work. row_runner_start does it if needed.
void row_runner_pack(RowRunner *r, const RowPass *pass);
// The (padded) shape of the pass, without reading its samples.
RowShape row_runner_shape(const RowRunner *r, const RowPass *pass);
// Queues the pass. TAPE_TRAIN: adapter gradient = that of the pass. *tally (device memory) += its result. Returns the
// number of scored positions.
int64_t row_runner_start(RowRunner *r, const RowPass *pass, const PassOptions *o, PassState state, TapeMode mode,
                         HeadTally *tally);
double row_runner_loss(const HeadTally *t); // t on the host; NAN if the loss of any pass was not finite
