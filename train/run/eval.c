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
