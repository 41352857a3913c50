// train_setup: opens all that the first step of a run needs, on all ranks or on none: the ranks agree after each part
// that can fail, so that an error is reported once and no rank waits for one that has left.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "consistency.h"
#include "cores.h"
#include "data_notes.h"
#include "memory_use.h"
#include "model_config_hf.h"
#include "path.h"
#include "quantize.h"
#include "ranks.h"
#include "run_adapter.h"
#include "run_consistency.h"
#include "run_device.h"
#include "run_model.h"
#include "run_outputs.h"
#include "run_profile.h"
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
    const StepPlan *p = trainer_step_plan(r->trainer);
    r->save_every = every(c->save_steps, p->total_steps);
    if (c->eval_strategy == EVAL_STEPS)
        r->eval_every = c->eval_steps > 0 ? every(c->eval_steps, p->total_steps) : r->save_every;
    if (c->eval_strategy == EVAL_EPOCH) r->eval_every = p->steps_per_epoch;
}

static int open_output(Run *r, Err *err) {
    int rc = 0;
    r->dir.path = r->config->output_dir;
    if (run_is_rank_0(r)) rc = output_dir_open(&r->dir, r->config, err);
    return run_agree(r, rc, err);
}

static int load_model(Run *r, const ModelOptions *o, Err *err) {
    Err note;
    bool cpu = run_device_word(r->config->device) == DEVICE_CPU;
    int threads;
    if (run_collective(r, cores_share(r->ranks.group, cpu, &threads, err))) return -1;
    int opened = run_device_open_rank(&r->backend, r->config->device, (DtypeWord)r->config->dtype, threads,
                                      r->ranks.group, &note, err);
    if (run_collective(r, opened)) return -1;
    print_device(r->backend, &note);
    int rc = run_profile_check(r, err);
    if (!rc) rc = model_load(&r->model, r->config->model_name_or_path, r->backend, o, err);
    return run_agree(r, rc ? rc : run_device_check(r->backend, err), err);
}

// One rank of each machine tokenizes, the others read its cache.
static int open_data(Run *r, Err *err) {
    bool first = r->ranks.group->local_rank == 0;
    int rc = first ? run_data_open(&r->data, r->config, r->model, NULL, true, err) : 0;
    if (run_agree(r, rc, err)) return -1;
    if (!first) rc = run_data_open(&r->data, r->config, r->model, NULL, true, err);
    return run_agree(r, rc, err);
}

static int open_trainer(Run *r, Err *err) {
    RunSplit split = {0};
    int64_t rows;
    if (run_is_rank_0(r)) snapshot_split(&split, r->dir.path, r->config->resume_from_checkpoint);
    if (group_broadcast(r->ranks.group, &split, sizeof split, 0, err)) return -1;
    int rc = run_rows_per_step(&rows, &split, config_global_batch(r->config), r->ranks.group->ranks, err);
    if (run_agree(r, rc, err)) return -1;
    TrainerInputs in = {r->config, r->model, r->adapter, &r->data, &r->ranks};
    r->trainer = trainer_new(&in, rows);
    int connected = r->backend->k->connect(r->backend, r->ranks.group, (double)r->config->ddp_timeout, err);
    if (run_collective(r, connected)) return -1;
    plan_events(r);
    return run_agree(r, trainer_fit_memory(r->trainer, err), err);
}

// A finished run writes only what is missing.
static int open_log(Run *r, Err *err) {
    if (!run_is_rank_0(r)) return 0;
    if (!trainer_is_done(r->trainer) && run_outputs_check(r->config, err)) return -1;
    if (output_dir_save_config(&r->dir, r->config, err)) return -1;
    char *path = path_join(r->dir.path, "train_log.jsonl");
    int rc = train_log_open(&r->log, path, trainer_state(r->trainer), err);
    mem_free(path);
    return rc;
}

// If the best snapshot is lost, the best one of the evaluations from now on is taken. (finish_run handles a finished
// run.)
static void check_best(const Run *r) {
    RunState s = *trainer_state(r->trainer);
    if (!r->config->load_best_model_at_end || s.best_step < 0 || s.best_step == s.step || trainer_is_done(r->trainer))
        return;
    if (snapshot_is_good(r->dir.path, s.best_step)) return;
    log_warn("the best snapshot so far, of step %" PRId64 ", is missing or damaged; the best of the remaining "
             "evaluations is taken",
             s.best_step);
    s.best_step = -1;
    trainer_set_state(r->trainer, &s);
}

static int resume(Run *r, Err *err) {
    char *from = NULL;
    int rc = 0;
    if (run_is_rank_0(r)) rc = snapshot_resume(r->trainer, r->dir.path, r->config->resume_from_checkpoint, &from, err);
    r->saved_step = from ? trainer_state(r->trainer)->step : -1;
    if (from) say("resuming from %s\n", from);
    if (from) check_best(r);
    mem_free(from);
    if (run_agree(r, rc, err) || snapshot_share(r->trainer, err) ||
        group_broadcast(r->ranks.group, &r->saved_step, sizeof r->saved_step, 0, err))
        return -1;
    if (r->saved_step >= 0) r->saved_step = trainer_state(r->trainer)->step; // checked by snapshot_share
    return run_agree(r, open_log(r, err), err);
}

static void print_noise(const Run *r) {
    StrBuf noise = {0};
    Err ignored; // the file could be read when the model was loaded
    if (model_config_hf_training_noise(&noise, r->model->path, &ignored) == 0 && noise.len)
        log_warn("%s: config.json has %s; transformers applies that in training, lorac does not: the base computes as "
                 "at inference (lora_dropout applies to the adapter)",
                 r->model->path, noise.data);
    str_clear(&noise);
}

static void print_labels(const Dataset *d) {
    StrBuf names = {0};
    if (!d->labels) return;
    dataset_show_labels(&names, d);
    say("labels   %zu: %s\n", d->labels->count, names.data);
    str_clear(&names);
}

static void print_ranks(const Group *g, const StepPlan *p) {
    int64_t passes = (p->rows_per_step + p->rows_per_pass - 1) / p->rows_per_pass, rows = p->rows_per_pass;
    int64_t least = passes / g->ranks * rows, most = (passes + g->ranks - 1) / g->ranks * rows;
    if (g->ranks == 1) return;
    say("ranks    %d on %d machine%s (%s): %" PRId64 " rows per step, ", g->ranks, g->nodes, g->nodes == 1 ? "" : "s",
        g->calls->name, p->rows_per_step);
    if (least == most)
        say("%" PRId64 " on each\n", least);
    else
        say("%" PRId64 " to %" PRId64 " on each\n", least, most);
    if (most > p->rows_per_step || least == 0)
        log_warn("%d ranks for %" PRId64 " rows per step: some ranks have no rows", g->ranks, p->rows_per_step);
}

static void print_notes(const Dataset *d, const Tokenizer *t, const char *note) {
    StrBuf keys = {0};
    if (!d) return;
    key_counts_show(&keys, &d->unread);
    if (keys.len) say("not used %s%s\n", keys.data, note);
    str_clear(&keys);
    StrBuf special = {0};
    data_notes_show_special(&special, &d->stats);
    if (special.len) say("special  %s%s\n", special.data, note);
    str_clear(&special);
    data_notes_warn(d, t);
}

static void print_plan(const Run *r) {
    const StepPlan *p = trainer_step_plan(r->trainer);
    const DatasetStats *s = &r->data.train->stats;
    QuantizeKind quantize = r->config->quantize_base;
    say("model    %s: %" PRId64 " layers, hidden %" PRId64 ", vocabulary %" PRId64 "; %.1f MB%s%s\n", r->model->name,
        r->model->config.layers, r->model->config.hidden, r->model->config.vocab, (double)r->model->weight_bytes / 1e6,
        quantize ? ", layers in " : "", quantize ? ENUM_WORDS(QUANTIZE_KINDS)[quantize].word : "");
    StrBuf rank = {0};
    adapter_print_range(&rank, r->adapter, ADAPTER_RANK);
    say("adapter  r %s, %" PRId64 " parameters%s%s\n", rank.data, r->adapter->count,
        r->adapter->config.labels ? " with the head " : "",
        r->adapter->config.labels ? r->adapter->class_head.name : "");
    str_clear(&rank);
    say("memory   %.0f MB planned%s, gradient_checkpointing %s\n", (double)trainer_planned_bytes(r->trainer) / 1e6,
        r->backend->host_memory ? "" : " on the GPU", recompute_name(trainer_recompute(r->trainer)));
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
                 " bytes of the data are characters without a token in the model's vocabulary; it cannot learn them",
                 s->left_out_bytes);
    if (s->ignored_members)
        log_warn("%" PRId64 " members of the data's archives are neither .json, .txt nor .cls; they are not read",
                 s->ignored_members);
    say("steps    %" PRId64 ", batch size %" PRId64 " (%" PRId64 " rows, %" PRId64 " steps per epoch)\n",
        p->total_steps, p->rows_per_step, r->data.rows->count, p->steps_per_epoch);
    print_ranks(r->ranks.group, p);
    fflush(stdout);
}

bool run_is_rank_0(const Run *r) {
    return r->ranks.group->rank == 0;
}

int run_collective(Run *r, int rc) {
    if (rc) r->error_on_all_ranks = true;
    return rc;
}

int run_agree(Run *r, int rc, Err *err) {
    return run_collective(r, group_agree(r->ranks.group, rc, err));
}

// The template that the adapter is trained with is exported with it.
static void choose_template(Run *r) {
    const char *own = r->config->chat_template ? chat_template_source(r->data.chat) : NULL;
    if (r->adapter->chat_template && !own)
        log_warn("%s has its own chat_template.jinja; this run uses the base model's template (chat_template selects "
                 "another)",
                 r->config->adapter_name_or_path);
    adapter_set_chat_template(r->adapter, own);
}

int run_set_up(Run *r, Err *err) {
    ModelOptions options;
    int64_t max_tokens;
    if (run_collective(r, consistency_check_config(r->ranks.group, r->config, err))) return -1;
    if (run_agree(r, run_model_options(&options, r->config, &max_tokens, err), err)) return -1;
    if (open_output(r, err) || load_model(r, &options, err) || open_data(r, err)) return -1;
    int rc = run_adapter_new(&r->adapter, r->config, r->model, r->data.train->labels, err);
    if (!rc) choose_template(r);
    if (run_agree(r, rc, err) || open_trainer(r, err)) return -1;
    if (run_collective(r, consistency_check_run(r->ranks.group, r->trainer, err)) || resume(r, err)) return -1;
    print_plan(r);
    return 0;
}
