#include "eval.h"

#include <math.h>

PassOptions eval_options(void) {
    return (PassOptions){0};
}

// How often each class was right, said, and there; none for a language model.
typedef struct ClassCount {
    int64_t right, said, there;
} ClassCount;

// What is added up over passes and ranks: integers and nothing else.
typedef struct EvalSums {
    int64_t stopped, scored;
    HeadTally heads;
    ClassCount classes[];
} EvalSums;

static void count_classes(ClassCount *classes, RowRunner *r) {
    const int32_t *predicted = row_runner_predicted(r);
    for (int64_t i = 0; i < r->row.scored; i++) {
        int32_t label = r->row.target[i], verdict = predicted[i];
        classes[label].there++;
        if (verdict < 0) continue; // NaN
        classes[verdict].said++;
        classes[label].right += verdict == label;
    }
}

// F1 = 2 right / (said + there), van Rijsbergen 1979.
static double macro_f1(const ClassCount *classes, int64_t labels) {
    double sum = 0;
    int64_t n = 0;
    for (int64_t i = 0; i < labels; i++) {
        double both = (double)classes[i].said + (double)classes[i].there;
        if (both == 0) continue;
        sum += 2 * (double)classes[i].right / both;
        n++;
    }
    return n ? sum / (double)n : 0;
}

// The pass from row `first` on.
static void run_pass(RowRunner *r, const Dataset *d, const RowPlan *p, int64_t first, int64_t *rows, EvalSums *sums) {
    int64_t left = row_plan_count(p) - first;
    RowPass pass = {.dataset = d, .plan = p, .rows = rows, .count = left < r->eval_rows ? left : r->eval_rows};
    PassOptions o = eval_options();
    for (int64_t i = 0; i < pass.count; i++) rows[i] = first + i;
    heartbeat_set_phase(r->life, row_runner_phase(r), 0);
    row_runner_start(r, &pass, &o, (PassState){.grad_scale = 1}, TAPE_FORWARD, r->tally);
    sums->scored += r->row.scored;
    if (r->predicted) count_classes(sums->classes, r);
}

// This rank's passes, until it is asked to stop.
static void run_passes(RowRunner *r, const Dataset *d, const RowPlan *p, bool (*stop)(void), EvalSums *sums) {
    enum { QUEUED = 64 }; // on a device, so that a stop is not long in coming
    Backend *b = r->model->backend;
    Group alone = group_alone(), *g = r->group ? r->group : &alone;
    int64_t *rows = mem_alloc((size_t)r->eval_rows, sizeof *rows), n = 0;
    for (int64_t i = g->rank * r->eval_rows; i < row_plan_count(p); i += g->ranks * r->eval_rows) {
        if ((sums->stopped = stop && stop())) break;
        run_pass(r, d, p, i, rows, sums);
        if (++n % QUEUED == 0) b->k->sync(b);
    }
    b->k->download(b, &sums->heads, r->tally, sizeof sums->heads);
    mem_free(rows);
}

static EvalResult result_of(const EvalSums *sums, int64_t tokens, int64_t labels) {
    double n = tokens ? (double)tokens : 1, loss = row_runner_loss(&sums->heads) / n;
    return (EvalResult){.loss = loss,
                        .perplexity = exp(loss),
                        .accuracy = (double)sums->heads.correct / n,
                        .tokens = tokens,
                        .labels = labels,
                        .macro_f1 = labels ? macro_f1(sums->classes, labels) : 0};
}

int evaluate(RowRunner *r, const Dataset *d, const RowPlan *p, bool (*stop)(void), EvalResult *result, Err *err) {
    Backend *b = r->model->backend;
    int64_t labels = r->adapter ? r->adapter->config.labels : 0, tokens = 0;
    size_t bytes = sizeof(EvalSums) + (size_t)labels * sizeof(ClassCount);
    EvalSums *sums = mem_calloc(1, bytes);
    b->k->zero(b, r->tally, sizeof *r->tally);
    run_passes(r, d, p, stop, sums);
    heartbeat_set_phase(r->life, PHASE_WAITING, 0);
    int status = r->group ? group_sum(r->group, (int64_t *)sums, (int64_t)(bytes / sizeof(int64_t)), err) : 0;
    heartbeat_set_phase(r->life, PHASE_UNTIMED, 0);
    for (int64_t i = 0; i < row_plan_count(p); i++) tokens += row_plan_supervised(p, i);
    if (!status && sums->stopped) status = 1;
    if (!status && sums->scored != tokens)
        status = err_runtime(err, "evaluation: %lld tokens were scored; expected %lld: rows were lost or doubled",
                             (long long)sums->scored, (long long)tokens);
    if (!status) *result = result_of(sums, tokens, labels);
    mem_free(sums);
    return status;
}

EvalResult evaluate_model(const Model *m, Adapter *a, const RunData *d, int64_t rows) {
    EvalResult result = {0};
    RowShape bounds = {0};
    rows = rows_side_by_side(m->backend, rows);
    row_bounds_add(&bounds, d->eval_rows, rows);
    RowRunner *runner = row_runner_new(m, a, bounds);
    runner->eval_rows = rows;
    PassOptions o = eval_options();
    row_runner_reserve(runner, row_runner_plan(runner, &o, TAPE_FORWARD));
    Err err;
    CHECK(evaluate(runner, d->eval_set, d->eval_rows, NULL, &result, &err) == 0, "%s", err.msg);
    row_runner_free(runner);
    return result;
}
