// trainer: the optimizer steps of a run: which rows a step takes, its gradients and update, the memory it needs.
//
// A step is G rows, the last one of an epoch may be shorter; its loss is the sum of the token losses divided by its
// supervised tokens. Step, rows, random numbers and learning rate are pure functions of the config, G and the step's
// number, so a run resumes bit-identically from (params, m, v, TrainerState). With several ranks, pass p of a step is
// computed by pipeline p mod pipelines, which is one rank unless the model is in stages (pipeline.h). Gradients and
// counts are summed as integers, so all ranks compute the same update, bit-identical to that of a single rank.
#pragma once

#include "config.h"
#include "eval.h"
#include "lr_schedule.h"
#include "preference.h"
#include "run_data.h"

typedef struct Trainer Trainer;

// What a trainer works on; all borrowed.
typedef struct TrainerInputs {
    const Config *config;
    const Model *model;
    Adapter *adapter;
    const RunData *data;
    const RankContext *ranks; // NULL: alone
    size_t end_bytes;         // host memory needed after trainer_end, besides the model (adapter_verify_bytes)
    PassTeam *team;           // of trainers whose passes run together; NULL: none
    const Adapter *reference; // of preferences (PassPreference); NULL: the base alone
    const Teacher *teacher;   // NULL: none
} TrainerInputs;

// How a run is divided into steps.
typedef struct TrainerPlan {
    int64_t rows_per_step, rows_per_pass; // rows_per_pass: computed together on a device
    int64_t steps_per_epoch, total_steps;
    LrSchedule schedule;
} TrainerPlan;

// All that a snapshot keeps of a run except the flat buffers.
typedef struct TrainerState {
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
    int64_t grown_from, grown_at; // total_steps before the run last became longer, steps done then; 0: never
} TrainerState;

// rows_per_step: G; 0: that of a new run with this config and these ranks.
Trainer *trainer_new(const TrainerInputs *in, int64_t rows_per_step);
void trainer_free(Trainer *t);
// After the last step, evaluation and snapshot: frees the arena, gradients and moments, so that export, verification
// and the report's samples fit into the memory planned for the steps.
void trainer_end(Trainer *t);

const TrainerInputs *trainer_inputs(const Trainer *t); // ranks is never NULL
const TrainerPlan *trainer_plan(const Trainer *t);
const TrainerState *trainer_state(const Trainer *t);
void trainer_set_state(Trainer *t, const TrainerState *s); // after a change of the buffers below
bool trainer_is_done(const Trainer *t);                    // all steps are done, or the run has stopped early
// The state of the adapter besides TrainerState, in device memory, [adapter->count] each. NULL: none; m and v after
// trainer_end, start of an adapter without one.
enum { TRAINER_START = 3, TRAINER_BUFFERS = 4 };
extern const char *const trainer_buffer_names[TRAINER_BUFFERS]; // "params", "m", "v", "start"
void trainer_buffers(const Trainer *t, float *buffers[TRAINER_BUFFERS]);

// Whether the first `steps` steps have the learning rates of a run of other_total steps: then the shorter run is a
// bit-identical prefix of the longer one.
bool trainer_same_rates(const Trainer *t, int64_t other_total, int64_t steps);

// ---- memory (trainer_memory.c) ----

const char *recompute_name(Recompute level); // as gradient_checkpointing has it: "none", "ffn", "blocks", "offload"
// The lightest and the heaviest level that gradient_checkpointing allows.
void trainer_levels(const Trainer *t, Recompute *lightest, Recompute *heaviest);
// Bytes of the process, or of what it holds on the device.
typedef struct MemoryBudget {
    size_t held, limit; // before the arenas are allocated; in all
    const char *reason; // of the limit: "max_memory", "90% of what is free", ...
} MemoryBudget;
// Of n trainers of one process (usually 1), which share the base model and each have an arena.
MemoryBudget trainers_memory_budget(Trainer *const *t, size_t n);
// Their largest passes at one level together.
typedef struct MemoryPlan {
    size_t arena, offloaded; // arena: of all, with the workspace that they share
    size_t workspace;
    size_t kept; // copies of weights (model_keep)
    int64_t tokens;
    size_t end;   // when an adapter is verified while the other trainers go on; 0 on a device
    size_t total; // at the peak
} MemoryPlan;
MemoryPlan trainers_plan_memory(Trainer *const *t, size_t n, const MemoryBudget *m, Recompute level);
// The largest training pass at this level; arena: of the largest training or evaluation pass. Computes nothing.
PassPlan trainer_build_level(Trainer *t, Recompute level);
// Chooses the lightest level that fits and gradient_checkpointing allows, and reserves the arena;
// ERR_NO_FIT where nothing fits.
int trainer_fit_memory(Trainer *t, Err *err);
int trainers_fit_memory(Trainer *const *t, size_t n, Err *err); // one level for all
Recompute trainer_recompute(const Trainer *t);                  // the chosen level
size_t trainer_planned_bytes(const Trainer *t);                 // at the peak of the run
size_t trainer_kept_bytes(const Trainer *t);                    // of these, for copies of weights (model_keep)

// Where the passes of a run on a device are too small to keep it busy and memory allows more at the chosen level: what
// would give 8 to 16 thousand tokens to a pass. batch 0: nothing to say.
typedef struct BatchHint {
    int64_t batch, accumulation; // per_device_train_batch_size, gradient_accumulation_steps
    int64_t tokens, new_tokens;  // of a pass
    bool same_steps;
} BatchHint;
BatchHint trainer_batch_hint(const Trainer *t, size_t limit, size_t arena, size_t total);
BatchHint trainer_hint(const Trainer *t); // of trainers_fit_memory, of one trainer
void batch_hint_print(StrBuf *out, const BatchHint *h);

// ---- steps (trainer_step.c) ----

// Times are in seconds. Other ranks' measurements arrive with the next step's sum: `compute`, `reduce` and
// `slowest_rank` are of the step before, and 0 in the first one of a process.
typedef struct StepReport {
    int64_t step; // from 1
    double epoch, loss, learning_rate, grad_norm, seconds;
    int64_t tokens, supervised; // of all ranks
    bool skipped;               // the gradient was not finite
    bool error_on_all_ranks;    // trainer_step failed with the same error on every rank
    double loss_scale;          // of this step
    PreferenceReport preference;
    TeacherReport teacher;
    double data; // time this rank has waited for the rows of its passes
    int ranks, slowest_rank;
    double compute;                  // of the slowest rank
    double reduce;                   // without waiting for other ranks
    const int64_t (*rank_micros)[2]; // [ranks] microseconds of computing, of reducing; until the next step
} StepReport;

// One step, collective. 0: done (maybe skipped); 1: abandoned because `stop` became true on any rank, nothing has
// changed; -1: three gradients in a row were not finite, or the device failed.
int trainer_step(Trainer *t, bool (*stop)(void), StepReport *report, Err *err);
// trainer_step in parts, for several trainers of one base model by turns. Between begin and end trainers_run_pass runs
// the next pass of each of n trainers, together if they are a team; has_pass: there is one. end: as trainer_step;
// stopped: abandons the step.
void trainer_step_begin(Trainer *t);
bool trainer_step_has_pass(Trainer *t);
void trainers_run_pass(Trainer *const *t, size_t n);
int trainer_step_end(Trainer *t, bool stopped, StepReport *report, Err *err);
// evaluate() over the evaluation data of the run.
int trainer_evaluate(Trainer *t, bool (*stop)(void), EvalResult *result, Err *err);
// Whether the device has failed so far: then no result from it is valid. The message begins with `when` and `step`, and
// advises what to lower where memory was short.
int trainer_check_device(const Trainer *t, const char *when, int64_t step, Err *err);
