// dataset_build: data files to a data set in a new token cache.
#pragma once

#include "dataset.h"

typedef struct DatasetInput {
    const DatasetOptions *options;
    const Tokenizer *tokenizer;
    const ChatTemplate *chat; // or NULL
} DatasetInput;

// Writes the cache to `file`; where that fails (NULL, no room, not writable), keeps it in memory.
int dataset_build(Dataset **d, const DatasetInput *in, const char *file, const char *key, Err *err);
// Which records of a file are read, from 0: those of its slice, and of them the first ones, a number or a fraction.
// They are counted first where the bounds depend on their number. rule NULL: all.
typedef struct RecordRange {
    int64_t from, to;
} RecordRange;
int dataset_record_range(RecordRange *range, const char *path, const FileRule *rule, Err *err);
// A slice that begins behind the file's n records; -1.
int dataset_fail_slice(const char *path, const FileRule *rule, int64_t n, Err *err);
