#include "train_run.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "autotune.h"
#include "finish.h"
#include "memory_use.h"
#include "profile.h"
#include "run_profile.h"
#include "say.h"
#include "signals.h"
#include "train_run_internal.h"

// ---- events between steps ----

static bool eval_due(const Run *r) {
    const RunState *s = trainer_state(r->trainer);
    if (!r->data.eval_rows || s->step == 0 || s->evaluated_step == s->step) return false;
    return (r->eval_every && s->step % r->eval_every == 0) || trainer_is_done(r->trainer);
}

static void note_eval(Run *r, const EvalResult *e, double seconds) {
    RunState s = *trainer_state(r->trainer);
    bool best = isfinite(e->loss) && (s.best_step < 0 || e->loss < s.best_loss);
    int64_t patience = r->config->early_stopping_patience;
    s.elapsed += seconds;
    s.evaluated_step = s.step;
    s.last_eval_loss = e->loss;
    s.evals_since_best = best ? 0 : s.evals_since_best + 1;
    if (best) {
        r->best_before = (BestEval){s.best_step, s.best_loss};
        s.best_loss = e->loss;
        s.best_step = s.step;
    }
    bool stop = patience > 0 && s.evals_since_best >= patience && !trainer_is_done(r->trainer);
    if (stop) s.stopped_early = 1;
    trainer_set_state(r->trainer, &s);
    if (stop)
        progress_note(&r->progress, "no better eval_loss for %" PRId64 " evaluations: stopping at step %" PRId64,
                      patience, s.step);
    if (!run_is_rank_0(r)) return;
    train_log_eval(r->log, s.step, e);
    progress_eval(&r->progress, s.step, e, best);
}

// Recreates output_dir if it was removed. -1: another run has started in it.
static int ensure_output_dir(Run *r, Err *err) {
    return run_is_rank_0(r) ? output_dir_keep(&r->dir, r->config, err) : 0;
}

// 0: done; 1: stopped by a signal; -1: error.
static int run_eval(Run *r, Err *err) {
    EvalResult e;
    double start = time_now();
    profile_begin(r->backend, PROFILE_EVALUATION);
    int rc = trainer_evaluate(r->trainer, signals_stop_asked, &e, err);
    profile_end(r->backend);
    if (rc) return rc;
    if (trainer_check_device(r->trainer, "the evaluation after step", trainer_state(r->trainer)->step, err)) return -1;
    if (ensure_output_dir(r, err)) return -1;
    note_eval(r, &e, time_now() - start);
    return 0;
}

static bool save_due(const Run *r) {
    const RunState *s = trainer_state(r->trainer);
    if (s->step == 0 || s->step == r->saved_step) return false;
    bool best = r->config->load_best_model_at_end && s->evaluated_step == s->step;
    return s->step % r->save_every == 0 || best || trainer_is_done(r->trainer);
}

static int write_snapshot(Run *r, Err *err) {
    if (!run_is_rank_0(r)) return 0;
    train_log_sync(r->log);
    if (snapshot_save(r->trainer, r->dir.path, err)) return -1;
    int64_t best = r->config->load_best_model_at_end ? trainer_state(r->trainer)->best_step : -1;
    snapshot_prune(r->dir.path, r->config->save_total_limit, best);
    return 0;
}

// Collective. 1: the snapshot could not be written; -1: the base model's files have changed, or the ranks differ.
static int save(Run *r, Err *err) {
    int64_t step = trainer_state(r->trainer)->step;
    heartbeat_set_phase(r->ranks.heartbeat, PHASE_UNTIMED, step);
    int rc = model_check_unchanged(r->model, err);
    if (run_agree(r, rc ? rc : ensure_output_dir(r, err), err)) return -1;
    int differ = snapshot_compare_ranks(r->trainer, err);
    r->error_on_all_ranks = differ > 0;
    if (differ) return -1;
    r->save_failed = group_agree(r->ranks.group, write_snapshot(r, err), err) != 0;
    if (r->save_failed) return 1;
    r->saved_step = step;
    return 0;
}

// best_step must refer to a saved snapshot: if this step's save failed, the previous best is restored.
static void forget_unsaved_best(Run *r) {
    RunState s = *trainer_state(r->trainer);
    if (!r->config->load_best_model_at_end || s.best_step != s.step) return;
    s.best_step = r->best_before.step;
    s.best_loss = r->best_before.loss;
    trainer_set_state(r->trainer, &s);
}

// A full disk is an error at the end of a run only: before, the next snapshot may succeed.
static int save_or_warn(Run *r, Err *err) {
    profile_begin(r->backend, PROFILE_SNAPSHOT);
    int rc = save(r, err);
    profile_end(r->backend);
    if (rc <= 0) return rc;
    if (trainer_is_done(r->trainer)) return run_collective(r, -1);
    r->saved_step = trainer_state(r->trainer)->step; // no other attempt before the next planned snapshot
    log_warn("step %" PRId64 ": no snapshot: %s; the next one is attempted as planned", r->saved_step, err->msg);
    forget_unsaved_best(r);
    return 0;
}

static int stopped_by_signal(Run *r, Err *err) {
    progress_end(&r->progress);
    const RunState *s = trainer_state(r->trainer);
    bool unsaved = s->step > 0 && (s->step != r->saved_step || r->save_failed);
    int rc = unsaved ? save(r, err) : 0;
    if (rc > 0) run_collective(r, rc);
    if (rc) return -1;
    say("stopped by a signal after step %" PRId64 "; rerun the same command to resume\n", s->step);
    return EXIT_INTERRUPTED;
}

static bool log_due(const Run *r, const StepReport *report) {
    return report->step % r->config->logging_steps == 0 || report->skipped ||
           report->step == trainer_step_plan(r->trainer)->total_steps;
}

// rc: of the step. Returns it, or -1.
static int report_step(Run *r, const StepReport *report, int rc, Err *err) {
    size_t host = memory_peak(), device = memory_device(r->backend);
    Err second; // the step's error is reported, not this one
    bool log = log_due(r, report);
    if (log && ensure_output_dir(r, rc ? &second : err)) return -1;
    if (log) train_log_step(r->log, report, trainer_state(r->trainer)->elapsed, host, device);
    progress_step(&r->progress, report, device ? device : host, log);
    return rc;
}

// 0: done; 1: stopped by a signal; -1: error.
static int do_step(Run *r, Err *err) {
    StepReport report;
    profile_begin(r->backend, PROFILE_STEP);
    int rc = trainer_step(r->trainer, signals_stop_asked, &report, err);
    profile_end(r->backend);
    r->error_on_all_ranks = report.error_on_all_ranks;
    if (rc == 1) return 1;
    if (rc && report.seconds <= 0) return rc; // the step did not end: there is nothing to report
    r->did_steps = true;
    if (!run_is_rank_0(r)) return rc;
    profile_begin(r->backend, PROFILE_LOG);
    rc = report_step(r, &report, rc, err);
    profile_end(r->backend);
    return rc;
}

static int step_loop(Run *r, Err *err) {
    progress_start(&r->progress, trainer_state(r->trainer)->step, trainer_step_plan(r->trainer)->total_steps,
                   r->ranks.group->ranks > 1);
    for (;;) {
        // The evaluation and snapshot due after the previous step: a run resumed at that step does them too.
        int rc = eval_due(r) ? run_eval(r, err) : 0;
        if (!rc && save_due(r)) rc = save_or_warn(r, err);
        if (!rc && trainer_is_done(r->trainer)) break;
        if (!rc) rc = do_step(r, err);
        if (rc < 0) return -1;
        if (rc > 0) return stopped_by_signal(r, err);
    }
    progress_end(&r->progress);
    return 0;
}

// The other ranks wait, so that all output exists when any of them exits.
static int finish(Run *r, Err *err) {
    heartbeat_set_phase(r->ranks.heartbeat, PHASE_UNTIMED, trainer_state(r->trainer)->step);
    if (run_agree(r, model_check_unchanged(r->model, err), err)) return -1;
    int rc = run_is_rank_0(r) ? finish_run(r->trainer, r->dir.path, r->did_steps, err) : 0;
    return run_agree(r, rc, err);
}

static int run(Run *r, Err *err) {
    double timeout = (double)r->config->ddp_timeout;
    if (run_agree(r, heartbeat_open(&r->ranks.heartbeat, r->ranks.group, timeout, err), err)) return -1;
    if (run_set_up(r, err)) return -1;
    if (run_collective(r, autotune(r->trainer, r->saved_step >= 0, err))) return -1;
    run_profile_start(r);
    int status = step_loop(r, err);
    run_profile_end(r);
    return status ? status : finish(r, err);
}

// An error of this rank alone names it and ends the others; one that all ranks have is reported by rank 0.
static void close_ranks(const Run *r, int status, Err *err) {
    const Group *g = r->ranks.group;
    bool failed = status < 0, shared = r->error_on_all_ranks && !g->broken;
    if (!failed) signals_ignore();
    if (failed && shared && g->rank > 0) err->msg[0] = 0;
    if (failed && !shared && g->ranks > 1) err_context(err, "rank %d", g->rank);
    heartbeat_close(r->ranks.heartbeat, err_exit_status(err->kind), failed && !shared ? err->msg : NULL);
}

int train_run(const Config *c, Group *g, Err *err) {
    Run r = {.config = c, .ranks.group = g, .dir.lock = -1};
    int status = run(&r, err);
    close_ranks(&r, status, err);
    train_log_close(r.log);
    trainer_free(r.trainer);
    adapter_free(r.adapter);
    run_data_close(&r.data);
    model_free(r.model);
    backend_close(r.backend);
    output_dir_close(&r.dir);
    return status;
}
