// pass_runner: runs passes of data through the model, forward only or forward and backward.
//
// In host memory a pass is one packed row. On a device it is several rows, padded to one of few shapes; a pass is
// recorded when its shape occurs for the second time (the first run may still time algorithms) and replayed from then
// on. Calls return while the device works; counts are accumulated in device memory. All buffers are allocated once, for
// the largest pass; only the arena may grow later, if a smaller pass needs a little more.
#pragma once

#include "pass.h"
#include "ranks.h"
#include "rows.h"
#include "teacher.h"
#include "vectors.h"

typedef struct PassRunner PassRunner;
typedef struct Pipeline Pipeline; // pipeline.h

// Runners whose passes run together (pass_runners_start): they share the workspace of ops. In host memory only.
typedef struct PassTeam {
    Backend *backend;
    void *workspace;
    size_t bytes;
} PassTeam;
void pass_team_reserve(PassTeam *t, size_t bytes);
void pass_team_clear(PassTeam *t);

typedef struct PassRunnerOptions { // all borrowed
    const Model *model;
    Adapter *adapter;                 // NULL: the base alone
    PassShape bounds;                 // of the largest pass (pass_bounds_add)
    int64_t eval_rows;                // rows in a pass of an evaluation
    RankContext ranks;                // evaluations are divided over them
    PassTeam *team;                   // NULL: alone
    const PassPreference *preference; // of all passes; NULL: none
    const Teacher *teacher;           // of all passes; NULL: none
    Pipeline *pipeline;               // of a stage; else NULL
    Vectors *vectors;                 // of embeddings: their table, owned then; NULL: none
} PassRunnerOptions;

PassRunner *pass_runner_new(const PassRunnerOptions *o);
void pass_runner_free(PassRunner *r);

// Raises *bounds to the largest pass of `rows` rows of p (may be NULL).
void pass_bounds_add(PassShape *bounds, const RowPlan *p, int64_t rows);
int64_t rows_in_pass(const Backend *b, int64_t wanted); // 1 in host memory

// The rows of a pass: `count` of rows[], the first of which has index `first` in its global batch.
typedef struct PassRows {
    const Dataset *dataset;
    const RowPlan *plan;
    const int64_t *rows;
    int64_t count, first;
    int64_t epoch;   // row_fill_several
    bool mismatched; // of KTO: forward only, for the estimate of the divergence from the reference
} PassRows;

// The tape of the largest pass, built without running it.
typedef struct PassPlan {
    size_t arena, kept, offloaded; // bytes; kept: of the arena, between the halves; offloaded: to host memory
    PassShape shape;
    Tape *tape; // valid until the next call on the runner
} PassPlan;
PassPlan pass_runner_build_largest(PassRunner *r, const PassOptions *o, TapeMode mode);
// Reserves an arena of at least that size; its pages are touched only as far as passes use them.
void pass_runner_reserve(PassRunner *r, size_t bytes);

HeartbeatPhase pass_runner_phase(const PassRunner *r); // the heartbeat's phase during a pass
// Packs the pass in host memory, which may overlap with the device's work. pass_runner_start does it if needed.
void pass_runner_pack(PassRunner *r, const PassRows *pass);
// The (padded) shape of the pass, without reading its samples.
PassShape pass_runner_shape(const PassRunner *r, const PassRows *pass);
// Queues the pass. Only the last stage of a pipeline has a result and scored positions. TAPE_TRAIN: adapter gradient =
// that of the pass. *tally (device memory) += its result. Returns the number of scored positions. Of embeddings the
// vectors go into the table, or their gradients come from it; there is no result.
int64_t pass_runner_start(PassRunner *r, const PassRows *pass, const PassOptions *o, PassState state, TapeMode mode,
                          HeadTally *tally);
// A training pass of a stage that is not the last, in two halves; other runners may run between them. In host memory.
void pass_runner_forward(PassRunner *r, const PassRows *pass, const PassOptions *o, PassState state);
void pass_runner_backward(PassRunner *r);
// The same for n runners of a team, together.
typedef struct PassStart {
    PassRunner *runner;
    PassRows pass;
    PassOptions options;
    PassState state;
    HeadTally *tally;
    int64_t scored; // set
} PassStart;
void pass_runners_start(PassStart *starts, size_t n, TapeMode mode);
// t on the host; NAN if a sum of any pass was not finite.
double pass_runner_loss(const HeadTally *t);
double pass_runner_sum(const HeadTally *t, const ExactSum *sum); // one of t's
