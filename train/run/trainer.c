#include "trainer.h"

#include <math.h>

#include "memory_use.h"

// The step's loss is summed in fixed point too, unit 2^-32: no order of rows changes it.
static const double LOSS_UNIT = 0x1p32;

// --- the shape of a run ---

static int64_t epochs_to_steps(double epochs, int64_t steps_per_epoch) {
    double steps = ceil(epochs * (double)steps_per_epoch - 1e-9);
    return steps < 1 ? 1 : (int64_t)steps;
}

static LrSchedule schedule_of(const Config *c, int64_t total) {
    int64_t warmup = (int64_t)ceil(c->warmup_ratio * (double)total - 1e-9);
    if (c->warmup_steps > 0) warmup = c->warmup_steps;
    return (LrSchedule){.kind = (LrKind)c->lr_scheduler_type,
                        .peak = c->learning_rate,
                        .min_ratio = c->min_lr_ratio,
                        .warmup = warmup,
                        .total = total};
}

static OptimizerOptions optimizer_options(const Config *c) {
    return (OptimizerOptions){.beta1 = c->adam_beta1,
                              .beta2 = c->adam_beta2,
                              .epsilon = c->adam_epsilon,
                              .weight_decay = c->weight_decay,
                              .max_grad_norm = c->max_grad_norm,
                              .loraplus_ratio = c->loraplus_lr_ratio};
}

Trainer *trainer_new(const Config *c, const Model *m, Adapter *a, const RunData *d) {
    Trainer *t = mem_calloc(1, sizeof *t);
    int64_t rows = row_plan_count(d->rows);
    RowBounds bounds = {0};
    row_bounds_add(&bounds, d->rows);
    row_bounds_add(&bounds, d->eval_rows);
    t->config = c;
    t->model = m;
    t->adapter = a;
    t->data = d;
    t->runner = row_runner_new(m, a, bounds);
    OptimizerOptions o = optimizer_options(c);
    t->optimizer = optimizer_new(a, &o);
    t->rows_per_step = config_global_batch(c);
    t->steps_per_epoch = (rows + t->rows_per_step - 1) / t->rows_per_step;
    t->total_steps = c->max_steps > 0 ? c->max_steps : epochs_to_steps(c->num_train_epochs, t->steps_per_epoch);
    t->schedule = schedule_of(c, t->total_steps);
    t->order = mem_alloc((size_t)rows, sizeof *t->order);
    t->order_epoch = -1;
    t->state = (RunState){.evaluated_step = -1, .best_step = -1};
    return t;
}

void trainer_free(Trainer *t) {
    if (!t) return;
    row_runner_free(t->runner);
    optimizer_free(t->optimizer);
    mem_free(t->order);
    mem_free(t);
}

double trainer_epoch(const Trainer *t) {
    return (double)t->state.step / (double)t->steps_per_epoch;
}

// --- memory ---

static DecoderOptions train_options(const Trainer *t) {
    const Config *c = t->config;
    return (DecoderOptions){.recompute = t->checkpoint ? RECOMPUTE_BLOCKS : RECOMPUTE_NONE,
                            .dropout = (float)c->lora_dropout,
                            .neftune_alpha = (float)c->neftune_noise_alpha,
                            .label_smoothing = (float)c->label_smoothing_factor,
                            .seed = (uint64_t)c->seed};
}

// Arena of the worst training or evaluation row.
static size_t arena_bytes(Trainer *t, bool checkpoint) {
    t->checkpoint = checkpoint;
    DecoderOptions o = train_options(t), eval = eval_options();
    size_t train = row_runner_plan(t->runner, &o, TAPE_TRAIN), forward = 0;
    if (t->data->eval_rows) forward = row_runner_plan(t->runner, &eval, TAPE_FORWARD);
    return train > forward ? train : forward;
}

// What the step loop will touch besides the arena: gradients, moments and their sum were only reserved so far.
static size_t state_bytes(const Trainer *t) {
    return (size_t)t->adapter->count * (3 * sizeof(float) + sizeof(int64_t));
}

static size_t memory_limit(const Config *c, size_t resident) {
    size_t left = memory_free();
    if (c->max_memory) return (size_t)c->max_memory;
    return left ? resident + left / 10 * 9 : SIZE_MAX;
}

int trainer_fit_memory(Trainer *t, size_t *bytes, Err *err) {
    int choice = t->config->gradient_checkpointing;
    size_t fixed = memory_resident() + state_bytes(t), limit = memory_limit(t->config, memory_resident());
    size_t arena = arena_bytes(t, choice != CHECKPOINT_AUTO && choice != CHECKPOINT_FALSE);
    if (choice == CHECKPOINT_AUTO && fixed + arena > limit) arena = arena_bytes(t, true);
    if (bytes) *bytes = fixed + arena;
    if (fixed + arena > limit) {
        const char *advice =
            t->checkpoint ? "; a smaller max_seq_length would help" : " (gradient_checkpointing false)";
        return err_no_fit(err, "a row of %lld tokens needs %.0f MB in all%s; expected at most %.0f MB (%s)",
                          (long long)t->runner->bounds.tokens, (double)(fixed + arena) / 1e6, advice,
                          (double)limit / 1e6, t->config->max_memory ? "max_memory" : "90% of what is free");
    }
    row_runner_reserve(t->runner, arena);
    return 0;
}

// --- one step ---

typedef struct StepRows { // which rows a step takes
    int64_t epoch, first, count;
} StepRows;

static StepRows rows_of_step(const Trainer *t, int64_t step) {
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

static void count_tokens(const Trainer *t, const StepRows *rows, StepReport *report) {
    for (int64_t i = 0; i < rows->count; i++) {
        int64_t row = t->order[rows->first + i];
        report->tokens += row_plan_tokens(t->data->rows, row);
        report->supervised += row_plan_supervised(t->data->rows, row);
    }
}

// Gradients of all rows into the optimizer's sum; *loss is not finite when a row's was not. False: stopped.
static bool run_rows(Trainer *t, const StepRows *rows, int64_t supervised, bool (*stop)(void), double *loss) {
    DecoderOptions o = train_options(t);
    PassState state = {.grad_scale = (float)(1.0 / (double)supervised), .stream = (uint32_t)t->state.step};
    int64_t sum = 0;
    bool finite = true;
    optimizer_begin(t->optimizer);
    for (int64_t i = 0; i < rows->count; i++) {
        if (stop && stop()) return false;
        o.row = (uint32_t)i;
        optimizer_begin_row(t->optimizer);
        HeadResult r =
            row_runner_run(t->runner, t->data->train, t->data->rows, t->order[rows->first + i], &o, state, TAPE_TRAIN);
        optimizer_end_row(t->optimizer, rows->count);
        finite = finite && isfinite(r.loss) && fabs(r.loss) < 0x1p30;
        if (finite) sum += llrint(r.loss * LOSS_UNIT);
    }
    *loss = finite ? (double)sum / LOSS_UNIT / (double)supervised : NAN;
    return true;
}

static int note_skipped(Trainer *t, const StepRows *rows, const StepReport *r, Err *err) {
    RunState *s = &t->state;
    s->skipped++;
    s->skipped_in_a_row++;
    log_warn("step %lld: the gradient is not finite (loss %g, learning rate %g, rows %lld to %lld of epoch %lld); "
             "the step is skipped",
             (long long)r->step, r->loss, r->learning_rate, (long long)rows->first,
             (long long)(rows->first + rows->count - 1), (long long)rows->epoch);
    if (s->skipped_in_a_row < MAX_SKIPPED_IN_A_ROW) return 0;
    return err_runtime(err,
                       "step %lld: %d steps in a row had a gradient that is not finite (learning rate %g); the "
                       "last snapshot is good",
                       (long long)r->step, MAX_SKIPPED_IN_A_ROW, r->learning_rate);
}

int trainer_step(Trainer *t, bool (*stop)(void), StepReport *report, Err *err) {
    RunState *s = &t->state;
    double start = time_now();
    StepRows rows = rows_of_step(t, s->step);
    need_order(t, rows.epoch);
    *report = (StepReport){.step = s->step + 1, .learning_rate = lr_at(&t->schedule, s->step + 1)};
    count_tokens(t, &rows, report);
    if (!run_rows(t, &rows, report->supervised, stop, &report->loss)) return 1;
    t->optimizer->updates = s->updates;
    report->skipped = !isfinite(report->loss);
    report->grad_norm = NAN;
    if (!report->skipped) report->skipped = !optimizer_update(t->optimizer, report->learning_rate, &report->grad_norm);
    s->updates = t->optimizer->updates;
    s->step++;
    s->tokens += report->tokens;
    s->supervised += report->supervised;
    report->epoch = trainer_epoch(t);
    report->seconds = time_now() - start;
    s->elapsed += report->seconds;
    if (report->skipped) return note_skipped(t, &rows, report, err);
    s->skipped_in_a_row = 0;
    s->last_loss = report->loss;
    return 0;
}
