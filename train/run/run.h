// run: one run of the process: its state, and the parts of it that train_run.c and several_runs.c put in order.
//
// Files: run_setup.c, run_events.c.
#pragma once

#include "event_file.h"
#include "hot_swap.h"
#include "line_prefix.h"
#include "live.h"
#include "progress.h"
#include "ranks.h"
#include "train_log.h"
#include "train_run_internal.h"

typedef struct BestEval {
    int64_t step; // -1: none
    double loss;
} BestEval;

typedef enum { RUN_BETWEEN_STEPS, RUN_IN_STEP, RUN_OVER, RUN_FAILED } RunPhase;

typedef struct Run {
    const Config *config;
    const ConfigList *runs; // all of the command
    RankContext ranks;
    OutputDir dir;    // rank 0's alone
    Backend *backend; // borrowed, as is the model: all runs of the process share them
    Model *model;
    RunData data;
    Adapter *adapter, *reference; // reference: NULL: the base alone
    Teacher *teacher;             // NULL: none
    Trainer *trainer;
    TrainLog *log;     // rank 0
    EventFile *events; // rank 0's, NULL: none
    Live *live;        // of all runs, borrowed; NULL: none, as on other ranks
    size_t live_index;
    HotSwap *swap; // rank 0's, NULL: none
    Progress progress;
    int64_t saved_step;             // of the newest snapshot, -1: none
    int64_t save_every, eval_every; // 0: only at the end
    bool save_failed;               // the last attempt
    bool report_failed;             // warned of
    BestEval best_before;           // the best one before TrainerState.best_step
    bool did_steps;                 // in this process
    int64_t tokens_before;          // of the run before the first step of this process
    bool error_on_all_ranks;        // every rank returns the same error
    PassTeam *team;                 // of several runs in host memory, else NULL
    LinePrefix *lines;              // of several runs: their output is told apart by run_name; else NULL
    RunPhase phase;                 // of several runs
    Err err;                        // RUN_FAILED
} Run;

bool run_is_rank_0(const Run *r);
void run_begin_lines(const Run *r); // the following lines are of this run
void run_end_lines(const Run *r);   // of all runs
// rc of a collective call: its error is that of all ranks.
int run_on_all_ranks(Run *r, int rc);
// rc of a call of this rank alone: the ranks agree after each part that can fail, so that an error is reported once and
// no rank waits for one that has left.
int run_agree(Run *r, int rc, Err *err);

// ---- set-up, in this order, all collective ----

int run_open_output(Run *r, Err *err); // locks and checks the directory
int run_open_data(Run *r, Err *err);
int run_open_adapter(Run *r, Err *err);
int run_open_trainer(Run *r, Err *err); // without memory for passes (trainers_fit_memory)
int run_open_swap(Run *r, Err *err);    // the engines of hot_swap_url
int run_resume(Run *r, Err *err);       // from the newest snapshot; opens the log

// ---- steps ----

// The evaluation and the snapshot due after the previous step: a run resumed at that step does them too. 0: done;
// 1: stopped by a signal; -1: error.
int run_due(Run *r, Err *err);
// Reports and logs a step that returned rc (trainer_step). Returns rc, or -1.
int run_note_step(Run *r, const StepReport *report, int rc, Err *err);
// Saves the state of a run that a signal has stopped. EXIT_INTERRUPTED or -1.
int run_stop(Run *r, Err *err);
// report.html of a run that is not at its end (report_write). A failure is a warning.
void run_report(Run *r, const char *state);
int run_finish(Run *r, Err *err); // exports and verifies the adapter, writes the report

// ---- several_runs.c ----

// Before anything is computed: refuses to overwrite a report.html in the output_dir of all runs that lorac did not
// write.
int several_check_report(const Config *config, Err *err);
// The steps of n runs by turns, until all are at their end; then one report. A run that fails is reported and leaves,
// the others go on. config: of all runs. 0; EXIT_INTERRUPTED: all are saved; -1: err has the first failure.
int several_runs(const Config *config, Run *runs, size_t n, Err *err);
