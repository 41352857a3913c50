// trainer_step: one optimizer step: its rows, their gradients, the sum over all ranks, the update, the report.
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "trainer_internal.h"

// ---- which rows ----

StepRows trainer_rows(const Trainer *t, int64_t step) {
    StepRows r = {.epoch = step / t->plan.steps_per_epoch,
                  .first = step % t->plan.steps_per_epoch * t->plan.rows_per_step};
    int64_t left = t->in.data->rows->count - r.first;
    r.count = left < t->plan.rows_per_step ? left : t->plan.rows_per_step;
    return r;
}

static void set_order(Trainer *t, int64_t epoch) {
    if (t->order_epoch == epoch) return;
    row_plan_order(t->in.data->rows, (uint64_t)t->in.config->seed, epoch, t->in.config->shuffle, t->order);
    t->order_epoch = epoch;
}

bool trainer_pass(Trainer *t, int64_t step, int64_t p, PassRows *pass) {
    StepRows rows = trainer_rows(t, step);
    int64_t first = p * t->plan.rows_per_pass, left = rows.count - first;
    if (left <= 0) return false;
    set_order(t, rows.epoch);
    *pass = (PassRows){.dataset = t->in.data->train,
                       .plan = t->in.data->rows,
                       .rows = t->order + rows.first + first,
                       .count = left < t->plan.rows_per_pass ? left : t->plan.rows_per_pass,
                       .first = first,
                       .epoch = rows.epoch};
    return true;
}

static void count_tokens(const Trainer *t, StepNow *now) {
    const RunData *d = t->in.data;
    const PassRows from = {.dataset = d->train, .plan = d->rows};
    for (int64_t i = 0; i < now->rows.count; i++) {
        int64_t row = t->order[now->rows.first + i];
        now->report.tokens += row_plan_row(d->rows, row).tokens;
        now->report.supervised += row_plan_scored(d->train, d->rows, row, now->rows.epoch);
        if (t->runner->preference) preference_count(&now->samples, &t->preference, &from, row);
    }
}

// ---- the gradients of this rank's rows ----

static void mark(Trainer *t, ClockMark m) {
    Backend *b = t->in.model->backend;
    if (t->in.ranks->group->ranks > 1) b->k->stamp(b, &t->clock[m]);
}

// On a device only the first pack counts as data time: the later ones overlap with the previous pass.
static void lay_out(Trainer *t, const PassRows *pass, bool first) {
    double start = time_now();
    pass_runner_pack(t->runner, pass);
    if (first || t->in.model->backend->host_memory) t->data_seconds += time_now() - start;
}

bool trainer_step_has_pass(Trainer *t) {
    PassRows pass;
    return trainer_pass(t, t->state.step, t->now.pass, &pass);
}

PassState trainer_pass_state(const Trainer *t) {
    const StepNow *now = &t->now;
    double scale = t->state.loss_scale;
    PassState s = {.grad_scale = (float)(scale / (double)now->report.supervised)};
    if (t->runner->preference) s = preference_state(&t->preference, &now->samples, scale, now->kl);
    s.stream = (uint32_t)t->state.step;
    return s;
}

// Prepares this rank's next pass.
static PassStart begin_pass(Trainer *t) {
    const StepNow *now = &t->now;
    double scale = t->state.loss_scale;
    PassStart s = {.runner = t->runner,
                   .options = trainer_options(t, t->recompute),
                   .state = trainer_pass_state(t),
                   .tally = &((StepCounts *)t->optimizer->counts)->heads};
    CHECK(trainer_pass(t, t->state.step, now->pass, &s.pass), "no pass is left");
    t->optimizer->unscale = (float)(1 / scale);
    lay_out(t, &s.pass, now->pass == ranks_pipeline(t->in.ranks));
    optimizer_begin_row(t->optimizer);
    return s;
}

// Queues its gradients into the optimizer's sum.
static void end_pass(Trainer *t, int64_t scored) {
    t->counts->supervised += scored;
    optimizer_end_row(t->optimizer, t->now.rows.count);
    t->now.pass += ranks_pipelines(t->in.ranks);
}

static void run_pass(Trainer *t) {
    PassStart s = begin_pass(t);
    end_pass(t, pass_runner_start(s.runner, &s.pass, &s.options, s.state, TAPE_TRAIN, s.tally));
}

void trainers_run_pass(Trainer *const *t, size_t n) {
    if (!t[0]->in.team) {
        for (size_t i = 0; i < n; i++) run_pass(t[i]);
        return;
    }
    AUTO_FREE PassStart *starts = mem_alloc(n, sizeof *starts);
    for (size_t i = 0; i < n; i++) starts[i] = begin_pass(t[i]);
    pass_runners_start(starts, n, TAPE_TRAIN);
    for (size_t i = 0; i < n; i++) end_pass(t[i], starts[i].scored);
}

// This rank's passes. False: stopped.
static bool run_passes(Trainer *t, bool (*stop)(void)) {
    for (;;) {
        bool more = trainer_step_has_pass(t);
        if (more) heartbeat_set_phase(t->in.ranks->heartbeat, pass_runner_phase(t->runner), t->now.report.step);
        if (stop && stop()) return false; // also on a rank without passes
        if (!more) return true;
        run_pass(t);
    }
}

// ---- all ranks together ----

static void begin(Trainer *t) {
    t->data_seconds = 0;
    t->counts->supervised = t->counts->stopped = 0;
    optimizer_begin(t->optimizer);
    mark(t, CLOCK_BEGUN);
}

// Sums over the ranks. A stop on any rank invalidates the step on all, as a gradient that is not finite does.
static void reduce(Trainer *t, bool stopped) {
    Backend *b = t->in.model->backend;
    const int64_t one = 1;
    size_t from = offsetof(StepCounts, supervised), bytes = (size_t)t->optimizer->n_counts * sizeof(int64_t);
    t->counts->stopped = stopped;
    if (stopped) b->k->upload(b, t->optimizer->bad, &one, sizeof one);
    b->k->upload(b, (char *)t->optimizer->counts + from, (char *)t->counts + from, bytes - from);
    heartbeat_set_phase(t->in.ranks->heartbeat, PHASE_WAITING, t->state.step + 1);
    mark(t, CLOCK_COMPUTED);
    optimizer_reduce(t->optimizer);
    mark(t, CLOCK_REDUCED);
}

// The next step's first pass is packed while the device works.
static void pack_ahead(Trainer *t) {
    PassRows pass;
    if (t->state.step + 1 < t->plan.total_steps &&
        trainer_pass(t, t->state.step + 1, ranks_pipeline(t->in.ranks), &pass))
        pass_runner_pack(t->runner, &pass);
}

// Finish this rank's queued work, which may take minutes on a device, before reporting PHASE_WAITING.
static void finish_own(Trainer *t) {
    Backend *b = t->in.model->backend;
    if (t->in.ranks->group->ranks == 1 || b->host_memory) return;
    pack_ahead(t);
    b->k->sync(b);
}

// This rank's times are summed with the gradients of the next step.
static void measure(Trainer *t) {
    Backend *b = t->in.model->backend;
    int64_t ns[CLOCK_MARKS], *mine = t->counts->micros[t->in.ranks->group->rank];
    if (t->in.ranks->group->ranks == 1) return;
    b->k->download(b, ns, t->clock, sizeof ns);
    mine[0] = (ns[CLOCK_COMPUTED] - ns[CLOCK_BEGUN]) / 1000 - (int64_t)(t->data_seconds * 1e6);
    mine[1] = (ns[CLOCK_REDUCED] - ns[CLOCK_COMPUTED]) / 1000;
}

static void report_ranks(const Trainer *t, const StepCounts *all, StepReport *r) {
    int64_t least = INT64_MAX, most = -1;
    r->ranks = t->in.ranks->group->ranks;
    r->data = t->data_seconds;
    r->rank_micros = (const int64_t(*)[2])all->micros;
    for (int i = 0; i < r->ranks; i++) {
        if (all->micros[i][0] > most) most = all->micros[i][0], r->slowest_rank = i;
        if (all->micros[i][1] < least) least = all->micros[i][1];
    }
    r->compute = (double)most * 1e-6;
    r->reduce = (double)least * 1e-6; // of the last rank to arrive, which does not wait
}

// ---- the loss scale in F16: as large as gradients stay finite ----

static void adapt_scale(Trainer *t, bool skipped) {
    static const double largest = 0x1p24;
    enum { GOOD_STEPS = 2000 }; // until a larger scale is tried
    TrainerState *s = &t->state;
    if (t->in.model->backend->activation != DTYPE_F16) return;
    s->good_steps = skipped ? 0 : s->good_steps + 1;
    if (skipped && s->loss_scale > 1) s->loss_scale /= 2;
    if (s->good_steps < GOOD_STEPS || s->loss_scale >= largest) return;
    s->loss_scale *= 2;
    s->good_steps = 0;
}

// ---- the end of a step ----

// Overflow due to the loss scale alone does not count towards MAX_SKIPPED_IN_A_ROW.
static int note_skipped(Trainer *t, const StepRows *rows, StepReport *r, Err *err) {
    TrainerState *s = &t->state;
    s->skipped++;
    if (r->loss_scale > 1) {
        log_warn("step %ld: the gradient is not finite in f16 with a loss scale of %g; the step is skipped, the scale "
                 "is %g from now on",
                 r->step, r->loss_scale, s->loss_scale);
        return 0;
    }
    s->skipped_in_a_row++;
    log_warn("step %ld: the gradient is not finite (loss %g, learning rate %g, rows %ld to %ld of epoch %ld); the step "
             "is skipped",
             r->step, r->loss, r->learning_rate, rows->first, (rows->first + rows->count - 1), rows->epoch);
    if (s->skipped_in_a_row < MAX_SKIPPED_IN_A_ROW) return 0;
    r->error_on_all_ranks = true;
    return err_runtime(
        err,
        "step %ld: %d steps in a row had a gradient that is not finite (learning rate %g); the last snapshot is good",
        r->step, MAX_SKIPPED_IN_A_ROW, r->learning_rate);
}

int trainer_check_device(const Trainer *t, const char *when, int64_t step, Err *err) {
    Backend *b = t->in.model->backend;
    Err fault;
    if (b->k->status(b, &fault) == 0) return 0;
    return err_runtime(err, "%s %ld: %s; the last snapshot is good%s", when, step, fault.msg,
                       fault.kind == ERR_MEMORY ? "; a smaller per_device_train_batch_size or max_seq_length, or "
                                                  "gradient_checkpointing \"blocks\" or \"offload\", takes less memory"
                                                : "");
}

static int check_tokens(StepReport *r, int64_t done, Err *err) {
    if (done == r->supervised) return 0;
    r->error_on_all_ranks = true;
    return err_runtime(err,
                       "step %ld: gradients of %ld supervised token%s were summed; expected %ld: rows were lost or "
                       "counted twice; the last snapshot is good",
                       r->step, done, plural(done), r->supervised);
}

static void count_step(Trainer *t, StepReport *r, double start) {
    TrainerState *s = &t->state;
    s->updates = t->optimizer->updates;
    s->step++;
    s->tokens += r->tokens;
    s->supervised += r->supervised;
    r->epoch = (double)s->step / (double)t->plan.steps_per_epoch;
    r->seconds = time_now() - start;
    s->elapsed += r->seconds;
    adapt_scale(t, r->skipped);
}

// kto: the divergence from the reference over the mismatched sequences of all ranks' passes.
static double estimate_kl(Trainer *t) {
    Backend *b = t->in.model->backend;
    Group *g = t->in.ranks->group;
    HeadTally *tally = t->runner->tally, sum;
    PassRows pass;
    b->k->zero(b, tally, sizeof *tally);
    heartbeat_set_phase(t->in.ranks->heartbeat, pass_runner_phase(t->runner), t->now.report.step);
    for (int64_t p = g->rank; trainer_pass(t, t->state.step, p, &pass); p += g->ranks) {
        pass.mismatched = true;
        pass_runner_start(t->runner, &pass, &PASS_OPTIONS_EVAL, (PassState){0}, TAPE_FORWARD, tally);
    }
    heartbeat_set_phase(t->in.ranks->heartbeat, PHASE_WAITING, t->now.report.step);
    b->k->all_reduce(b, (int64_t *)tally, sizeof *tally / sizeof(int64_t));
    b->k->download(b, &sum, tally, sizeof sum);
    return preference_kl(&sum, &t->now.samples);
}

// Embeddings: the vectors of all passes, and their gradients.
static void compute_vectors(Trainer *t) {
    Group *g = t->in.ranks->group;
    Vectors *v = t->runner->vectors;
    PassOptions o = trainer_options(t, RECOMPUTE_NONE);
    PassState state = {.stream = (uint32_t)t->state.step};
    PassRows pass;
    vectors_begin(v, t->in.data->train, t->in.data->rows, t->order + t->now.rows.first, t->now.rows.count);
    heartbeat_set_phase(t->in.ranks->heartbeat, pass_runner_phase(t->runner), t->now.report.step);
    for (int64_t p = g->rank; trainer_pass(t, t->state.step, p, &pass); p += g->ranks)
        pass_runner_start(t->runner, &pass, &o, state, TAPE_FORWARD, NULL);
    heartbeat_set_phase(t->in.ranks->heartbeat, PHASE_WAITING, t->now.report.step);
    vectors_gather(v);
    t->now.vectors = vectors_loss(v, t->state.loss_scale, NULL);
}

void trainer_step_begin(Trainer *t) {
    TrainerState *s = &t->state;
    t->now = (StepNow){.report = {.step = s->step + 1,
                                  .learning_rate = lr_at(&t->plan.schedule, s->step + 1),
                                  .loss_scale = s->loss_scale},
                       .rows = trainer_rows(t, s->step),
                       .start = time_now(),
                       .pass = ranks_pipeline(t->in.ranks)};
    begin(t);
    set_order(t, t->now.rows.epoch);
    count_tokens(t, &t->now);
    if (t->runner->vectors) compute_vectors(t);
    if (t->preference.loss.kind == PREFERENCE_KTO) t->now.kl = estimate_kl(t);
}

int trainer_step_end(Trainer *t, bool stopped, StepReport *report, Err *err) {
    TrainerState *s = &t->state;
    const int64_t *counts;
    *report = t->now.report;
    finish_own(t);
    reduce(t, stopped);
    t->optimizer->updates = s->updates;
    optimizer_queue(t->optimizer, report->learning_rate);
    pack_ahead(t);
    report->skipped = !optimizer_fetch(t->optimizer, &report->grad_norm, &counts);
    measure(t);
    if (trainer_check_device(t, "step", report->step, err)) return -1;
    const StepCounts *all = (const StepCounts *)counts;
    if (all->stopped) return 1;
    if (check_tokens(report, all->supervised, err)) return -1;
    int64_t units = t->runner->preference ? t->now.samples.samples : report->supervised;
    report->loss = pass_runner_loss(&all->heads) / (double)units;
    if (t->runner->vectors) report->loss = t->now.vectors.loss / (double)t->now.vectors.records;
    if (t->runner->preference)
        report->preference = preference_report(&t->preference, &all->heads, &t->now.samples, t->now.kl);
    report->teacher = teacher_report(t->in.teacher, &all->heads, report->supervised);
    report_ranks(t, all, report);
    count_step(t, report, t->now.start);
    if (report->skipped) return note_skipped(t, &t->now.rows, report, err);
    s->skipped_in_a_row = 0;
    s->last_loss = report->loss;
    return 0;
}

int trainer_step(Trainer *t, bool (*stop)(void), StepReport *report, Err *err) {
    trainer_step_begin(t);
    if (!t->pipeline) return trainer_step_end(t, !run_passes(t, stop), report, err);
    *report = t->now.report;
    if (trainer_run_pipeline(t, err)) return -1;
    return trainer_step_end(t, stop && stop(), report, err); // its neighbours wait for each of its passes
}

int trainer_evaluate(Trainer *t, bool (*stop)(void), EvalResult *result, Err *err) {
    return evaluate(t->runner, t->in.data->eval_set, t->in.data->eval_rows, stop, result, err);
}
