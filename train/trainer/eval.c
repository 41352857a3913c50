#include "eval.h"

#include <math.h>
#include <string.h>

#include "trainer_internal.h"

// Summed over passes and ranks: int64_t fields only.
typedef struct EvalSums {
    int64_t stopped, scored;
    HeadTally heads;
    int64_t classes[]; // class_sums_count
} EvalSums;

static ClassShape class_shape(const PassRunner *r) {
    const AdapterConfig *c = r->adapter ? &r->adapter->config : NULL;
    return (ClassShape){c ? c->problem : PROBLEM_AUTO, c ? c->labels : 0, c ? &r->adapter->labels : NULL};
}

static void count_classes(int64_t *sums, PassRunner *r) {
    const float *logits = r->logits ? pass_runner_logits(r) : NULL;
    class_sums_add(sums, class_shape(r), &r->row, logits ? NULL : pass_runner_predicted(r), logits);
}

// What the passes of an evaluation share.
typedef struct EvalRun {
    const Dataset *dataset;
    const RowPlan *plan;
    PassState state;
    PreferenceCounts samples; // of preferences
    int64_t tokens;           // scored
    bool mismatched;          // PassRows
} EvalRun;

static EvalRun eval_run(const PassRunner *r, const Dataset *d, const RowPlan *p) {
    EvalRun run = {.dataset = d, .plan = p, .state = {.grad_scale = 1}};
    const PassRows from = {.dataset = d, .plan = p};
    for (int64_t i = 0; i < p->count; i++) {
        run.tokens += row_plan_scored(d, p, i, MLM_EVALUATION);
        if (r->preference) preference_count(&run.samples, r->preference, &from, i);
    }
    if (r->preference) run.state = preference_state(r->preference, &run.samples, 1, 0);
    return run;
}

static int run_pass(PassRunner *r, const EvalRun *run, int64_t first, int64_t *rows, EvalSums *sums, Err *err) {
    int64_t left = run->plan->count - first;
    PassRows pass = {.dataset = run->dataset,
                     .plan = run->plan,
                     .rows = rows,
                     .count = left < r->eval_rows ? left : r->eval_rows,
                     .epoch = MLM_EVALUATION,
                     .mismatched = run->mismatched};
    for (int64_t i = 0; i < pass.count; i++) rows[i] = first + i;
    if (r->pipeline && pipeline_receive(r->pipeline, &pass, err)) return -1;
    heartbeat_set_phase(r->ranks.heartbeat, pass_runner_phase(r), 0);
    sums->scored += pass_runner_start(r, &pass, &PASS_OPTIONS_EVAL, run->state, TAPE_FORWARD, r->tally);
    if (r->predicted) count_classes(sums->classes, r);
    return r->pipeline ? pipeline_send(r->pipeline, &pass, err) : 0;
}

// This rank's passes, until a stop is requested; in a pipeline its neighbours wait for all of them.
static int run_passes(PassRunner *r, const EvalRun *run, bool (*stop)(void), EvalSums *sums, Err *err) {
    enum { QUEUED = 64 }; // passes queued on a device: bounds the time until a stop takes effect
    Backend *b = r->model->backend;
    int64_t step = ranks_pipelines(&r->ranks) * r->eval_rows;
    AUTO_FREE int64_t *rows = mem_alloc((size_t)r->eval_rows, sizeof *rows);
    int64_t n = 0;
    for (int64_t i = ranks_pipeline(&r->ranks) * r->eval_rows; i < run->plan->count; i += step) {
        if ((sums->stopped = stop && stop()) && !r->pipeline) break;
        if (run_pass(r, run, i, rows, sums, err)) return -1;
        if (++n % QUEUED == 0) b->k->sync(b);
    }
    b->k->download(b, &sums->heads, r->tally, sizeof sums->heads);
    return 0;
}

static EvalResult result_of(const EvalSums *sums, const EvalRun *run, const PassRunner *runner, ClassShape c) {
    const PassPreference *p = runner->preference;
    int64_t units = run->samples.samples ? run->samples.samples : run->tokens;
    double n = units ? (double)units : 1, loss = pass_runner_loss(&sums->heads) / n;
    EvalResult r = {.loss = loss, .perplexity = exp(loss), .tokens = run->tokens, .labels = c.labels};
    r.accuracy = (double)sums->heads.correct / n;
    r.teacher = teacher_report(runner->teacher, &sums->heads, run->tokens);
    if (r.teacher.given) r.perplexity = exp(r.teacher.hard);
    r.problem = c.problem;
    if (c.labels) r.classes = class_metrics_of(sums->classes, c, sums->heads.correct, run->tokens);
    if (p) r.preference = preference_report(p, &sums->heads, &run->samples, (double)run->state.kl);
    return r;
}

// All ranks' passes.
static int sum_passes(PassRunner *r, const EvalRun *run, bool (*stop)(void), EvalSums *sums, size_t bytes, Err *err) {
    Backend *b = r->model->backend;
    b->k->zero(b, r->tally, sizeof *r->tally);
    if (run_passes(r, run, stop, sums, err)) return -1;
    heartbeat_set_phase(r->ranks.heartbeat, PHASE_WAITING, 0);
    int rc = group_sum(r->ranks.group, (int64_t *)sums, (int64_t)(bytes / sizeof(int64_t)), err);
    heartbeat_set_phase(r->ranks.heartbeat, PHASE_UNTIMED, 0);
    return rc;
}

int evaluate(PassRunner *r, const Dataset *d, const RowPlan *p, bool (*stop)(void), EvalResult *result, Err *err) {
    ClassShape shape = class_shape(r);
    if (r->vectors) return evaluate_vectors(r, d, p, stop, result, err);
    EvalRun run = eval_run(r, d, p);
    size_t bytes = sizeof(EvalSums) + (shape.labels ? class_sums_count(shape) : 0) * sizeof(int64_t);
    AUTO_FREE EvalSums *sums = mem_calloc(1, bytes);
    int rc = 0;
    if (r->preference && r->preference->loss.kind == PREFERENCE_KTO) {
        run.mismatched = true;
        rc = sum_passes(r, &run, stop, sums, bytes, err);
        run.state.kl = (float)preference_kl(&sums->heads, &run.samples);
        run.mismatched = false;
    }
    if (!rc && !sums->stopped) {
        memset(sums, 0, bytes);
        rc = sum_passes(r, &run, stop, sums, bytes, err);
    }
    if (!rc && sums->stopped) rc = 1;
    if (!rc && sums->scored != run.tokens)
        rc = err_runtime(err, "evaluation: %ld token%s were scored; expected %ld: rows were lost or counted twice",
                         sums->scored, plural(sums->scored), run.tokens);
    if (!rc) *result = result_of(sums, &run, r, shape);
    return rc;
}

EvalResult evaluate_model(const Model *m, Adapter *a, const RunData *d, int64_t rows, const EvalLoss *loss) {
    EvalResult result = {0};
    Group alone = group_alone();
    PassRunnerOptions o = {.model = m,
                           .adapter = a,
                           .eval_rows = rows_in_pass(m->backend, rows),
                           .ranks = {.group = &alone},
                           .preference = loss ? loss->preference : NULL,
                           .teacher = loss ? loss->teacher : NULL};
    const RowPlan *const plans[2] = {d->eval_rows, NULL};
    if (loss && loss->vectors) o.vectors = vectors_new(m->backend, loss->vectors, plans, loss->batch, m->config.hidden);
    pass_bounds_add(&o.bounds, d->eval_rows, o.eval_rows);
    PassRunner *runner = pass_runner_new(&o);
    pass_runner_reserve(runner, pass_runner_build_largest(runner, &PASS_OPTIONS_EVAL, TAPE_FORWARD).arena);
    Err err;
    CHECK(evaluate(runner, d->eval_set, d->eval_rows, NULL, &result, &err) == 0, "%s", err.msg);
    pass_runner_free(runner);
    return result;
}
