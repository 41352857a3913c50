// trainer_internal: the fields of a PassRunner and of a Trainer, for the files of this room (and white-box tests).
#pragma once

#include "optimizer.h"
#include "pipeline.h"
#include "trainer.h"

enum { RUNNER_SHAPES = 256 };

struct Pipeline {
    const Model *model; // of this stage
    const Adapter *adapter;
    RankContext ranks;
    int previous, next; // ranks; -1: none
    PassEdges edges;
    size_t edge_bytes;    // of each
    PassRunner **runners; // [depth] of the rows on their way; the first is the trainer's
    int64_t depth;
    PassTeam temporary; // memory of the runners, all in turn
};

struct PassRunner {
    const Model *model;
    Adapter *adapter; // NULL: the base alone
    PassShape bounds;
    int64_t eval_rows;
    RankContext ranks;
    PassTeam *team;     // NULL: alone
    Pipeline *pipeline; // NULL: none
    const PassPreference *preference;
    PassPreference kl; // the same for mismatched sequences
    Vectors *vectors;  // of embeddings; else NULL
    const Teacher *teacher;
    Tape *tape;
    PassInputs *inputs;
    Row row;
    PassRows packed; // the pass that `inputs` holds on the host; its rows are in packed_rows
    int64_t *packed_rows, packed_capacity;
    HeadTally *tally;   // device: of an evaluation
    int32_t *predicted; // host; NULL: not a classifier
    float *logits;      // host; NULL: not a classifier with values (PassExtras)
    void *arena;
    size_t arena_bytes, offloaded_bytes; // the most that a pass has moved to host memory, where the tape keeps room
    uint64_t seen[RUNNER_SHAPES];        // keys of passes that were run once
    int64_t n_seen;
};

// Classifier: the predicted class of each scored position of the last pass (-1: NaN). Waits for the device; valid until
// the next call.
const int32_t *pass_runner_predicted(PassRunner *r);
const float *pass_runner_logits(PassRunner *r); // [scored, width] likewise, of a classifier with values

// evaluate() of embeddings (eval_vectors.c).
int evaluate_vectors(PassRunner *r, const Dataset *d, const RowPlan *p, bool (*stop)(void), EvalResult *result,
                     Err *err);
double spearman(const float *x, const float *y, int64_t n); // NAN where one of them is constant or has a NaN

// ---- the trainer ----

// Summed over the ranks in every step, besides gradients; int64_t only.
typedef struct StepCounts {
    HeadTally heads;
    int64_t supervised;  // tokens of the passes done
    int64_t stopped;     // ranks that were asked to stop
    int64_t micros[][2]; // [ranks] microseconds of computing, of reducing: each rank fills its own
} StepCounts;

typedef enum { CLOCK_BEGUN, CLOCK_COMPUTED, CLOCK_REDUCED, CLOCK_MARKS } ClockMark;

typedef struct StepRows {
    int64_t epoch, first, count;
} StepRows;

// The step between trainer_step_begin and trainer_step_end.
typedef struct StepNow {
    StepReport report;
    StepRows rows;
    PreferenceCounts samples; // task "preference"
    double kl;                // kto
    VectorSums vectors;       // task "embedding"
    double start;
    int64_t pass; // the next one of this rank
} StepNow;

struct Trainer {
    TrainerInputs in;
    TrainerPlan plan;
    TrainerState state;
    StepNow now;
    Group alone_group;
    RankContext alone;         // where no ranks were given
    PassPreference preference; // task "preference"
    VectorLoss vector_loss;    // task "embedding"
    Pipeline *pipeline;        // NULL: none
    PassRunner *runner;
    Optimizer *optimizer;
    StepCounts *counts;          // this rank's, on the host
    int64_t *clock;              // device, [CLOCK_MARKS]
    double data_seconds;         // of this step
    int64_t *order, order_epoch; // rows of the epoch, -1: none yet
    Recompute recompute;
    size_t planned_bytes, kept_bytes;
    BatchHint hint;
};

enum { MAX_SKIPPED_IN_A_ROW = 3 };

// Of the passes of a step.
PassState trainer_pass_state(const Trainer *t);
// This rank's part of them, where it is a stage (pipeline.c).
int trainer_run_pipeline(Trainer *t, Err *err);

// Of a training pass at this level; its rows are set by pass_runner_start.
PassOptions trainer_options(const Trainer *t, Recompute level);

StepRows trainer_rows(const Trainer *t, int64_t step);
// Pass p of a step; its rows are valid until those of another epoch are requested. False: the step has fewer passes.
bool trainer_pass(Trainer *t, int64_t step, int64_t p, PassRows *pass);
