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
