#include "train_run.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "fileio.h"
#include "finish.h"
#include "memory_use.h"
#include "output_dir.h"
#include "progress.h"
#include "quantize.h"
#include "run_adapter.h"
#include "run_device.h"
#include "run_model.h"
#include "signals.h"
#include "snapshot.h"
#include "train_log.h"

typedef struct Run {
    const Config *config;
    OutputDir dir;
    Backend *backend;
    Model *model;
    RunData data;
    Adapter *adapter;
    Trainer *trainer;
    RunIdentity identity;
    TrainLog *log;
    Progress progress;
    int64_t saved_step;             // of the newest snapshot, -1: none
    int64_t save_every, eval_every; // 0: only at the end
    bool save_failed;               // the last try
    bool fresh;                     // this process did steps
} Run;

// --- setting up ---

static void print_device(Backend *b, const Err *note) {
    StrBuf text = {0};
    run_device_describe(&text, b);
    printf("device   %s%s%s%s\n", text.data, note->msg[0] ? " (" : "", note->msg, note->msg[0] ? ")" : "");
    fflush(stdout);
    str_clear(&text);
}

static int load_model(Run *r, const ModelOptions *o, Err *err) {
    Err note;
    if (run_device_open(&r->backend, r->config->device, (DtypeWord)r->config->dtype, &note, err)) return -1;
    print_device(r->backend, &note);
    if (model_load(&r->model, r->config->model_name_or_path, r->backend, o, err)) return -1;
    return run_device_check(r->backend, err);
}

static int64_t every(double steps, int64_t total) {
    if (steps >= 1) return (int64_t)steps;
    int64_t n = (int64_t)ceil(steps * (double)total - 1e-9);
    return n < 1 ? 1 : n;
}

static void plan_events(Run *r) {
    const Config *c = r->config;
    int64_t total = r->trainer->total_steps;
    r->save_every = every(c->save_steps, total);
    if (c->eval_strategy == EVAL_STEPS) r->eval_every = c->eval_steps > 0 ? every(c->eval_steps, total) : r->save_every;
    if (c->eval_strategy == EVAL_EPOCH) r->eval_every = r->trainer->steps_per_epoch;
}

static int set_up(Run *r, Err *err) {
    ModelOptions options;
    int64_t max_tokens;
    if (run_model_options(&options, r->config, &max_tokens, err)) return -1;
    if (output_dir_open(&r->dir, r->config, err) || load_model(r, &options, err)) return -1;
    if (run_data_open(&r->data, r->config, r->model, NULL, true, err)) return -1;
    if (run_adapter_new(&r->adapter, r->config, r->model, dataset_labels(r->data.train), err)) return -1;
    r->trainer = trainer_new(r->config, r->model, r->adapter, &r->data, NULL, 0);
    r->identity = run_identity(r->trainer);
    plan_events(r);
    return trainer_fit_memory(r->trainer, err);
}

static int resume(Run *r, Err *err) {
    char *from;
    if (snapshot_resume(r->trainer, r->dir.path, r->config->resume_from_checkpoint, &r->identity, &from, err))
        return -1;
    r->saved_step = from ? r->trainer->state.step : -1;
    if (from) printf("resuming from %s\n", from);
    mem_free(from);
    if (output_dir_save_config(&r->dir, r->config, err)) return -1;
    char *path = path_join(r->dir.path, "train_log.jsonl");
    int status = train_log_open(&r->log, path, r->trainer->state.step, err);
    mem_free(path);
    return status;
}

static const char *quantize_note(int kind) {
    return kind == QUANTIZE_NF4 ? ", layers in nf4" : kind == QUANTIZE_INT8 ? ", layers in int8" : "";
}

static void print_noise(const Run *r) {
    StrBuf noise = {0};
    Err ignored; // the file was read when the model was loaded
    if (model_training_noise(&noise, r->model->path, &ignored) == 0 && noise.len)
        log_warn("%s: config.json has %s; transformers applies that while it trains, lorac does not: the base computes "
                 "what it computes at inference (lora_dropout is the adapter's own)",
                 r->model->path, noise.data);
    str_clear(&noise);
}

static void print_labels(const Dataset *d) {
    StrBuf names = {0};
    if (!dataset_labels(d)) return;
    dataset_show_labels(&names, d);
    printf("labels   %zu: %s\n", dataset_labels(d)->count, names.data);
    str_clear(&names);
}

static void print_plan(const Run *r) {
    const Trainer *t = r->trainer;
    const DatasetStats *s = dataset_stats(r->data.train);
    printf("model    %s: %" PRId64 " layers, hidden %" PRId64 ", vocabulary %" PRId64 "; %.1f MB%s\n", r->model->name,
           r->model->config.layers, r->model->config.hidden, r->model->config.vocab,
           (double)r->model->weight_bytes / 1e6, quantize_note(r->config->quantize_base));
    printf("adapter  r %" PRId64 ", %" PRId64 " parameters%s%s\n", r->adapter->config.rank, r->adapter->count,
           r->adapter->config.labels ? " with the head " : "",
           r->adapter->config.labels ? r->adapter->class_head.name : "");
    printf("memory   %.0f MB planned%s, gradient_checkpointing %s\n", (double)t->planned_bytes / 1e6,
           r->backend->host_memory ? "" : " on the GPU", recompute_name(t->recompute));
    print_noise(r);
    printf("data     %" PRId64 " samples (%s), %" PRId64 " tokens, %" PRId64 " supervised; %" PRId64
           " dropped, %" PRId64 " truncated, %" PRId64 " without supervised tokens\n",
           r->data.train_samples, dataset_format_name(s->format), s->tokens, s->supervised, s->dropped_long,
           s->truncated, s->skipped_unsupervised);
    print_labels(r->data.train);
    if (s->left_out_bytes)
        log_warn("%" PRId64
                 " bytes of the data are characters that the model's vocabulary has no token for; it cannot learn them",
                 s->left_out_bytes);
    if (s->ignored_members)
        log_warn("%" PRId64 " members of the data's archives are neither .json, .txt nor .cls; they are left alone",
                 s->ignored_members);
    printf("steps    %" PRId64 " of %" PRId64 " rows (%" PRId64 " rows, %" PRId64 " steps an epoch)\n", t->total_steps,
           t->rows_per_step, row_plan_count(r->data.rows), t->steps_per_epoch);
    fflush(stdout);
}

// --- events between steps ---

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
    if (best) s->best_loss = e->loss, s->best_step = s->step;
    int64_t patience = r->config->early_stopping_patience;
    if (patience > 0 && s->evals_since_best >= patience && s->step < r->trainer->total_steps) {
        s->stopped_early = 1;
        progress_note(&r->progress, "no better eval_loss for %" PRId64 " evaluations: stopping at step %" PRId64,
                      patience, s->step);
    }
    train_log_eval(r->log, s->step, e);
    progress_eval(&r->progress, s->step, e, best);
}

// 0: done; 1: stopped by a signal; -1: the device failed.
static int run_eval(Run *r, Err *err) {
    EvalResult e;
    double start = time_now();
    int status = evaluate(r->trainer->runner, r->data.eval_set, r->data.eval_rows, signals_stop_asked, &e, err);
    if (status) return status;
    if (trainer_check_device(r->trainer, "the evaluation after step", r->trainer->state.step, err)) return -1;
    r->trainer->state.elapsed += time_now() - start;
    note_eval(r, &e);
    return 0;
}

static bool save_due(const Run *r) {
    const RunState *s = &r->trainer->state;
    if (s->step == 0 || s->step == r->saved_step) return false;
    bool best = r->config->load_best_model_at_end && s->evaluated_step == s->step;
    return s->step % r->save_every == 0 || best || is_last(r);
}

static int save(Run *r, Err *err) {
    train_log_sync(r->log);
    int status = snapshot_save(r->trainer, r->dir.path, &r->identity, err);
    r->save_failed = status != 0;
    if (status) return -1;
    r->saved_step = r->trainer->state.step;
    int64_t best = r->config->load_best_model_at_end ? r->trainer->state.best_step : -1;
    snapshot_prune(r->dir.path, r->config->save_total_limit, best);
    return 0;
}

// A full disk in the middle of a run may have room again at the next snapshot; at the end it is an error.
static int save_or_warn(Run *r, Err *err) {
    if (save(r, err) == 0) return 0;
    if (is_last(r)) return -1;
    log_warn("step %" PRId64 ": no snapshot: %s; the next one is tried as planned", r->trainer->state.step, err->msg);
    r->saved_step = r->trainer->state.step; // not again before the next planned one
    return 0;
}

static int interrupted(Run *r, Err *err) {
    progress_end(&r->progress);
    RunState *s = &r->trainer->state;
    if (s->step > 0 && (s->step != r->saved_step || r->save_failed) && save(r, err)) return err->status;
    printf("stopped by a signal after step %" PRId64 "; run the same command to go on\n", s->step);
    return EXIT_INTERRUPTED;
}

static bool log_due(const Run *r, const StepReport *report) {
    return report->step % r->config->logging_steps == 0 || report->skipped || report->step == r->trainer->total_steps;
}

// 0: done; 1: stopped by a signal; -1: error.
static int do_step(Run *r, Err *err) {
    StepReport report;
    int status = trainer_step(r->trainer, signals_stop_asked, &report, err);
    if (status == 1) return 1;
    r->fresh = true;
    size_t host = memory_peak(), device = memory_device(r->backend);
    if (log_due(r, &report)) train_log_step(r->log, &report, r->trainer->state.elapsed, host, device);
    progress_step(&r->progress, &report, device ? device : host, log_due(r, &report));
    return status;
}

static int step_loop(Run *r, Err *err) {
    progress_start(&r->progress, r->trainer->state.step, r->trainer->total_steps);
    for (;;) {
        // What is due after a step comes first, so that a run resumed at that step does it too.
        int status = eval_due(r) ? run_eval(r, err) : 0;
        if (status < 0) return err->status;
        if (status > 0) return interrupted(r, err);
        if (save_due(r) && save_or_warn(r, err)) return err->status;
        if (is_last(r)) break;
        status = do_step(r, err);
        if (status < 0) return err->status;
        if (status > 0) return interrupted(r, err);
    }
    progress_end(&r->progress);
    return 0;
}

static int run(Run *r, Err *err) {
    if (set_up(r, err) || resume(r, err)) return err->status;
    print_plan(r);
    int status = step_loop(r, err);
    if (!status && finish_run(r->trainer, r->dir.path, r->fresh, err)) status = err->status;
    return status;
}

int train_run(const Config *c, Err *err) {
    Run r = {.config = c, .dir.lock = -1};
    int status = signals_install(err) ? err->status : run(&r, err);
    train_log_close(r.log);
    trainer_free(r.trainer);
    adapter_free(r.adapter);
    run_data_close(&r.data);
    model_free(r.model);
    backend_close(r.backend);
    output_dir_close(&r.dir);
    return status;
}
