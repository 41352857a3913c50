// eval: loss, perplexity and accuracy over rows, weighted by tokens, with everything that is for training only off; of
// a classifier loss, accuracy and macro-F1, weighted by samples. What passes count is added up as integers, so neither
// the number of ranks that they are dealt to nor their order changes a bit.
#pragma once

#include "adapter.h"
#include "row_runner.h"
#include "run_data.h"

typedef struct EvalResult {
    double loss, perplexity, accuracy;
    int64_t tokens;  // scored; of a classifier: samples
    int64_t labels;  // of a classifier, else 0
    double macro_f1; // of a classifier: the mean of F1 over the classes that occur, or were said to
} EvalResult;

PassOptions eval_options(void);
// Collective over r->group. 0, or 1 when `stop` became true on any rank (NULL: never); then *result is not set. -1: the
// ranks could not add up.
int evaluate(RowRunner *r, const Dataset *d, const RowPlan *p, bool (*stop)(void), EvalResult *result, Err *err);
// Over the evaluation data of d, with a runner of its own, on a device so many rows in a pass. a NULL: the base alone.
EvalResult evaluate_model(const Model *m, Adapter *a, const RunData *d, int64_t rows);
