// train_log: train_log.jsonl, one object per logged step and per evaluation (CONTRACT section 3). A log that cannot be
// written is warned of once and never stops a run.
#pragma once

#include "overwrite.h"
#include "trainer.h"

typedef struct TrainLog TrainLog;

OwnCheck train_log_own; // overwrite.h
// Keeps what an earlier part of the run has logged up to this state (an evaluation that the state does not know of is
// made again), drops the rest, and appends from there.
int train_log_open(TrainLog **log, const char *path, const RunState *s, Err *err);
void train_log_close(TrainLog *log);
// host, device: peaks of the process and of what it holds on a device (0: none), which is the one that counts there.
void train_log_step(TrainLog *log, const StepReport *r, double elapsed, size_t host, size_t device);
void train_log_eval(TrainLog *log, int64_t step, const EvalResult *r);
void train_log_sync(TrainLog *log); // to the disk, before a snapshot that counts on it

// The log read back, for the report. Values that were not finite are NAN.
typedef struct LogPoint {
    bool is_eval;
    double step, loss, learning_rate, grad_norm, tokens_per_second, memory;
    double accuracy, macro_f1; // of evaluations, which have step and loss besides; macro_f1: of classifiers, else NAN
} LogPoint;
LogPoint *train_log_read(const char *path, size_t *count); // caller frees; unreadable lines are left out
