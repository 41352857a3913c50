// train_run: the parts of a run in the order in which they happen; train_run, at the end of the file, calls them.
#include "train_run.h"

#include <stdio.h>

#include "autotune.h"
#include "cores.h"
#include "profile_report.h"
#include "run.h"
#include "run_device.h"
#include "run_model.h"
#include "signals.h"

// The runs of this process, usually one, over one base model.
typedef struct Runs {
    const Config *config; // of all
    const ConfigList *configs;
    Run *items; // [configs->count]
    size_t count;
    Group *group;
    Heartbeat *heartbeat;
    Backend *backend;
    Model *model;
    PassTeam team;
    Live *live; // rank 0, NULL: none
} Runs;

// ---- 1. set-up: all that the first step needs, on all ranks or on none ----

static int check_profile(const Config *c, const Backend *b, Err *err) {
    if (!c->profile || b->host_memory) return 0;
    return err_input(err,
                     "profile: true, with device %s; expected device cpu (on a GPU passes are recorded and replayed as "
                     "a whole: Nsight Systems shows their kernels)",
                     b->k->name);
}

static int check_stage_device(const Run *r, const Backend *b, Err *err) {
    if (ranks_stages(&r->ranks) == 1 || b->host_memory) return 0;
    return err_input(err, "pipeline_parallel_size: %d, with device %s; expected device cpu, or 1", r->ranks.stages,
                     b->k->name);
}

// The ranks are stages of pipelines.
static int open_stages(Run *r, Err *err) {
    Group *g = r->ranks.group;
    int n = (int)r->config->pipeline_parallel_size, low = n < g->ranks ? n : g->ranks, high = n;
    while (g->ranks % low) low--;
    while (high < g->ranks && g->ranks % high) high++;
    if (g->ranks % n) {
        if (high > g->ranks || n - low <= high - n) high = low;
        return err_input(err, "pipeline_parallel_size: %d, with %d rank%s; expected a divisor of %d: the nearest is %d",
                         n, g->ranks, plural(g->ranks), g->ranks, high);
    }
    r->ranks.stages = n;
    int apart = ranks_pipelines(&r->ranks), stage = ranks_stage(&r->ranks);
    if (n == 1) return 0;
    return group_link(g, stage > 0 ? g->rank - apart : -1, stage + 1 < n ? g->rank + apart : -1,
                      RANKS_TIMEOUT_SHARE * (double)r->config->ddp_timeout, err);
}

// The device and the base model without its weights, for all runs.
static int open_model(Runs *s, const ModelOptions *o, Err *err) {
    Run *r = s->items;
    const Config *c = r->config;
    Err note;
    int threads;
    bool cpu = run_device_word(c->device) == DEVICE_CPU;
    if (run_on_all_ranks(r, cores_share(r->ranks.group, cpu, &threads, err)) ||
        run_on_all_ranks(
            r, run_device_open_rank(&s->backend, c->device, config_dtype(c), threads, r->ranks.group, &note, err)))
        return -1;
    s->backend->nondeterministic = !c->deterministic;
    run_print_device(s->backend, &note);
    int rc = check_profile(c, s->backend, err);
    if (!rc) rc = check_stage_device(r, s->backend, err);
    if (!rc) rc = model_open(&s->model, c->model_name_or_path, s->backend, o, err);
    return run_agree(r, rc, err);
}

static int load_weights(Runs *s, Err *err) {
    int rc = model_load_weights(s->model, err);
    return run_agree(s->items, rc ? rc : run_device_check(s->backend, err), err);
}

// Calls `part` for each run; its error names the run if there are several.
static int each_run(Runs *s, int (*part)(Run *, Err *), Err *err) {
    for (size_t i = 0; i < s->count; i++) {
        Run *r = &s->items[i];
        run_begin_lines(r);
        if (part(r, err)) return r->lines ? err_context(err, "run %s", r->config->run_name) : -1;
    }
    run_end_lines(s->items);
    return 0;
}

static int check_output(Run *r, Err *err) {
    if (run_on_all_ranks(r, run_consistency_config(r->ranks.group, r->config, err))) return -1;
    return run_open_output(r, err);
}

static int open_run(Run *r, Err *err) {
    return run_open_adapter(r, err) || run_open_swap(r, err) || run_open_trainer(r, err) ? -1 : 0;
}

// One level of recomputation for all runs.
static int fit_memory(Runs *s, Err *err) {
    Run *r = s->items;
    AUTO_FREE Trainer **trainers = mem_alloc(s->count, sizeof *trainers);
    for (size_t i = 0; i < s->count; i++) trainers[i] = s->items[i].trainer;
    if (run_on_all_ranks(r, s->backend->k->connect(s->backend, s->group, (double)r->config->ddp_timeout, err)))
        return -1;
    int rc = trainers_fit_memory(trainers, s->count, err);
    if (rc && err->kind == ERR_NO_FIT && run_stream_base(s->model, r->config))
        rc = trainers_fit_memory(trainers, s->count, err);
    return run_agree(r, rc, err);
}

static int resume_run(Run *r, Err *err) {
    if (run_on_all_ranks(r, run_consistency_run(r->ranks.group, r->trainer, err)) || run_resume(r, err)) return -1;
    run_print_plan(r->trainer);
    live_begin(r->live, r->live_index, run_display_name(r->config), r->trainer);
    // Times algorithms on a device, so that no later step does.
    return run_on_all_ranks(r, autotune(r->trainer, r->saved_step >= 0, err));
}

// Before anything is computed: a port that is taken is an error.
static int open_live(Runs *s, Err *err) {
    Run *r = s->items;
    int rc = run_is_rank_0(r) ? live_open(&s->live, s->config, s->configs, err) : 0;
    for (size_t i = 0; i < s->count; i++) {
        s->items[i].live = s->live;
        s->items[i].live_index = i;
    }
    return run_agree(r, rc, err);
}

static int set_up(Runs *s, Err *err) {
    ModelOptions options;
    if (s->items->lines && several_check_report(s->config, err)) return -1;
    if (each_run(s, check_output, err) || run_agree(s->items, open_stages(s->items, err), err) || open_live(s, err))
        return -1;
    if (run_agree(s->items, run_model_options_for(&options, s->configs->items, s->count, err), err)) return -1;
    options.stage = ranks_stage(&s->items->ranks);
    options.stages = ranks_stages(&s->items->ranks);
    if (options.stages > 1) options.memory = BASE_MEMORY_DEVICE;
    if (open_model(s, &options, err)) return -1;
    s->team.backend = s->backend;
    for (size_t i = 0; i < s->count; i++) {
        s->items[i].backend = s->backend;
        s->items[i].model = s->model;
        if (s->count > 1 && s->backend->host_memory) s->items[i].team = &s->team;
    }
    // What is wrong with the data is found before the weights are read.
    if (each_run(s, run_open_data, err) || load_weights(s, err)) return -1;
    if (each_run(s, open_run, err) || fit_memory(s, err) || each_run(s, resume_run, err)) return -1;
    model_keep(s->model, trainer_kept_bytes(s->items->trainer));
    return 0;
}

// ---- 2. the steps ----

// 0: done; 1: stopped by a signal; -1: error.
static int do_step(Run *r, Err *err) {
    StepReport report;
    profile_begin(r->backend, PROFILE_STEP);
    int rc = trainer_step(r->trainer, signals_stop_asked, &report, err);
    profile_end(r->backend);
    return run_note_step(r, &report, rc, err);
}

static int step_loop(Run *r, Err *err) {
    progress_start(&r->progress, trainer_state(r->trainer)->step, trainer_plan(r->trainer)->total_steps,
                   r->ranks.group->ranks > 1);
    for (;;) {
        int rc = run_due(r, err);
        if (!rc && trainer_is_done(r->trainer)) break;
        if (!rc) rc = do_step(r, err);
        if (rc < 0) return -1;
        if (rc > 0) return run_stop(r, err);
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

// An error of this rank alone names it and ends the others; one that all ranks have is reported by rank 0.
static void close_ranks(const Runs *s, int status, Err *err) {
    const Group *g = s->group;
    bool failed = status < 0, shared = s->items->error_on_all_ranks && !g->broken;
    if (!failed) signals_ignore();
    if (failed && shared && g->rank > 0) err->msg[0] = 0;
    if (failed && !shared && g->ranks > 1) err_context(err, "rank %d", g->rank);
    heartbeat_close(s->heartbeat, err_exit_status(err->kind), failed && !shared ? err->msg : NULL);
}

static int run_one(Run *r, Err *err) {
    r->tokens_before = trainer_state(r->trainer)->tokens;
    if (r->config->profile && run_is_rank_0(r)) profile_start(r->backend);
    int status = step_loop(r, err);
    end_profile(r);
    if (!status) status = run_finish(r, err);
    if (status < 0 && r->did_steps) run_report(r, err->msg);
    return status;
}

static int run(Runs *s, Err *err) {
    Run *first = s->items;
    double timeout = (double)first->config->ddp_timeout;
    if (s->config->runs.count && s->group->ranks > 1)
        return run_on_all_ranks(first, err_input(err,
                                                 "runs: %d rank%s; expected one process, which shares the base "
                                                 "model among the runs",
                                                 s->group->ranks, plural(s->group->ranks)));
    int stages = (int)first->config->pipeline_parallel_size, per_stage = s->group->ranks / stages;
    AUTO_FREE char *role =
        stages > 1 && per_stage ? mem_printf("stage %d of %d", s->group->rank / per_stage, stages) : NULL;
    if (run_agree(first, heartbeat_open(&s->heartbeat, s->group, role, timeout, err), err)) return -1;
    for (size_t i = 0; i < s->count; i++) s->items[i].ranks.heartbeat = s->heartbeat;
    if (set_up(s, err)) return -1;
    return first->lines ? several_runs(s->config, s->items, s->count, err) : run_one(first, err);
}

static void close_run(Run *r) {
    hot_swap_close(r->swap);
    train_log_close(r->log);
    event_file_close(r->events);
    trainer_free(r->trainer);
    adapter_free(r->adapter);
    adapter_free(r->reference);
    teacher_free(r->teacher);
    run_data_close(&r->data);
    output_dir_close(&r->dir);
}

int train_run(const Config *config, const ConfigList *configs, Group *g, Err *err) {
    size_t n = configs->count;
    Runs s = {.config = config, .configs = configs, .items = mem_calloc(n, sizeof *s.items), .count = n, .group = g};
    LinePrefix *lines = config->runs.count && g->ranks == 1 ? line_prefix_open() : NULL;
    for (size_t i = 0; i < s.count; i++) {
        const Config *c = &configs->items[i];
        s.items[i] = (Run){.config = c, .runs = configs, .ranks.group = g, .dir = {c->output_dir, -1}, .lines = lines};
    }
    int status = run(&s, err);
    close_ranks(&s, status, err);
    live_close(s.live);
    for (size_t i = 0; i < s.count; i++) close_run(&s.items[i]);
    pass_team_clear(&s.team);
    model_free(s.model);
    backend_close(s.backend);
    run_end_lines(s.items);
    line_prefix_close(lines);
    mem_free(s.items);
    return status;
}
