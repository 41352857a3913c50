// bench_train: the speed of real training: `lorac train` as a child process on rows of synthetic tokens, stopped after
// some seconds. A process per dtype, so that each has its own peak of memory.
#pragma once

#include "config.h"

typedef struct BenchTrain {
    const char *dir;    // temporary; the child's output_dir and token cache are in it
    char *const *words; // the config of the command line: what the child reads first
    int n_words;
    int64_t tokens; // of a row
    double seconds; // after these the child is stopped, if it has done two steps
} BenchTrain;

typedef struct BenchSpeed {
    double tokens_per_second; // median of the steps after the first
    double peak_memory_bytes; // of the process; on a GPU of its device memory
    int64_t steps;
} BenchSpeed;

// dir/rows.jsonl: rows of `tokens` ids below vocab, all supervised.
int bench_rows_write(const char *dir, int64_t tokens, int64_t vocab, Err *err);
// 0, EXIT_INTERRUPTED, or -1 where the child fails, or does no two steps in ten times `seconds`.
int bench_train(BenchSpeed *speed, const BenchTrain *b, DtypeWord dtype, Err *err);
