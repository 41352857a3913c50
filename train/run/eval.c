#include "eval.h"

#include <math.h>

DecoderOptions eval_options(void) {
    return (DecoderOptions){.grad_scale = 1};
}

int evaluate(RowRunner *r, const Dataset *d, const RowPlan *p, bool (*stop)(void), EvalResult *result) {
    DecoderOptions o = eval_options();
    double loss = 0;
    int64_t correct = 0, tokens = 0;
    for (int64_t i = 0; i < row_plan_count(p); i++) {
        if (stop && stop()) return 1;
        HeadResult row = row_runner_run(r, d, p, i, &o, TAPE_FORWARD);
        loss += row.loss;
        correct += row.correct;
        tokens += row_plan_supervised(p, i);
    }
    double n = tokens ? (double)tokens : 1;
    *result =
        (EvalResult){.loss = loss / n, .perplexity = exp(loss / n), .accuracy = (double)correct / n, .tokens = tokens};
    return 0;
}

EvalResult evaluate_model(const Model *m, Adapter *a, const RunData *d) {
    EvalResult result = {0};
    RowBounds bounds = {0};
    row_bounds_add(&bounds, d->eval_rows);
    RowRunner *runner = row_runner_new(m, a, bounds);
    DecoderOptions o = eval_options();
    row_runner_reserve(runner, row_runner_plan(runner, &o, TAPE_FORWARD));
    evaluate(runner, d->eval_set, d->eval_rows, NULL, &result);
    row_runner_free(runner);
    return result;
}
