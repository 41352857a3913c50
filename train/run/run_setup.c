// run_setup: the parts of the set-up of one run that are its own: directory, data, adapter, trainer, state (run.h).
#include <math.h>

#include "path.h"
#include "run.h"
#include "run_model.h"
#include "run_teacher.h"
#include "say.h"
#include "snapshot.h"
#include "verify.h"

bool run_is_rank_0(const Run *r) { return r->ranks.group->rank == 0; }

void run_begin_lines(const Run *r) {
    if (!r->lines) return;
    AUTO_FREE char *prefix = mem_printf("[%s] ", r->config->run_name);
    line_prefix_set(r->lines, prefix);
    log_as(prefix, false);
}

void run_end_lines(const Run *r) {
    if (!r->lines) return;
    line_prefix_set(r->lines, "");
    log_as("", false);
}

int run_on_all_ranks(Run *r, int rc) {
    if (rc) r->error_on_all_ranks = true;
    return rc;
}

int run_agree(Run *r, int rc, Err *err) { return run_on_all_ranks(r, group_agree(r->ranks.group, rc, err)); }

int run_open_output(Run *r, Err *err) {
    return run_agree(r, run_is_rank_0(r) ? output_dir_open(&r->dir, r->config, r->runs, err) : 0, err);
}

// One rank of each machine tokenizes, the others read its cache.
int run_open_data(Run *r, Err *err) {
    bool first = r->ranks.group->local_rank == 0;
    int rc = first ? run_data_open(&r->data, r->config, r->model, NULL, true, err) : 0;
    if (run_agree(r, rc, err)) return -1;
    return run_agree(r, first ? 0 : run_data_open(&r->data, r->config, r->model, NULL, true, err), err);
}

// The template that the adapter is trained with is exported with it.
int run_open_adapter(Run *r, Err *err) {
    const Config *c = r->config;
    RunLabels labels = run_labels(r->data.train);
    int rc = run_adapter_new(&r->adapter, c, r->model, labels.names ? &labels : NULL, err);
    if (!rc) rc = run_reference_new(&r->reference, c, r->model, err);
    if (!rc) rc = run_teacher_open(&r->teacher, c, r->model, &r->data, err);
    if (run_agree(r, rc, err)) return -1;
    bool of_config = c->chat_template || !r->model->tokenizer->chat_template;
    const char *own = of_config ? chat_template_source(r->data.chat) : NULL;
    if (r->adapter->chat_template && !own)
        log_warn("%s has its own chat_template.jinja; this run uses the base model's template (chat_template selects "
                 "another)",
                 c->adapter_name_or_path);
    adapter_set_chat_template(r->adapter, own);
    return 0;
}

int run_open_swap(Run *r, Err *err) {
    int rc = run_is_rank_0(r)
                 ? hot_swap_open(&r->swap, r->config, run_display_name(r->config), r->adapter, r->model, err)
                 : 0;
    return run_agree(r, rc, err);
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

int run_open_trainer(Run *r, Err *err) {
    Group *g = r->ranks.group;
    SnapshotSplit split = {0};
    int64_t rows;
    if (run_is_rank_0(r)) snapshot_split(&split, r->dir.path, r->config->resume_from_checkpoint);
    if (group_broadcast(g, &split, sizeof split, 0, err)) return -1;
    int rc = snapshot_rows_per_step(&rows, &split, config_global_batch(r->config), ranks_pipelines(&r->ranks), err);
    if (run_agree(r, rc, err)) return -1;
    TrainerInputs in = {.config = r->config,
                        .model = r->model,
                        .adapter = r->adapter,
                        .data = &r->data,
                        .ranks = &r->ranks,
                        .end_bytes = adapter_verify_bytes(r->model, r->adapter),
                        .team = r->team,
                        .reference = r->reference,
                        .teacher = r->teacher};
    VectorLoss vectors = vector_loss_of(r->config, r->data.normalize);
    if (r->config->task == TASK_EMBEDDING) rc = vector_loss_check_batch(&vectors, r->data.rows, rows, err);
    if (run_agree(r, rc, err)) return -1;
    r->trainer = trainer_new(&in, rows);
    plan_events(r);
    return 0;
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
    if (!run_is_rank_0(r)) return 0;
    if (!trainer_is_done(r->trainer) && output_dir_check_end(r->config, r->runs, err)) return -1;
    if (output_dir_save_config(&r->dir, r->config, err)) return -1;
    AUTO_FREE char *path = path_join(r->dir.path, "train_log.jsonl");
    if (train_log_open(&r->log, path, trainer_state(r->trainer), err)) return -1;
    return event_file_open(&r->events, r->config, trainer_state(r->trainer), trainer_is_done(r->trainer), err);
}

// What a snapshot says of a run that has become longer, or has ended before its last step.
static void print_growth(const Trainer *t) {
    const TrainerState *s = trainer_state(t);
    const TrainerPlan *p = trainer_plan(t);
    if (s->stopped_early)
        say("the run has stopped early, after step %ld of %ld: no step follows\n", s->step, p->total_steps);
    if (!s->grown_at || s->grown_at != s->step) return;
    say("grown from %ld to %ld step%s: ", s->grown_from, p->total_steps, plural(p->total_steps));
    if (trainer_same_rates(t, s->grown_from, s->step))
        say("the same as a run of %ld step%s from its start\n", p->total_steps, plural(p->total_steps));
    else
        say("from step %ld on the learning rates are those of a run of %ld step%s (lr_scheduler_type %s)\n",
            s->step + 1, p->total_steps, plural(p->total_steps),
            ENUM_WORDS(LR_KINDS)[trainer_inputs(t)->config->lr_scheduler_type].word);
}

// The state of the newest snapshot on all ranks, if there is one, and the log cut back to it.
int run_resume(Run *r, Err *err) {
    AUTO_FREE char *from = NULL;
    int rc = 0;
    if (run_is_rank_0(r)) rc = snapshot_resume(r->trainer, r->dir.path, r->config->resume_from_checkpoint, &from, err);
    r->saved_step = from ? trainer_state(r->trainer)->step : -1;
    if (from) say("resuming from %s\n", from);
    if (from) print_growth(r->trainer);
    if (from) check_best(r);
    if (run_agree(r, rc, err) || snapshot_share(r->trainer, err) ||
        group_broadcast(r->ranks.group, &r->saved_step, sizeof r->saved_step, 0, err))
        return -1;
    if (r->saved_step >= 0) r->saved_step = trainer_state(r->trainer)->step; // checked by snapshot_share
    return run_agree(r, open_log(r, err), err);
}
