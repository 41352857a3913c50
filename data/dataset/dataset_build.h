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
// How many records of a file are read: all, a number of them, or a fraction, for which they are counted first. rule
// NULL: all.
int dataset_record_limit(int64_t *limit, const char *path, const FileRule *rule, Err *err);
