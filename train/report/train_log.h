// train_log: train_log.jsonl, one object per logged step and per evaluation. If it cannot be written, there is one
// warning, and the run continues.
#pragma once

#include "hot_swap.h"
#include "overwrite.h"
#include "trainer.h"

typedef struct TrainLog TrainLog;

OwnCheck train_log_own; // overwrite.h
// Cuts an existing log back to this state (an evaluation that the state does not contain is repeated), and appends from
// there.
int train_log_open(TrainLog **log, const char *path, const TrainerState *s, Err *err);
void train_log_close(TrainLog *log);
// host, device: peak bytes of the process and of its device memory (0: none). peak_memory_bytes is the device's if
// there is one.
void train_log_step(TrainLog *log, const StepReport *r, double elapsed, size_t host, size_t device);
void train_log_eval(TrainLog *log, int64_t step, const EvalResult *r);
void train_log_swap(TrainLog *log, const HotSwapEvent *e);
void train_log_sync(TrainLog *log); // fsync, before a snapshot

// The log read back, for the report. Values that were not finite are NAN.
typedef struct LogPoint {
    bool is_eval;
    double step, loss, learning_rate, grad_norm, tokens_per_second, memory;
    double accuracy, macro_f1; // of evaluations; macro_f1: of classifiers, else NAN
    double margin;             // of rewards: of preferences, else NAN
    double hard, soft;         // parts of the loss, the data's and the teacher's: of distillation, else NAN
} LogPoint;
LogPoint *train_log_read(const char *path, size_t *count); // caller frees; unreadable lines are left out

// What became of the versions that one engine was told of (hot_swap.h).
typedef struct LogSwap {
    char *url, *engine, *name, *error; // of the last one; error NULL: it is loaded
    int64_t loaded, failed;            // how many
} LogSwap;
LogSwap *train_log_swaps(const char *path, size_t *count);
void train_log_swaps_free(LogSwap *swaps, size_t count);
