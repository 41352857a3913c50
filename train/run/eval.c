#include "eval.h"

#include <math.h>

DecoderOptions eval_options(void) {
    return (DecoderOptions){0};
}

// How often each class was right, said, and there; NULL for a language model.
typedef struct Tally {
    int64_t right, said, there;
} Tally;

static void count_pass(Tally *tally, RowRunner *r) {
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

typedef struct Sums {
    double loss;
    int64_t correct;
} Sums;

static void add_results(Sums *sums, RowRunner *r) {
    int64_t n;
    const HeadResult *results = row_runner_fetch(r, &n);
    for (int64_t i = 0; i < n; i++) {
        sums->loss += results[i].loss;
        sums->correct += results[i].correct;
    }
}

// The next pass, from row `first` on.
static void start_pass(RowRunner *r, const Dataset *d, const RowPlan *p, int64_t first, int64_t *rows) {
    int64_t left = row_plan_count(p) - first;
    RowPass pass = {.dataset = d, .plan = p, .rows = rows, .count = left < r->eval_rows ? left : r->eval_rows};
    DecoderOptions o = eval_options();
    for (int64_t i = 0; i < pass.count; i++) rows[i] = first + i;
    row_runner_start(r, &pass, &o, (PassState){.grad_scale = 1}, TAPE_FORWARD);
}

int evaluate(RowRunner *r, const Dataset *d, const RowPlan *p, bool (*stop)(void), EvalResult *result) {
    int64_t labels = r->adapter ? r->adapter->config.labels : 0, *rows = mem_alloc((size_t)r->eval_rows, sizeof *rows);
    Tally *tally = labels ? mem_calloc((size_t)labels, sizeof *tally) : NULL;
    Sums sums = {0};
    bool stopped = false;
    for (int64_t i = 0; i < row_plan_count(p) && !stopped; i += r->eval_rows) {
        if ((stopped = stop && stop())) break;
        start_pass(r, d, p, i, rows);
        if (tally) count_pass(tally, r);
        if (r->started == r->max_results) add_results(&sums, r);
    }
    add_results(&sums, r);
    int64_t tokens = 0;
    for (int64_t i = 0; i < row_plan_count(p); i++) tokens += row_plan_supervised(p, i);
    double n = tokens ? (double)tokens : 1;
    if (!stopped)
        *result = (EvalResult){.loss = sums.loss / n,
                               .perplexity = exp(sums.loss / n),
                               .accuracy = (double)sums.correct / n,
                               .tokens = tokens,
                               .labels = labels,
                               .macro_f1 = tally ? macro_f1(tally, labels) : 0};
    mem_free(tally);
    mem_free(rows);
    return stopped;
}

EvalResult evaluate_model(const Model *m, Adapter *a, const RunData *d, int64_t rows) {
    enum { PASSES = 64 };
    EvalResult result = {0};
    RowShape bounds = {0};
    rows = rows_side_by_side(m->backend, rows);
    row_bounds_add(&bounds, d->eval_rows, rows);
    RowRunner *runner = row_runner_new(m, a, bounds, PASSES);
    runner->eval_rows = rows;
    DecoderOptions o = eval_options();
    row_runner_reserve(runner, row_runner_plan(runner, &o, TAPE_FORWARD));
    evaluate(runner, d->eval_set, d->eval_rows, NULL, &result);
    row_runner_free(runner);
    return result;
}
