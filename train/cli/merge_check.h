// merge_check: compares a merged model with base and adapter.
#pragma once

#include "config.h"
#include "eval.h"

typedef struct MergeCheck { // init with {0}
    int32_t *ids;           // a fixed text
    int64_t n;
    float *logits; // [n, vocab] with the adapter
    bool has_data;
    Config config; // of the validation data
    RunData data;
    EvalResult eval; // on data, with the adapter
} MergeCheck;

// Computes logits and loss with the adapter. validation_file NULL: only on the fixed text. The caller calls
// merge_check_close, after a failure too.
int merge_check_open(MergeCheck *c, const Model *m, Adapter *a, const char *validation_file, Err *err);
// Prints the largest difference of the logits and the perplexities; ERR_RUNTIME when the merged model differs by more
// than the rounding of its weights explains.
int merge_check_compare(const MergeCheck *c, const Model *merged, Err *err);
void merge_check_close(MergeCheck *c);
