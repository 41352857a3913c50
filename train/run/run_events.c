// run_events: what is due between the steps of a run: evaluations, snapshots, lines of the log, its end (run.h).
#include <math.h>

#include "memory_use.h"
#include "profile.h"
#include "report.h"
#include "run.h"
#include "say.h"
#include "signals.h"
#include "snapshot.h"

static bool eval_due(const Run *r) {
    const TrainerState *s = trainer_state(r->trainer);
    if (!r->data.eval_rows || s->step == 0 || s->evaluated_step == s->step) return false;
    return (r->eval_every && s->step % r->eval_every == 0) || trainer_is_done(r->trainer);
}

static void note_eval(Run *r, const EvalResult *e, double seconds) {
    TrainerState s = *trainer_state(r->trainer);
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
        progress_note(&r->progress, "no better eval_loss for %ld evaluation%s: stopping at step %ld", patience,
                      plural(patience), s.step);
    if (!run_is_rank_0(r)) return;
    train_log_eval(r->log, s.step, e);
    event_file_eval(r->events, s.step, e);
    live_eval(r->live, r->live_index, s.step, e);
    live_note(r->live, r->live_index, "step %ld  eval_loss %.4f%s", s.step, e->loss, best ? "  (best)" : "");
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
    const TrainerState *s = trainer_state(r->trainer);
    if (s->step == 0 || s->step == r->saved_step) return false;
    bool best = r->config->load_best_model_at_end && s->evaluated_step == s->step;
    return s->step % r->save_every == 0 || best || trainer_is_done(r->trainer);
}

static int write_snapshot(Run *r, Err *err) {
    if (!run_is_rank_0(r)) return 0;
    train_log_sync(r->log);
    event_file_sync(r->events);
    if (snapshot_save(r->trainer, r->dir.path, err)) return -1;
    int64_t best = r->config->load_best_model_at_end ? trainer_state(r->trainer)->best_step : -1;
    snapshot_prune(r->dir.path, r->config->save_total_limit, best);
    return 0;
}

// ---- hot_swap_url: the adapter in running engines; rank 0 ----

static void note_swaps(Run *r) {
    HotSwapEvent e;
    while (hot_swap_next_event(r->swap, &e)) {
        if (r->log) train_log_swap(r->log, &e);
        live_note(r->live, r->live_index, "hot swap of %s: %s", e.name, e.loaded ? "loaded" : e.message);
        if (e.loaded)
            progress_note(&r->progress, "hot swap: %s has %s (%.2f s)", e.url, e.name, e.seconds);
        else if (e.warn)
            log_warn("hot swap of %s: %s; the run goes on, further failures are in train_log.jsonl", e.name, e.message);
    }
}

// The last version is published at the end, when the adapter is known to be the one that is exported.
static void publish(Run *r) {
    if (!r->swap || trainer_is_done(r->trainer)) return;
    AUTO_FREE char *card = finish_card(r->trainer);
    hot_swap_publish(r->swap, trainer_state(r->trainer)->step, card);
}

static void end_swap(Run *r, double seconds) {
    if (!r->swap) return;
    hot_swap_end(r->swap, seconds);
    note_swaps(r);
}

static int check_unchanged(const Run *r, Err *err) {
    return model_check_unchanged(r->model, err) || teacher_check_unchanged(r->teacher, err) ? -1 : 0;
}

// Collective. 1: the snapshot could not be written; -1: the files of the base model or of the teacher have changed, or
// the ranks differ.
static int save(Run *r, Err *err) {
    int64_t step = trainer_state(r->trainer)->step;
    heartbeat_set_phase(r->ranks.heartbeat, PHASE_UNTIMED, step);
    int rc = check_unchanged(r, err);
    if (run_agree(r, rc ? rc : ensure_output_dir(r, err), err)) return -1;
    int differ = snapshot_compare_ranks(r->trainer, err);
    r->error_on_all_ranks = differ > 0;
    if (differ) return -1;
    r->save_failed = group_agree(r->ranks.group, write_snapshot(r, err), err) != 0;
    if (r->save_failed) return 1;
    r->saved_step = step;
    live_note(r->live, r->live_index, "step %ld  snapshot saved", step);
    publish(r);
    return 0;
}

// best_step must refer to a saved snapshot: if this step's save failed, the previous best is restored.
static void forget_unsaved_best(Run *r) {
    TrainerState s = *trainer_state(r->trainer);
    if (!r->config->load_best_model_at_end || s.best_step != s.step) return;
    s.best_step = r->best_before.step;
    s.best_loss = r->best_before.loss;
    trainer_set_state(r->trainer, &s);
}

void run_report(Run *r, const char *state) {
    Err err;
    if (!run_is_rank_0(r) || !report_wanted(r->config) || trainer_state(r->trainer)->step == 0 ||
        !output_dir_is_in_place(&r->dir))
        return;
    if (report_write(r->trainer, r->dir.path, run_display_name(r->config), state, NULL, &err) == 0 || r->report_failed)
        return;
    log_warn("%s", err.msg);
    r->report_failed = true;
}

// A full disk is an error at the end of a run only: before, the next snapshot may succeed.
static int save_or_warn(Run *r, Err *err) {
    profile_begin(r->backend, PROFILE_SNAPSHOT);
    int rc = save(r, err);
    if (!rc && !trainer_is_done(r->trainer)) { // at the end run_finish does it
        run_report(r, "running");
        live_samples(r->live, r->live_index, r->trainer);
    }
    profile_end(r->backend);
    if (rc <= 0) return rc;
    if (trainer_is_done(r->trainer)) return run_on_all_ranks(r, -1);
    r->saved_step = trainer_state(r->trainer)->step; // no other attempt before the next planned snapshot
    live_note(r->live, r->live_index, "step %ld: no snapshot: %s", r->saved_step, err->msg);
    log_warn("step %ld: no snapshot: %s; the next one is attempted as planned", r->saved_step, err->msg);
    forget_unsaved_best(r);
    return 0;
}

static const double STOP_SECONDS = 5; // a launcher that has sent a signal does not wait long

int run_stop(Run *r, Err *err) {
    progress_end(&r->progress);
    live_state(r->live, r->live_index, "stopping: the state is being saved");
    const TrainerState *s = trainer_state(r->trainer);
    bool unsaved = s->step > 0 && (s->step != r->saved_step || r->save_failed);
    int rc = unsaved ? save(r, err) : 0;
    if (rc > 0) run_on_all_ranks(r, rc);
    if (rc) return -1;
    end_swap(r, fmin(r->config->hot_swap_timeout, STOP_SECONDS));
    run_report(r, "stopped by a signal");
    say("stopped by a signal after step %ld; rerun the same command to resume\n", s->step);
    return EXIT_INTERRUPTED;
}

static bool log_due(const Run *r, const StepReport *report) {
    return report->step % r->config->logging_steps == 0 || report->skipped ||
           report->step == trainer_plan(r->trainer)->total_steps;
}

// rc: of the step. Returns it, or -1.
static int report_step(Run *r, const StepReport *report, int rc, Err *err) {
    size_t host = memory_peak(), device = memory_device(r->backend);
    Err second; // the step's error is reported, not this one
    bool log = log_due(r, report);
    if (log && ensure_output_dir(r, rc ? &second : err)) return -1;
    if (log) train_log_step(r->log, report, trainer_state(r->trainer)->elapsed, host, device);
    if (log) event_file_step(r->events, report, device ? device : host);
    progress_step(&r->progress, report, device ? device : host, log);
    live_step(r->live, r->live_index, report, trainer_state(r->trainer), (LiveMemory){host, device},
              progress_left(&r->progress, report->step));
    if (report->skipped)
        live_note(r->live, r->live_index, "step %ld: the gradient is not finite; skipped", report->step);
    else if (log)
        live_note(r->live, r->live_index, "step %ld  loss %.4f  lr %.3g  grad_norm %.4f  %.2f s", report->step,
                  report->loss, report->learning_rate, report->grad_norm, report->seconds);
    note_swaps(r);
    return rc;
}

int run_note_step(Run *r, const StepReport *report, int rc, Err *err) {
    r->error_on_all_ranks = report->error_on_all_ranks;
    if (rc == 1) return 1;
    if (rc && report->seconds <= 0) return rc; // the step did not end: there is nothing to report
    r->did_steps = true;
    if (!run_is_rank_0(r)) return rc;
    profile_begin(r->backend, PROFILE_LOG);
    rc = report_step(r, report, rc, err);
    profile_end(r->backend);
    return rc;
}

// Between two steps; other ranks wait with their sums.
static void answer_questions(Run *r) {
    if (!live_has_question(r->live, r->live_index)) return;
    heartbeat_set_phase(r->ranks.heartbeat, PHASE_UNTIMED, trainer_state(r->trainer)->step);
    live_answer(r->live, r->live_index, r->trainer);
}

int run_due(Run *r, Err *err) {
    int rc = eval_due(r) ? run_eval(r, err) : 0;
    if (!rc && save_due(r)) rc = save_or_warn(r, err);
    if (!rc && !trainer_is_done(r->trainer)) answer_questions(r);
    return rc;
}

static int finish(Run *r, Err *err) {
    if (finish_adapter(r->trainer, r->dir.path, r->did_steps, err)) return -1;
    if (r->swap) {
        AUTO_FREE char *card = finish_card(r->trainer);
        hot_swap_publish(r->swap, trainer_state(r->trainer)->step, card);
        end_swap(r, r->config->hot_swap_timeout);
    }
    finish_report(r->trainer, r->dir.path, r->did_steps, r->events);
    return 0;
}

// The other ranks wait, so that all output exists when any of them exits.
int run_finish(Run *r, Err *err) {
    heartbeat_set_phase(r->ranks.heartbeat, PHASE_UNTIMED, trainer_state(r->trainer)->step);
    live_state(r->live, r->live_index, "exporting");
    if (run_agree(r, check_unchanged(r, err), err)) return -1;
    int rc = run_agree(r, run_is_rank_0(r) ? finish(r, err) : 0, err);
    live_state(r->live, r->live_index, rc ? "failed" : "done");
    return rc;
}
