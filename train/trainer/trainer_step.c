// trainer_step: one optimizer step: its rows, their gradients, the sum over all ranks, the update, what is reported.
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "trainer.h"

// ---- which rows ----

StepRows trainer_rows(const Trainer *t, int64_t step) {
    StepRows r = {.epoch = step / t->steps_per_epoch, .first = step % t->steps_per_epoch * t->rows_per_step};
    int64_t left = row_plan_count(t->data->rows) - r.first;
    r.count = left < t->rows_per_step ? left : t->rows_per_step;
    return r;
}

static void need_order(Trainer *t, int64_t epoch) {
    if (t->order_epoch == epoch) return;
    row_plan_order(t->data->rows, (uint64_t)t->config->seed, epoch, t->config->shuffle, t->order);
    t->order_epoch = epoch;
}

bool trainer_pass(Trainer *t, int64_t step, int64_t p, RowPass *pass) {
    StepRows rows = trainer_rows(t, step);
    int64_t first = p * t->rows_per_pass, left = rows.count - first;
    if (left <= 0) return false;
    need_order(t, rows.epoch);
    *pass = (RowPass){.dataset = t->data->train,
                      .plan = t->data->rows,
                      .rows = t->order + rows.first + first,
                      .count = left < t->rows_per_pass ? left : t->rows_per_pass,
                      .first = first};
    return true;
}

static void count_tokens(const Trainer *t, const StepRows *rows, StepReport *report) {
    for (int64_t i = 0; i < rows->count; i++) {
        int64_t row = t->order[rows->first + i];
        report->tokens += row_plan_tokens(t->data->rows, row);
        report->supervised += row_plan_supervised(t->data->rows, row);
    }
}

// ---- the gradients of this rank's rows ----

static void mark(Trainer *t, ClockMark m) {
    Backend *b = t->model->backend;
    if (t->group->ranks > 1) b->k->stamp(b, &t->clock[m]);
}

// On a device only the first pass is waited for: the others are laid out beside the ones before them.
static void lay_out(Trainer *t, const RowPass *pass, bool first) {
    double start = time_now();
    row_runner_pack(t->runner, pass);
    if (first || t->model->backend->host_memory) t->data_seconds += time_now() - start;
}

// Queues the gradients of this rank's passes into the optimizer's sum. False: stopped.
static bool start_passes(Trainer *t, const StepReport *report, int64_t rows_in_step, bool (*stop)(void)) {
    PassOptions o = trainer_options(t);
    double scale = t->state.loss_scale;
    PassState state = {.grad_scale = (float)(scale / (double)report->supervised), .stream = (uint32_t)t->state.step};
    HeadTally *heads = &((StepCounts *)t->optimizer->counts)->heads;
    RowPass pass;
    t->optimizer->unscale = (float)(1 / scale);
    for (int64_t p = t->group->rank; trainer_pass(t, t->state.step, p, &pass); p += t->group->ranks) {
        heartbeat_set_phase(t->life, row_runner_phase(t->runner), report->step);
        if (stop && stop()) return false;
        lay_out(t, &pass, p == t->group->rank);
        optimizer_begin_row(t->optimizer);
        row_runner_start(t->runner, &pass, &o, state, TAPE_TRAIN, heads);
        optimizer_end_row(t->optimizer, rows_in_step);
        t->counts->supervised += t->runner->row.scored;
    }
    return !(stop && stop()); // a rank without passes is asked too
}

// ---- all ranks together ----

static void begin(Trainer *t) {
    t->data_seconds = 0;
    t->all_know = false;
    t->counts->supervised = t->counts->stopped = 0;
    optimizer_begin(t->optimizer);
    mark(t, CLOCK_BEGUN);
}

// Adds up over the ranks. A stop anywhere spoils the step everywhere, as a gradient that is not finite does.
static void reduce(Trainer *t, bool stopped) {
    Backend *b = t->model->backend;
    const int64_t one = 1;
    size_t from = offsetof(StepCounts, supervised), bytes = (size_t)t->optimizer->n_counts * sizeof(int64_t);
    t->counts->stopped = stopped;
    if (stopped) b->k->upload(b, t->optimizer->bad, &one, sizeof one);
    b->k->upload(b, (char *)t->optimizer->counts + from, (char *)t->counts + from, bytes - from);
    heartbeat_set_phase(t->life, PHASE_WAITING, t->state.step + 1);
    mark(t, CLOCK_COMPUTED);
    optimizer_reduce(t->optimizer);
    mark(t, CLOCK_REDUCED);
}

// The next step's first pass is laid out while the device works.
static void pack_ahead(Trainer *t) {
    RowPass pass;
    if (t->state.step + 1 < t->total_steps && trainer_pass(t, t->state.step + 1, t->group->rank, &pass))
        row_runner_pack(t->runner, &pass);
}

// Whoever says that it waits for others must have computed its own: what is queued on a device may take minutes.
static void finish_own(Trainer *t) {
    Backend *b = t->model->backend;
    if (t->group->ranks == 1 || b->host_memory) return;
    pack_ahead(t);
    b->k->sync(b);
}

// What this rank has taken goes with the next step's sum.
static void measure(Trainer *t) {
    Backend *b = t->model->backend;
    int64_t ns[CLOCK_MARKS], *mine = t->counts->micros[t->group->rank];
    if (t->group->ranks == 1) return;
    b->k->download(b, ns, t->clock, sizeof ns);
    mine[0] = (ns[CLOCK_COMPUTED] - ns[CLOCK_BEGUN]) / 1000 - (int64_t)(t->data_seconds * 1e6);
    mine[1] = (ns[CLOCK_REDUCED] - ns[CLOCK_COMPUTED]) / 1000;
}

static void report_ranks(const Trainer *t, const StepCounts *all, StepReport *r) {
    int64_t least = INT64_MAX, most = -1;
    r->ranks = t->group->ranks;
    r->data = t->data_seconds;
    for (int i = 0; i < r->ranks; i++) {
        if (all->micros[i][0] > most) most = all->micros[i][0], r->slowest_rank = i;
        if (all->micros[i][1] < least) least = all->micros[i][1];
    }
    r->compute = (double)most * 1e-6;
    r->reduce = (double)least * 1e-6; // who comes last does not wait
}

// ---- the scale of the loss in F16: as large as gradients stay finite with ----

static void adapt_scale(Trainer *t, bool skipped) {
    static const double largest = 0x1p24;
    enum { GOOD_STEPS = 2000 }; // until a larger scale is tried
    RunState *s = &t->state;
    if (t->model->backend->activation != DTYPE_F16) return;
    s->good_steps = skipped ? 0 : s->good_steps + 1;
    if (skipped && s->loss_scale > 1) s->loss_scale /= 2;
    if (s->good_steps < GOOD_STEPS || s->loss_scale >= largest) return;
    s->loss_scale *= 2;
    s->good_steps = 0;
}

// ---- the end of a step ----

// A gradient that only the scale made too large is no sign of a run that goes wrong.
static int note_skipped(Trainer *t, const StepRows *rows, const StepReport *r, Err *err) {
    RunState *s = &t->state;
    s->skipped++;
    if (r->loss_scale > 1) {
        log_warn("step %lld: the gradient is not finite in f16 with a loss scale of %g; the step is skipped, the scale "
                 "is %g from now on",
                 (long long)r->step, r->loss_scale, s->loss_scale);
        return 0;
    }
    s->skipped_in_a_row++;
    log_warn("step %lld: the gradient is not finite (loss %g, learning rate %g, rows %lld to %lld of epoch %lld); "
             "the step is skipped",
             (long long)r->step, r->loss, r->learning_rate, (long long)rows->first,
             (long long)(rows->first + rows->count - 1), (long long)rows->epoch);
    if (s->skipped_in_a_row < MAX_SKIPPED_IN_A_ROW) return 0;
    t->all_know = true;
    return err_runtime(err,
                       "step %lld: %d steps in a row had a gradient that is not finite (learning rate %g); the "
                       "last snapshot is good",
                       (long long)r->step, MAX_SKIPPED_IN_A_ROW, r->learning_rate);
}

int trainer_check_device(const Trainer *t, const char *when, int64_t step, Err *err) {
    Backend *b = t->model->backend;
    Err fault;
    if (b->k->status(b, &fault) == 0) return 0;
    return err_runtime(err, "%s %lld: %s; the last snapshot is good%s", when, (long long)step, fault.msg,
                       fault.kind == ERR_MEMORY
                           ? "; a smaller per_device_train_batch_size or max_seq_length, or gradient_checkpointing "
                             "\"blocks\" or \"offload\", takes less memory"
                           : "");
}

static int check_tokens(Trainer *t, const StepReport *r, int64_t done, Err *err) {
    if (done == r->supervised) return 0;
    t->all_know = true;
    return err_runtime(err,
                       "step %lld: gradients of %lld supervised tokens were added up; expected %lld: rows were lost "
                       "or doubled; the last snapshot is good",
                       (long long)r->step, (long long)done, (long long)r->supervised);
}

static void count_step(Trainer *t, StepReport *r, double start) {
    RunState *s = &t->state;
    s->updates = t->optimizer->updates;
    s->step++;
    s->tokens += r->tokens;
    s->supervised += r->supervised;
    r->epoch = trainer_epoch(t);
    r->seconds = time_now() - start;
    s->elapsed += r->seconds;
    adapt_scale(t, r->skipped);
}

int trainer_step(Trainer *t, bool (*stop)(void), StepReport *report, Err *err) {
    RunState *s = &t->state;
    double start = time_now();
    StepRows rows = trainer_rows(t, s->step);
    const int64_t *counts;
    *report = (StepReport){
        .step = s->step + 1, .learning_rate = lr_at(&t->schedule, s->step + 1), .loss_scale = s->loss_scale};
    begin(t);
    need_order(t, rows.epoch);
    count_tokens(t, &rows, report);
    bool stopped = !start_passes(t, report, rows.count, stop);
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
    if (check_tokens(t, report, all->supervised, err)) return -1;
    report->loss = row_runner_loss(&all->heads) / (double)report->supervised;
    report_ranks(t, all, report);
    count_step(t, report, start);
    if (report->skipped) return note_skipped(t, &rows, report, err);
    s->skipped_in_a_row = 0;
    s->last_loss = report->loss;
    return 0;
}
