#include "train_run.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "autotune.h"
#include "finish.h"
#include "memory_use.h"
#include "say.h"
#include "signals.h"
#include "train_run_internal.h"

// ---- events between steps ----

static bool is_last(const Run *r) {
    const RunState *s = &r->trainer->state;
    return s->step >= r->trainer->total_steps || s->stopped_early;
}

static bool eval_due(const Run *r) {
    const RunState *s = &r->trainer->state;
    if (!r->data.eval_rows || s->step == 0 || s->evaluated_step == s->step) return false;
    return (r->eval_every && s->step % r->eval_every == 0) || is_last(r);
}

static void note_eval(Run *r, const EvalResult *e) {
    RunState *s = &r->trainer->state;
    bool best = isfinite(e->loss) && (s->best_step < 0 || e->loss < s->best_loss);
    s->evaluated_step = s->step;
    s->last_eval_loss = e->loss;
    s->evals_since_best = best ? 0 : s->evals_since_best + 1;
    if (best) r->best_before = (BestEval){s->best_step, s->best_loss};
    if (best) s->best_loss = e->loss, s->best_step = s->step;
    int64_t patience = r->config->early_stopping_patience;
    if (patience > 0 && s->evals_since_best >= patience && s->step < r->trainer->total_steps) {
        s->stopped_early = 1;
        progress_note(&r->progress, "no better eval_loss for %" PRId64 " evaluations: stopping at step %" PRId64,
                      patience, s->step);
    }
    if (!run_is_first(r)) return;
    train_log_eval(r->log, s->step, e);
    progress_eval(&r->progress, s->step, e, best);
}

// -1: the directory that rank 0 writes to is another run's now.
static int keep_place(Run *r, Err *err) {
    return run_is_first(r) ? output_dir_keep(&r->dir, r->config, err) : 0;
}

// 0: done; 1: stopped by a signal; -1: error.
static int run_eval(Run *r, Err *err) {
    EvalResult e;
    double start = time_now();
    int status = evaluate(r->trainer->runner, r->data.eval_set, r->data.eval_rows, signals_stop_asked, &e, err);
    if (status) return status;
    if (trainer_check_device(r->trainer, "the evaluation after step", r->trainer->state.step, err)) return -1;
    r->trainer->state.elapsed += time_now() - start;
    if (keep_place(r, err)) return -1;
    note_eval(r, &e);
    return 0;
}

static bool save_due(const Run *r) {
    const RunState *s = &r->trainer->state;
    if (s->step == 0 || s->step == r->saved_step) return false;
    bool best = r->config->load_best_model_at_end && s->evaluated_step == s->step;
    return s->step % r->save_every == 0 || best || is_last(r);
}

static int write_snapshot(Run *r, Err *err) {
    if (!run_is_first(r)) return 0;
    train_log_sync(r->log);
    if (snapshot_save(r->trainer, r->dir.path, &r->identity, err)) return -1;
    int64_t best = r->config->load_best_model_at_end ? r->trainer->state.best_step : -1;
    snapshot_prune(r->dir.path, r->config->save_total_limit, best);
    return 0;
}

// Rank 0 writes what all have. 0, 1: it could not be written; -1: the base model's files have changed, or the ranks do
// not have the same.
static int save(Run *r, Err *err) {
    heartbeat_set_phase(r->life, PHASE_UNTIMED, r->trainer->state.step);
    int bad = model_unchanged(r->model, err);
    if (run_agree(r, bad ? bad : keep_place(r, err), err)) return -1;
    int other = snapshot_compare_ranks(r->trainer, err);
    r->all_know = other > 0;
    if (other) return -1;
    r->save_failed = group_agree(r->group, write_snapshot(r, err), err) != 0;
    if (r->save_failed) return 1;
    r->saved_step = r->trainer->state.step;
    return 0;
}

// The state names only a best snapshot that is there: without the one of this step the one before it is still the best.
static void forget_unsaved_best(Run *r) {
    RunState *s = &r->trainer->state;
    if (!r->config->load_best_model_at_end || s->best_step != s->step) return;
    s->best_step = r->best_before.step;
    s->best_loss = r->best_before.loss;
}

static int given_up(Run *r) {
    r->all_know = true;
    return -1;
}

// A full disk in the middle of a run may have room again at the next snapshot; at the end it is an error.
static int save_or_warn(Run *r, Err *err) {
    int status = save(r, err);
    if (status <= 0) return status;
    if (is_last(r)) return given_up(r);
    log_warn("step %" PRId64 ": no snapshot: %s; the next one is tried as planned", r->trainer->state.step, err->msg);
    r->saved_step = r->trainer->state.step; // not again before the next planned one
    forget_unsaved_best(r);
    return 0;
}

static int interrupted(Run *r, Err *err) {
    progress_end(&r->progress);
    RunState *s = &r->trainer->state;
    bool unsaved = s->step > 0 && (s->step != r->saved_step || r->save_failed);
    int status = unsaved ? save(r, err) : 0;
    if (status > 0) status = given_up(r);
    if (status) return -1;
    say("stopped by a signal after step %" PRId64 "; run the same command to go on\n", s->step);
    return EXIT_INTERRUPTED;
}

static bool log_due(const Run *r, const StepReport *report) {
    return report->step % r->config->logging_steps == 0 || report->skipped || report->step == r->trainer->total_steps;
}

// 0: done; 1: stopped by a signal; -1: error.
static int do_step(Run *r, Err *err) {
    StepReport report;
    int status = trainer_step(r->trainer, signals_stop_asked, &report, err);
    r->all_know = r->trainer->all_know;
    if (status == 1) return 1;
    if (status && report.seconds <= 0) return status; // the step came to no end: there is nothing to report
    r->fresh = true;
    if (!run_is_first(r)) return status;
    size_t host = memory_peak(), device = memory_device(r->backend);
    Err other; // what ends the run is said first
    bool log = log_due(r, &report);
    if (log && keep_place(r, status ? &other : err)) return -1;
    if (log) train_log_step(r->log, &report, r->trainer->state.elapsed, host, device);
    progress_step(&r->progress, &report, device ? device : host, log);
    return status;
}

static int step_loop(Run *r, Err *err) {
    progress_start(&r->progress, r->trainer->state.step, r->trainer->total_steps, r->group->ranks > 1);
    for (;;) {
        // What is due after a step comes first, so that a run resumed at that step does it too.
        int status = eval_due(r) ? run_eval(r, err) : 0;
        if (status < 0) return -1;
        if (status > 0) return interrupted(r, err);
        if (save_due(r) && save_or_warn(r, err)) return -1;
        if (is_last(r)) break;
        status = do_step(r, err);
        if (status < 0) return -1;
        if (status > 0) return interrupted(r, err);
    }
    progress_end(&r->progress);
    return 0;
}

// The others wait: what a run leaves is there when any of them ends.
static int finish(Run *r, Err *err) {
    heartbeat_set_phase(r->life, PHASE_UNTIMED, r->trainer->state.step);
    if (run_agree(r, model_unchanged(r->model, err), err)) return -1;
    int status = run_is_first(r) ? finish_run(r->trainer, r->dir.path, r->fresh, err) : 0;
    return run_agree(r, status, err);
}

static int run(Run *r, Err *err) {
    if (run_agree(r, heartbeat_open(&r->life, r->group, (double)r->config->ddp_timeout, err), err)) return -1;
    if (run_set_up(r, err)) return -1;
    if (run_agreed(r, autotune(r->trainer, r->saved_step >= 0, err))) return -1;
    int status = step_loop(r, err);
    return status ? status : finish(r, err);
}

// An error that only this rank knows of names it, and ends the others; of one that all have, rank 0 speaks.
static void tell(const Run *r, int status, Err *err) {
    bool failed = status < 0, all_know = r->all_know && !r->group->broken;
    if (!failed) signals_ignore();
    if (failed && all_know && r->group->rank > 0) err->msg[0] = 0;
    if (failed && !all_know && r->group->ranks > 1) err_context(err, "rank %d", r->group->rank);
    heartbeat_close(r->life, err_exit_status(err->kind), failed && !all_know ? err->msg : NULL);
}

int train_run(const Config *c, Group *g, Err *err) {
    Run r = {.config = c, .group = g, .dir.lock = -1};
    int status = run(&r, err);
    tell(&r, status, err);
    train_log_close(r.log);
    trainer_free(r.trainer);
    adapter_free(r.adapter);
    run_data_close(&r.data);
    model_free(r.model);
    backend_close(r.backend);
    output_dir_close(&r.dir);
    return status;
}
