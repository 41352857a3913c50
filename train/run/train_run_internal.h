// Private to train_run.c and train_setup.c.
#pragma once

#include "output_dir.h"
#include "progress.h"
#include "snapshot.h"
#include "train_log.h"

typedef struct BestEval {
    int64_t step; // -1: none
    double loss;
} BestEval;

typedef struct Run {
    const Config *config;
    Group *group;
    Heartbeat *life;
    OutputDir dir; // rank 0's; the others leave it alone
    Backend *backend;
    Model *model;
    RunData data;
    Adapter *adapter;
    Trainer *trainer;
    RunIdentity identity;
    TrainLog *log; // rank 0
    Progress progress;
    int64_t saved_step;             // of the newest snapshot, -1: none
    int64_t save_every, eval_every; // 0: only at the end
    bool save_failed;               // the last try
    BestEval best_before;           // the one before state.best_step
    bool fresh;                     // this process did steps
    bool all_know;                  // the error is one that all ranks have
} Run;

bool run_is_first(const Run *r); // of the ranks
// group_agree, noting that all know.
int run_agree(Run *r, int status, Err *err);
int run_agreed(Run *r, int status); // the same of a call that has made the ranks agree by itself
// Collective: everything there is before the first step, the newest snapshot loaded.
int run_set_up(Run *r, Err *err);
