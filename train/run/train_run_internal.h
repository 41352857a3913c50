// The state of train_run, for train_run.c and train_setup.c.
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
    RankContext ranks;
    OutputDir dir; // rank 0's alone
    Backend *backend;
    Model *model;
    RunData data;
    Adapter *adapter;
    Trainer *trainer;
    TrainLog *log; // rank 0
    Progress progress;
    int64_t saved_step;             // of the newest snapshot, -1: none
    int64_t save_every, eval_every; // 0: only at the end
    bool save_failed;               // the last attempt
    BestEval best_before;           // the best one before RunState.best_step
    bool did_steps;                 // in this process
    int64_t tokens_before;          // with a profile: of the run before its first step
    bool error_on_all_ranks;        // every rank returns the same error
} Run;

bool run_is_rank_0(const Run *r);
// Notes that all ranks have the error of a collective call; returns rc.
int run_collective(Run *r, int rc);
// group_agree over rc of a call of this rank alone.
int run_agree(Run *r, int rc, Err *err);
// Collective: opens everything that the first step needs, restores the newest snapshot.
int run_set_up(Run *r, Err *err);
