// tiny_run: everything of a training run on the tiny model, in one process, for tests.
#pragma once

#include <string.h>

#include "run_model.h"
#include "trainer_internal.h"

// Whether words, separated by spaces, set the key of `word`, "key=value".
static inline bool sets_key_of(const char *words, const char *word) {
    size_t n = strcspn(word, "=") + 1;
    for (const char *at = words; at && *at; at += strcspn(at, " "), at += strspn(at, " "))
        if (strncmp(at, word, n) == 0) return true;
    return false;
}

// Opens the backend of a run; NULL: the fast CPU.
typedef int (*TinyOpen)(Backend **b, void *user, Err *err);

typedef struct TinyRun {
    Config config;
    Backend *backend;
    Model *model;
    RunData data;
    Adapter *adapter;
    RankContext ranks;
    Trainer *trainer;
} TinyRun;

// Fixture of a test or of a group: makes a temporary directory with tiny.gguf and data.jsonl (24 samples of token ids),
// which becomes tiny_dir; removes it with all that is in it.
extern char tiny_dir[64];
int tiny_dir_setup(void **state);
int tiny_dir_teardown(void **state);

// Opens a run in tiny_dir with `n` words of config overrides, as far as trainer_fit_memory. CHECKs.
void tiny_run_open(TinyRun *r, int threads, const char *const *overrides, int n);
// The same as one rank of a group that deals rows_per_step rows.
void tiny_run_open_rank(TinyRun *r, int threads, Group *g, int64_t rows_per_step, const char *const *overrides, int n);
void tiny_run_open_on(TinyRun *r, TinyOpen open, void *user, const char *const *overrides, int n);
void tiny_run_close(TinyRun *r);                            // the directory stays
void tiny_run_steps(TinyRun *r, int64_t n, double *losses); // losses may be NULL

// Opens a run, takes n steps and returns the adapter's parameters after them, *count of them; the caller frees.
// losses: of each step; losses and count may be NULL.
float *tiny_run_train(TinyOpen open, void *user, const char *const *overrides, int n_overrides, int64_t n,
                      double *losses, int64_t *count);
int tiny_open_cpu(Backend **b, void *threads, Err *err); // a TinyOpen; threads: an int

// Whether the adapters that two output directories hold, as PEFT folder and as GGUF, are the same byte for byte.
bool tiny_same_adapter(const char *out_a, const char *out_b);
// train_log.jsonl of an output directory, without what depends on the clock, the machine and the ranks; the caller
// frees.
char *tiny_losses(const char *out);
