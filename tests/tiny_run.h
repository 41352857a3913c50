// tiny_run: everything of a training run on the tiny model, in one process, for tests.
#pragma once

#include "run_adapter.h"
#include "trainer.h"

// Opens the backend of a run; NULL: the fast CPU.
typedef int (*TinyOpen)(Backend **b, void *user, Err *err);

typedef struct TinyRun {
    char dir[64]; // temporary, holds model, data and output
    Config config;
    Backend *backend;
    Model *model;
    RunData data;
    Adapter *adapter;
    Trainer *trainer;
} TinyRun;

// Writes tiny.gguf and data.jsonl (24 samples of token ids) into a new temporary directory; the path goes to dir.
void tiny_dir_new(char dir[64]);
void tiny_dir_remove(const char *dir);

// Opens a run in `dir` with threads and up to `n` words of config overrides, as far as trainer_fit_memory. CHECKs.
void tiny_run_open(TinyRun *r, const char *dir, int threads, const char *const *overrides, int n);
void tiny_run_open_on(TinyRun *r, const char *dir, TinyOpen open, void *user, const char *const *overrides, int n);
void tiny_run_close(TinyRun *r);                            // the directory stays
void tiny_run_steps(TinyRun *r, int64_t n, double *losses); // losses may be NULL
