// eval: token-weighted loss, perplexity and accuracy over rows, with everything that is for training only off.
#pragma once

#include "adapter.h"
#include "row_runner.h"
#include "run_data.h"

typedef struct EvalResult {
    double loss, perplexity, accuracy;
    int64_t tokens; // scored
} EvalResult;

DecoderOptions eval_options(void);
// 0, or 1 when `stop` became true (NULL: never); then *result is not set.
int evaluate(RowRunner *r, const Dataset *d, const RowPlan *p, bool (*stop)(void), EvalResult *result);
// Over the evaluation data of d, with a runner of its own. a NULL: the base alone.
EvalResult evaluate_model(const Model *m, Adapter *a, const RunData *d);
