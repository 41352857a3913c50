// train_setup: what there is before the first step of a run, on all ranks or on none: after each part that can fail
// they agree, so that an error is said once and nobody waits for a rank that has left.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "config_hf.h"
#include "consistency.h"
#include "data_notes.h"
#include "memory_use.h"
#include "path.h"
#include "quantize.h"
#include "ranks.h"
#include "run_adapter.h"
#include "run_consistency.h"
#include "run_device.h"
#include "run_model.h"
#include "run_outputs.h"
#include "say.h"
#include "train_run_internal.h"

static void print_device(Backend *b, const Err *note) {
    StrBuf text = {0};
    run_device_describe(&text, b);
    say("device   %s%s%s%s\n", text.data, note->msg[0] ? " (" : "", note->msg, note->msg[0] ? ")" : "");
    fflush(stdout);
    str_clear(&text);
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

// What decides what is computed must be the same before anything is computed with it.
static int open_output(Run *r, Err *err) {
    int status = 0;
    r->dir.path = r->config->output_dir;
    if (run_is_first(r)) status = output_dir_open(&r->dir, r->config, err);
    return run_agree(r, status, err);
}

static int load_model(Run *r, const ModelOptions *o, Err *err) {
    Err note;
    bool cpu = strcmp(r->config->device, "cpu") == 0;
    int threads;
    if (run_agreed(r, ranks_threads(r->group, cpu, &threads, err))) return -1;
    int opened = run_device_open_rank(&r->backend, r->config->device, (DtypeWord)r->config->dtype, threads, r->group,
                                      &note, err);
    if (run_agreed(r, opened)) return -1;
    print_device(r->backend, &note);
    int status = model_load(&r->model, r->config->model_name_or_path, r->backend, o, err);
    return run_agree(r, status ? status : run_device_check(r->backend, err), err);
}

// One rank of each machine tokenises, the others find the cache.
static int open_data(Run *r, Err *err) {
    bool first = r->group->local_rank == 0;
    int status = first ? run_data_open(&r->data, r->config, r->model, NULL, true, err) : 0;
    if (run_agree(r, status, err)) return -1;
    if (!first) status = run_data_open(&r->data, r->config, r->model, NULL, true, err);
    return run_agree(r, status, err);
}

static int open_trainer(Run *r, Err *err) {
    RunSplit split = {0};
    int64_t rows;
    if (run_is_first(r)) snapshot_split(&split, r->dir.path, r->config->resume_from_checkpoint);
    if (group_broadcast(r->group, &split, sizeof split, 0, err)) return -1;
    int status = run_rows_per_step(&rows, &split, config_global_batch(r->config), r->group->ranks, err);
    if (run_agree(r, status, err)) return -1;
    r->trainer = trainer_new(r->config, r->model, r->adapter, &r->data, r->group, rows);
    r->trainer->life = r->trainer->runner->life = r->life;
    int connected = r->backend->k->connect(r->backend, r->group, (double)r->config->ddp_timeout, err);
    if (run_agreed(r, connected)) return -1;
    r->identity = run_identity(r->trainer);
    plan_events(r);
    return run_agree(r, trainer_fit_memory(r->trainer, err), err);
}

// A finished run writes only what is missing.
static bool is_finished(const Run *r) {
    const RunState *s = &r->trainer->state;
    return s->step >= r->trainer->total_steps || s->stopped_early;
}

static int open_log(Run *r, Err *err) {
    if (!run_is_first(r)) return 0;
    if (!is_finished(r) && run_outputs_check(r->config, err)) return -1;
    if (output_dir_save_config(&r->dir, r->config, err)) return -1;
    char *path = path_join(r->dir.path, "train_log.jsonl");
    int status = train_log_open(&r->log, path, &r->trainer->state, err);
    mem_free(path);
    return status;
}

// A best snapshot that the disk has lost: the next evaluation is the best from then on.
static void check_best(const Run *r) {
    RunState *s = &r->trainer->state;
    bool over = s->step >= r->trainer->total_steps || s->stopped_early; // finish_run has the adapter that was left
    if (!r->config->load_best_model_at_end || s->best_step < 0 || s->best_step == s->step || over) return;
    if (snapshot_is_good(r->dir.path, s->best_step)) return;
    log_warn("the best snapshot so far, of step %" PRId64 ", is missing or damaged; the best of the rest is taken",
             s->best_step);
    s->best_step = -1;
}

static int resume(Run *r, Err *err) {
    char *from = NULL;
    int status = 0;
    if (run_is_first(r))
        status = snapshot_resume(r->trainer, r->dir.path, r->config->resume_from_checkpoint, &r->identity, &from, err);
    r->saved_step = from ? r->trainer->state.step : -1;
    if (from) say("resuming from %s\n", from);
    if (from) check_best(r);
    mem_free(from);
    if (run_agree(r, status, err) || snapshot_share(r->trainer, err) ||
        group_broadcast(r->group, &r->saved_step, sizeof r->saved_step, 0, err))
        return -1;
    if (r->saved_step >= 0) r->saved_step = r->trainer->state.step; // which snapshot_share has checked
    return run_agree(r, open_log(r, err), err);
}

static const char *quantize_note(int kind) {
    return kind == QUANTIZE_NF4 ? ", layers in nf4" : kind == QUANTIZE_INT8 ? ", layers in int8" : "";
}

static void print_noise(const Run *r) {
    StrBuf noise = {0};
    Err ignored; // the file was read when the model was loaded
    if (config_hf_training_noise(&noise, r->model->path, &ignored) == 0 && noise.len)
        log_warn("%s: config.json has %s; transformers applies that while it trains, lorac does not: the base computes "
                 "what it computes at inference (lora_dropout is the adapter's own)",
                 r->model->path, noise.data);
    str_clear(&noise);
}

static void print_labels(const Dataset *d) {
    StrBuf names = {0};
    if (!dataset_labels(d)) return;
    dataset_show_labels(&names, d);
    say("labels   %zu: %s\n", dataset_labels(d)->count, names.data);
    str_clear(&names);
}

// What each rank does of a step.
static void print_ranks(const Trainer *t) {
    const Group *g = t->group;
    int64_t passes = (t->rows_per_step + t->rows_per_pass - 1) / t->rows_per_pass, rows = t->rows_per_pass;
    int64_t least = passes / g->ranks * rows, most = (passes + g->ranks - 1) / g->ranks * rows;
    if (g->ranks == 1) return;
    say("ranks    %d on %d machine%s (%s): a step's %" PRId64 " rows are dealt, ", g->ranks, g->nodes,
        g->nodes == 1 ? "" : "s", g->calls->name, t->rows_per_step);
    if (least == most)
        say("%" PRId64 " to each\n", least);
    else
        say("%" PRId64 " to %" PRId64 " to each\n", least, most);
    if (most > t->rows_per_step || least == 0)
        log_warn("%d ranks for %" PRId64 " rows a step: some have nothing to do", g->ranks, t->rows_per_step);
}

static void print_notes(const Dataset *d, const Tokenizer *t, const char *note) {
    StrBuf keys = {0};
    if (!d) return;
    key_counts_show(&keys, dataset_unread(d));
    if (keys.len) say("not used %s%s\n", keys.data, note);
    str_clear(&keys);
    StrBuf special = {0};
    data_notes_show_special(&special, dataset_stats(d));
    if (special.len) say("special  %s%s\n", special.data, note);
    str_clear(&special);
    data_notes_warn(d, t);
}

static void print_plan(const Run *r) {
    const Trainer *t = r->trainer;
    const DatasetStats *s = dataset_stats(r->data.train);
    say("model    %s: %" PRId64 " layers, hidden %" PRId64 ", vocabulary %" PRId64 "; %.1f MB%s\n", r->model->name,
        r->model->config.layers, r->model->config.hidden, r->model->config.vocab, (double)r->model->weight_bytes / 1e6,
        quantize_note(r->config->quantize_base));
    StrBuf rank = {0};
    adapter_print_range(&rank, r->adapter, ADAPTER_RANK);
    say("adapter  r %s, %" PRId64 " parameters%s%s\n", rank.data, r->adapter->count,
        r->adapter->config.labels ? " with the head " : "",
        r->adapter->config.labels ? r->adapter->class_head.name : "");
    str_clear(&rank);
    say("memory   %.0f MB planned%s, gradient_checkpointing %s\n", (double)t->planned_bytes / 1e6,
        r->backend->host_memory ? "" : " on the GPU", recompute_name(t->recompute));
    print_noise(r);
    say("data     %" PRId64 " samples (%s), %" PRId64 " tokens, %" PRId64 " supervised; %" PRId64 " dropped, %" PRId64
        " truncated, %" PRId64 " without supervised tokens\n",
        r->data.train_samples, dataset_format_name(s->format), s->tokens, s->supervised, s->dropped_long, s->truncated,
        s->skipped_unsupervised);
    print_labels(r->data.train);
    print_notes(r->data.train, r->model->tokenizer, "");
    print_notes(r->data.validation, r->model->tokenizer, " in the validation data");
    if (s->left_out_bytes)
        log_warn("%" PRId64
                 " bytes of the data are characters that the model's vocabulary has no token for; it cannot learn them",
                 s->left_out_bytes);
    if (s->ignored_members)
        log_warn("%" PRId64 " members of the data's archives are neither .json, .txt nor .cls; they are left alone",
                 s->ignored_members);
    say("steps    %" PRId64 " of %" PRId64 " rows (%" PRId64 " rows, %" PRId64 " steps an epoch)\n", t->total_steps,
        t->rows_per_step, row_plan_count(r->data.rows), t->steps_per_epoch);
    print_ranks(t);
    fflush(stdout);
}

bool run_is_first(const Run *r) {
    return r->group->rank == 0;
}

int run_agree(Run *r, int status, Err *err) {
    return run_agreed(r, group_agree(r->group, status, err));
}

int run_agreed(Run *r, int status) {
    if (status) r->all_know = true;
    return status;
}

// The template that the adapter is trained with leaves with it.
static void choose_template(Run *r) {
    const char *own = r->config->chat_template ? chat_template_source(r->data.chat) : NULL;
    if (r->adapter->chat_template && !own)
        log_warn(
            "%s brings its own chat_template.jinja; this run takes the base model's template (set chat_template to "
            "take another)",
            r->config->adapter_name_or_path);
    adapter_set_chat_template(r->adapter, own);
}

int run_set_up(Run *r, Err *err) {
    ModelOptions options;
    int64_t max_tokens;
    if (run_agreed(r, consistency_check_config(r->group, r->config, err))) return -1;
    if (run_agree(r, run_model_options(&options, r->config, &max_tokens, err), err)) return -1;
    if (open_output(r, err) || load_model(r, &options, err) || open_data(r, err)) return -1;
    int status = run_adapter_new(&r->adapter, r->config, r->model, dataset_labels(r->data.train), err);
    if (!status) choose_template(r);
    if (run_agree(r, status, err) || open_trainer(r, err)) return -1;
    if (run_agreed(r, consistency_check_run(r->group, r->trainer, &r->identity, err)) || resume(r, err)) return -1;
    print_plan(r);
    return 0;
}
