// trainer: the optimizer steps of a run. What a step is, in which order rows come, how much memory it takes.
//
// A step is G rows, the last one of an epoch may be shorter; its loss is the sum of the token losses divided by its
// supervised tokens. Step, rows, random numbers and learning rate are pure functions of the config, G and the step's
// number, so a run continues from (params, m, v, RunState) as if it had never stopped.
// With several ranks a step's passes are dealt by their number: pass p is that of rank p mod ranks. What they give is
// added up as integers, so every rank has the bits that one rank alone would have, and makes the same update.
#pragma once

#include "config.h"
#include "eval.h"
#include "lr_schedule.h"
#include "optimizer.h"
#include "run_data.h"

// Everything of a run that a snapshot keeps besides the flat buffers.
typedef struct RunState {
    int64_t step;                      // optimizer steps done, counting skipped ones
    int64_t updates;                   // AdamW updates done
    int64_t tokens, supervised;        // seen
    int64_t skipped, skipped_in_a_row; // steps whose gradient was not finite
    int64_t evaluated_step;            // step of the last evaluation, -1: none
    int64_t best_step;                 // step of the best evaluation, -1: none
    int64_t evals_since_best;
    int64_t stopped_early;
    double best_loss, last_loss, last_eval_loss, elapsed; // elapsed: seconds in steps and evaluations
    double loss_scale;                                    // of activations in F16, a power of 2; else 1
    int64_t good_steps;                                   // in a row with this scale
} RunState;

// Times are in seconds. What other ranks have measured travels with the next step's sum: `compute`, `reduce` and
// `slowest_rank` are of the step before, and 0 in the first one of a process.
typedef struct StepReport {
    int64_t step; // from 1
    double epoch, loss, learning_rate, grad_norm, seconds;
    int64_t tokens, supervised; // of all ranks
    bool skipped;               // the gradient was not finite
    double loss_scale;          // that the step was made with
    double data;                // this rank has waited for the rows of its passes
    int ranks, slowest_rank;
    double compute; // of the slowest rank
    double reduce;  // without the waiting for others
} StepReport;

// What a step adds up over the ranks besides gradients.
typedef struct StepCounts {
    HeadTally heads;
    int64_t supervised;  // tokens of the passes that were done
    int64_t stopped;     // ranks that were asked to stop
    int64_t micros[][2]; // [ranks] computing, reducing: each rank fills its own
} StepCounts;

typedef enum { CLOCK_BEGUN, CLOCK_COMPUTED, CLOCK_REDUCED, CLOCK_MARKS } ClockMark;

typedef struct Trainer {
    const Config *config; // these are borrowed, life too
    const Model *model;
    Adapter *adapter;
    const RunData *data;
    Group *group;
    Group alone;     // where no group was given
    Heartbeat *life; // NULL: alone
    RowRunner *runner;
    Optimizer *optimizer;
    StepCounts *counts;  // the host's part, before it is sent
    int64_t *clock;      // device, [CLOCK_MARKS]
    double data_seconds; // of this step
    LrSchedule schedule;
    int64_t rows_per_step, steps_per_epoch, total_steps;
    int64_t rows_per_pass;       // side by side on a device
    int64_t *order, order_epoch; // rows of the epoch, -1: none yet
    Recompute recompute;         // chosen by trainer_fit_memory
    size_t planned_bytes;        // at the peak: of the whole process, or of what it has on the device
    bool all_know;               // the last error of trainer_step: every rank has it
    RunState state;
} Trainer;

enum { MAX_SKIPPED_IN_A_ROW = 3 };

// g NULL: alone. rows_per_step: G; 0: that of a run that begins with this config and these ranks.
Trainer *trainer_new(const Config *c, const Model *m, Adapter *a, const RunData *d, Group *g, int64_t rows_per_step);
void trainer_free(Trainer *t);
// No step, evaluation or snapshot follows: frees the arena, gradients and moments, so that export, verification and
// the report's samples fit where the steps did.
void trainer_end(Trainer *t);

// Whether the first `steps` steps have the learning rates of a run of other_total steps: then the shorter run is the
// beginning of the longer one, bit for bit.
bool trainer_same_rates(const Trainer *t, int64_t other_total, int64_t steps);

PassOptions trainer_options(const Trainer *t); // of the next step, without its rows

// Arena of the largest training or evaluation pass at this level, which becomes the trainer's; computes nothing.
size_t trainer_arena_bytes(Trainer *t, Recompute level);
const char *recompute_name(Recompute level); // as gradient_checkpointing has it: "none", "ffn", "blocks", "offload"
// What is there before the arena, and how much there may be with it: of the process, or of what it has on the device.
typedef struct TrainerRoom {
    size_t held, limit;
    size_t end;      // the host at the end of the run, when the adapter is verified; 0 on a device
    const char *why; // there may not be more: "max_memory", "90% of what is free"
} TrainerRoom;
TrainerRoom trainer_room(const Trainer *t);
size_t trainer_total_bytes(const TrainerRoom *room, size_t arena); // at the peak of the run
// The lightest and the heaviest level that gradient_checkpointing allows.
void trainer_levels(const Trainer *t, Recompute *lightest, Recompute *heaviest);
// Chooses the lightest level of recomputation that fits and gradient_checkpointing allows, and reserves the arena;
// EXIT_NO_FIT where nothing fits.
int trainer_fit_memory(Trainer *t, Err *err);

typedef struct StepRows { // which rows a step takes
    int64_t epoch, first, count;
} StepRows;
StepRows trainer_rows(const Trainer *t, int64_t step);
// Pass p of a step, of rows that are valid until those of another epoch are asked for. False: the step has fewer.
bool trainer_pass(Trainer *t, int64_t step, int64_t p, RowPass *pass);

// One step, collective. 0: done (maybe skipped); 1: abandoned because `stop` became true on any rank, nothing has
// changed; -1: three gradients in a row were not finite, or the device failed.
int trainer_step(Trainer *t, bool (*stop)(void), StepReport *report, Err *err);
double trainer_epoch(const Trainer *t); // of the steps done
// Whether the device has failed so far: then nothing that came from it means anything. `when` and `step` begin the
// message, which says what to lower where memory was short.
int trainer_check_device(const Trainer *t, const char *when, int64_t step, Err *err);
