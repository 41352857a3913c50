// train_run: the parts of a run in the order in which they happen; train_run, at the end of the file, calls them.
#include "train_run.h"

#include <math.h>
#include <stdio.h>

#include "autotune.h"
#include "cores.h"
#include "memory_use.h"
#include "path.h"
#include "profile_report.h"
#include "progress.h"
#include "ranks.h"
#include "run_device.h"
#include "run_model.h"
#include "say.h"
#include "signals.h"
#include "snapshot.h"
#include "train_log.h"
#include "train_run_internal.h"
#include "verify.h"

typedef struct BestEval {
    int64_t step; // -1: none
    double loss;
} BestEval;

typedef struct Run {
    const Config *config;
    RankContext ranks;
    OutputDir dir; // rank 0's alone
    Backend *backend;
    Model *model;
    RunData data;
    Adapter *adapter;
    Trainer *trainer;
    TrainLog *log; // rank 0
    Progress progress;
    int64_t saved_step;             // of the newest snapshot, -1: none
    int64_t save_every, eval_every; // 0: only at the end
    bool save_failed;               // the last attempt
    BestEval best_before;           // the best one before TrainerState.best_step
    bool did_steps;                 // in this process
    int64_t tokens_before;          // of the run before the first step of this process
    bool error_on_all_ranks;        // every rank returns the same error
} Run;

static bool is_rank_0(const Run *r) { return r->ranks.group->rank == 0; }

// rc of a collective call: its error is that of all ranks.
static int on_all_ranks(Run *r, int rc) {
    if (rc) r->error_on_all_ranks = true;
    return rc;
}

// rc of a call of this rank alone: the ranks agree after each part that can fail, so that an error is reported once and
// no rank waits for one that has left.
static int agree(Run *r, int rc, Err *err) { return on_all_ranks(r, group_agree(r->ranks.group, rc, err)); }

// ---- 1. set-up: all that the first step needs, on all ranks or on none ----

static int open_output(Run *r, Err *err) {
    return agree(r, is_rank_0(r) ? output_dir_open(&r->dir, r->config, err) : 0, err);
}

static int check_profile(const Run *r, Err *err) {
    if (!r->config->profile || r->backend->host_memory) return 0;
    return err_input(err,
                     "profile: true, with device %s; expected device cpu (on a GPU passes are recorded and replayed as "
                     "a whole: Nsight Systems shows their kernels)",
                     r->backend->k->name);
}

static int load_model(Run *r, const ModelOptions *o, Err *err) {
    const Config *c = r->config;
    Err note;
    int threads;
    bool cpu = run_device_word(c->device) == DEVICE_CPU;
    if (on_all_ranks(r, cores_share(r->ranks.group, cpu, &threads, err)) ||
        on_all_ranks(
            r, run_device_open_rank(&r->backend, c->device, (DtypeWord)c->dtype, threads, r->ranks.group, &note, err)))
        return -1;
    run_print_device(r->backend, &note);
    int rc = check_profile(r, err);
    if (!rc) rc = model_load(&r->model, c->model_name_or_path, r->backend, o, err);
    return agree(r, rc ? rc : run_device_check(r->backend, err), err);
}

// One rank of each machine tokenizes, the others read its cache.
static int open_data(Run *r, Err *err) {
    bool first = r->ranks.group->local_rank == 0;
    int rc = first ? run_data_open(&r->data, r->config, r->model, NULL, true, err) : 0;
    if (agree(r, rc, err)) return -1;
    return agree(r, first ? 0 : run_data_open(&r->data, r->config, r->model, NULL, true, err), err);
}

// The template that the adapter is trained with is exported with it.
static int open_adapter(Run *r, Err *err) {
    const Config *c = r->config;
    int rc = run_adapter_new(&r->adapter, c, r->model, r->data.train->labels, err);
    if (agree(r, rc, err)) return -1;
    const char *own = c->chat_template ? chat_template_source(r->data.chat) : NULL;
    if (r->adapter->chat_template && !own)
        log_warn("%s has its own chat_template.jinja; this run uses the base model's template (chat_template selects "
                 "another)",
                 c->adapter_name_or_path);
    adapter_set_chat_template(r->adapter, own);
    return 0;
}

static int64_t every(double steps, int64_t total) {
    if (steps >= 1) return (int64_t)steps;
    int64_t n = (int64_t)ceil(steps * (double)total - 1e-9);
    return n < 1 ? 1 : n;
}

static void plan_events(Run *r) {
    const Config *c = r->config;
    const TrainerPlan *p = trainer_plan(r->trainer);
    r->save_every = every(c->save_steps, p->total_steps);
    if (c->eval_strategy == EVAL_STEPS)
        r->eval_every = c->eval_steps > 0 ? every(c->eval_steps, p->total_steps) : r->save_every;
    if (c->eval_strategy == EVAL_EPOCH) r->eval_every = p->steps_per_epoch;
}

static int open_trainer(Run *r, Err *err) {
    Group *g = r->ranks.group;
    SnapshotSplit split = {0};
    int64_t rows;
    if (is_rank_0(r)) snapshot_split(&split, r->dir.path, r->config->resume_from_checkpoint);
    if (group_broadcast(g, &split, sizeof split, 0, err)) return -1;
    int rc = snapshot_rows_per_step(&rows, &split, config_global_batch(r->config), g->ranks, err);
    if (agree(r, rc, err)) return -1;
    TrainerInputs in = {r->config, r->model,  r->adapter,
                        &r->data,  &r->ranks, adapter_verify_bytes(r->model, r->adapter)};
    r->trainer = trainer_new(&in, rows);
    plan_events(r);
    if (on_all_ranks(r, r->backend->k->connect(r->backend, g, (double)r->config->ddp_timeout, err))) return -1;
    return agree(r, trainer_fit_memory(r->trainer, err), err);
}

// If the best snapshot is lost, the best one of the evaluations from now on is taken. (finish_run handles a finished
// run.)
static void check_best(const Run *r) {
    TrainerState s = *trainer_state(r->trainer);
    if (!r->config->load_best_model_at_end || s.best_step < 0 || s.best_step == s.step || trainer_is_done(r->trainer))
        return;
    if (snapshot_is_good(r->dir.path, s.best_step)) return;
    log_warn(
        "the best snapshot so far, of step %ld, is missing or damaged; the best of the remaining evaluations is taken",
        s.best_step);
    s.best_step = -1;
    trainer_set_state(r->trainer, &s);
}

// A finished run writes only what is missing.
static int open_log(Run *r, Err *err) {
    if (!is_rank_0(r)) return 0;
    if (!trainer_is_done(r->trainer) && output_dir_check_end(r->config, err)) return -1;
    if (output_dir_save_config(&r->dir, r->config, err)) return -1;
    AUTO_FREE char *path = path_join(r->dir.path, "train_log.jsonl");
    return train_log_open(&r->log, path, trainer_state(r->trainer), err);
}

// The state of the newest snapshot on all ranks, if there is one, and the log cut back to it.
static int resume(Run *r, Err *err) {
    AUTO_FREE char *from = NULL;
    int rc = 0;
    if (is_rank_0(r)) rc = snapshot_resume(r->trainer, r->dir.path, r->config->resume_from_checkpoint, &from, err);
    r->saved_step = from ? trainer_state(r->trainer)->step : -1;
    if (from) say("resuming from %s\n", from);
    if (from) check_best(r);
    if (agree(r, rc, err) || snapshot_share(r->trainer, err) ||
        group_broadcast(r->ranks.group, &r->saved_step, sizeof r->saved_step, 0, err))
        return -1;
    if (r->saved_step >= 0) r->saved_step = trainer_state(r->trainer)->step; // checked by snapshot_share
    return agree(r, open_log(r, err), err);
}

static int set_up(Run *r, Err *err) {
    ModelOptions options;
    int64_t max_tokens;
    if (on_all_ranks(r, run_consistency_config(r->ranks.group, r->config, err))) return -1;
    if (agree(r, run_model_options(&options, r->config, &max_tokens, err), err)) return -1;
    if (open_output(r, err) || load_model(r, &options, err) || open_data(r, err) || open_adapter(r, err) ||
        open_trainer(r, err))
        return -1;
    if (on_all_ranks(r, run_consistency_run(r->ranks.group, r->trainer, err)) || resume(r, err)) return -1;
    run_print_plan(r->trainer);
    // Times algorithms on a device, so that no later step does.
    return on_all_ranks(r, autotune(r->trainer, r->saved_step >= 0, err));
}

// ---- 2. the steps, and what is due between them ----

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
        progress_note(&r->progress, "no better eval_loss for %ld evaluations: stopping at step %ld", patience, s.step);
    if (!is_rank_0(r)) return;
    train_log_eval(r->log, s.step, e);
    progress_eval(&r->progress, s.step, e, best);
}

// Recreates output_dir if it was removed. -1: another run has started in it.
static int ensure_output_dir(Run *r, Err *err) { return is_rank_0(r) ? output_dir_keep(&r->dir, r->config, err) : 0; }

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
    if (!is_rank_0(r)) return 0;
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
    if (agree(r, rc ? rc : ensure_output_dir(r, err), err)) return -1;
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
    TrainerState s = *trainer_state(r->trainer);
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
    if (trainer_is_done(r->trainer)) return on_all_ranks(r, -1);
    r->saved_step = trainer_state(r->trainer)->step; // no other attempt before the next planned snapshot
    log_warn("step %ld: no snapshot: %s; the next one is attempted as planned", r->saved_step, err->msg);
    forget_unsaved_best(r);
    return 0;
}

static int stopped_by_signal(Run *r, Err *err) {
    progress_end(&r->progress);
    const TrainerState *s = trainer_state(r->trainer);
    bool unsaved = s->step > 0 && (s->step != r->saved_step || r->save_failed);
    int rc = unsaved ? save(r, err) : 0;
    if (rc > 0) on_all_ranks(r, rc);
    if (rc) return -1;
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
    if (!is_rank_0(r)) return rc;
    profile_begin(r->backend, PROFILE_LOG);
    rc = report_step(r, &report, rc, err);
    profile_end(r->backend);
    return rc;
}

static int step_loop(Run *r, Err *err) {
    progress_start(&r->progress, trainer_state(r->trainer)->step, trainer_plan(r->trainer)->total_steps,
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

// ---- 3. the end ----

// A failure to write the profile is a warning: the run is good.
static void end_profile(const Run *r) {
    if (!profile_of(r->backend) || !r->did_steps) return;
    ProfileRun profile = {r->backend, trainer_state(r->trainer)->tokens - r->tokens_before};
    Err err;
    profile_print(&profile);
    if (profile_write(&profile, r->dir.path, &err)) log_warn("%s", err.msg);
}

// The other ranks wait, so that all output exists when any of them exits.
static int finish(Run *r, Err *err) {
    heartbeat_set_phase(r->ranks.heartbeat, PHASE_UNTIMED, trainer_state(r->trainer)->step);
    if (agree(r, model_check_unchanged(r->model, err), err)) return -1;
    return agree(r, is_rank_0(r) ? finish_run(r->trainer, r->dir.path, r->did_steps, err) : 0, err);
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

static int run(Run *r, Err *err) {
    double timeout = (double)r->config->ddp_timeout;
    if (agree(r, heartbeat_open(&r->ranks.heartbeat, r->ranks.group, timeout, err), err) || set_up(r, err)) return -1;
    r->tokens_before = trainer_state(r->trainer)->tokens;
    if (r->config->profile && is_rank_0(r)) profile_start(r->backend);
    int status = step_loop(r, err);
    end_profile(r);
    return status ? status : finish(r, err);
}

int train_run(const Config *c, Group *g, Err *err) {
    Run r = {.config = c, .ranks.group = g, .dir = {c->output_dir, -1}};
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
