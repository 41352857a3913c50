#include "eval.h"

#include <math.h>

DecoderOptions eval_options(void) {
    return (DecoderOptions){0};
}

// How often each class was right, said, and there; NULL for a language model.
typedef struct Tally {
    int64_t right, said, there;
} Tally;

static void count_row(Tally *tally, RowRunner *r) {
    const int32_t *predicted = row_runner_predicted(r);
    for (int64_t i = 0; i < r->row.scored; i++) {
        int32_t label = r->row.target[i], verdict = predicted[i];
        tally[label].there++;
        if (verdict < 0) continue; // NaN
        tally[verdict].said++;
        tally[label].right += verdict == label;
    }
}

// F1 = 2 right / (said + there), van Rijsbergen 1979.
static double macro_f1(const Tally *tally, int64_t labels) {
    double sum = 0;
    int64_t n = 0;
    for (int64_t i = 0; i < labels; i++) {
        int64_t both = tally[i].said + tally[i].there;
        if (!both) continue;
        sum += 2 * (double)tally[i].right / (double)both;
        n++;
    }
    return n ? sum / (double)n : 0;
}

int evaluate(RowRunner *r, const Dataset *d, const RowPlan *p, bool (*stop)(void), EvalResult *result) {
    DecoderOptions o = eval_options();
    int64_t labels = r->adapter ? r->adapter->config.labels : 0, correct = 0, tokens = 0;
    Tally *tally = labels ? mem_calloc((size_t)labels, sizeof *tally) : NULL;
    double loss = 0;
    bool stopped = false;
    for (int64_t i = 0; i < row_plan_count(p) && !stopped; i++) {
        if ((stopped = stop && stop())) break;
        HeadResult row = row_runner_run(r, d, p, i, &o, (PassState){.grad_scale = 1}, TAPE_FORWARD);
        loss += row.loss;
        correct += row.correct;
        tokens += row_plan_supervised(p, i);
        if (tally) count_row(tally, r);
    }
    double n = tokens ? (double)tokens : 1;
    if (!stopped)
        *result = (EvalResult){.loss = loss / n,
                               .perplexity = exp(loss / n),
                               .accuracy = (double)correct / n,
                               .tokens = tokens,
                               .labels = labels,
                               .macro_f1 = tally ? macro_f1(tally, labels) : 0};
    mem_free(tally);
    return stopped;
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
