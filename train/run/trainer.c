#include "trainer.h"

#include <math.h>
#include <string.h>

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

// --- the scale of the loss in F16 (Micikevicius et al. 2018): as large as gradients stay finite with ---

static const double FIRST_SCALE = 0x1p16, LARGEST_SCALE = 0x1p24;
enum { GOOD_STEPS = 2000 }; // until a larger scale is tried

static double loss_scale_at_start(const Backend *b) {
    return b->activation == DTYPE_F16 ? FIRST_SCALE : 1;
}

static void adapt_scale(Trainer *t, bool skipped) {
    RunState *s = &t->state;
    if (t->model->backend->activation != DTYPE_F16) return;
    s->good_steps = skipped ? 0 : s->good_steps + 1;
    if (skipped && s->loss_scale > 1) s->loss_scale /= 2;
    if (s->good_steps < GOOD_STEPS || s->loss_scale >= LARGEST_SCALE) return;
    s->loss_scale *= 2;
    s->good_steps = 0;
}

// --- the trainer ---

static int64_t eval_rows_per_pass(const Config *c, const Backend *b) {
    int64_t rows = c->per_device_eval_batch_size;
    return rows_side_by_side(b, rows > 0 ? rows : c->per_device_train_batch_size);
}

static int64_t passes_per_step(const Trainer *t, int64_t rows) {
    int64_t most = rows < t->rows_per_step ? rows : t->rows_per_step;
    return (most + t->rows_per_pass - 1) / t->rows_per_pass;
}

Trainer *trainer_new(const Config *c, const Model *m, Adapter *a, const RunData *d) {
    Trainer *t = mem_calloc(1, sizeof *t);
    int64_t rows = row_plan_count(d->rows), eval_rows = eval_rows_per_pass(c, m->backend);
    RowShape bounds = {0};
    t->config = c;
    t->model = m;
    t->adapter = a;
    t->data = d;
    t->rows_per_step = config_global_batch(c);
    t->rows_per_pass = rows_side_by_side(m->backend, c->per_device_train_batch_size);
    row_bounds_add(&bounds, d->rows, t->rows_per_pass);
    row_bounds_add(&bounds, d->eval_rows, eval_rows);
    t->runner = row_runner_new(m, a, bounds, passes_per_step(t, rows));
    t->runner->eval_rows = eval_rows;
    OptimizerOptions o = optimizer_options(c);
    t->optimizer = optimizer_new(a, &o);
    t->steps_per_epoch = (rows + t->rows_per_step - 1) / t->rows_per_step;
    t->total_steps = c->max_steps > 0 ? c->max_steps : epochs_to_steps(c->num_train_epochs, t->steps_per_epoch);
    t->schedule = schedule_of(c, t->total_steps);
    t->order = mem_alloc((size_t)rows, sizeof *t->order);
    t->order_epoch = -1;
    t->state = (RunState){.evaluated_step = -1, .best_step = -1, .loss_scale = loss_scale_at_start(m->backend)};
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

DecoderOptions trainer_options(const Trainer *t) {
    const Config *c = t->config;
    return (DecoderOptions){.recompute = t->recompute,
                            .dropout = (float)c->lora_dropout,
                            .neftune_alpha = (float)c->neftune_noise_alpha,
                            .label_smoothing = (float)c->label_smoothing_factor,
                            .seed = (uint64_t)c->seed};
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

static RowPass pass_at(const Trainer *t, const StepRows *rows, int64_t i) {
    int64_t left = rows->count - i;
    return (RowPass){.dataset = t->data->train,
                     .plan = t->data->rows,
                     .rows = t->order + rows->first + i,
                     .count = left < t->rows_per_pass ? left : t->rows_per_pass,
                     .first = i};
}

// Queues the gradients of all rows into the optimizer's sum. False: stopped.
static bool start_rows(Trainer *t, const StepRows *rows, int64_t supervised, bool (*stop)(void)) {
    DecoderOptions o = trainer_options(t);
    double scale = t->state.loss_scale;
    PassState state = {.grad_scale = (float)(scale / (double)supervised), .stream = (uint32_t)t->state.step};
    t->optimizer->unscale = (float)(1 / scale);
    optimizer_begin(t->optimizer);
    for (int64_t i = 0; i < rows->count; i += t->rows_per_pass) {
        RowPass pass = pass_at(t, rows, i);
        if (stop && stop()) return false;
        optimizer_begin_row(t->optimizer);
        row_runner_start(t->runner, &pass, &o, state, TAPE_TRAIN);
        optimizer_end_row(t->optimizer, rows->count);
    }
    return true;
}

// The next step's first pass is laid out while the device works.
static void pack_ahead(Trainer *t) {
    if (t->state.step + 1 >= t->total_steps) return;
    StepRows next = rows_of_step(t, t->state.step + 1);
    need_order(t, next.epoch);
    RowPass pass = pass_at(t, &next, 0);
    row_runner_pack(t->runner, &pass);
}

// Per supervised token; not finite when a pass's was not.
static double fetch_loss(Trainer *t, int64_t supervised) {
    int64_t n, sum = 0;
    const HeadResult *results = row_runner_fetch(t->runner, &n);
    for (int64_t i = 0; i < n; i++) {
        double loss = results[i].loss;
        if (!isfinite(loss) || fabs(loss) >= 0x1p30) return NAN;
        sum += llrint(loss * LOSS_UNIT);
    }
    return (double)sum / LOSS_UNIT / (double)supervised;
}

// --- the end of a step ---

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
    return err_runtime(err,
                       "step %lld: %d steps in a row had a gradient that is not finite (learning rate %g); the "
                       "last snapshot is good",
                       (long long)r->step, MAX_SKIPPED_IN_A_ROW, r->learning_rate);
}

int trainer_check_device(const Trainer *t, const char *when, int64_t step, Err *err) {
    Backend *b = t->model->backend;
    Err fault;
    if (b->k->status(b, &fault) == 0) return 0;
    bool memory = strstr(fault.msg, "out of memory") != NULL;
    return err_runtime(err, "%s %lld: %s; the last snapshot is good%s", when, (long long)step, fault.msg,
                       memory ? "; a smaller per_device_train_batch_size or max_seq_length, or gradient_checkpointing "
                                "\"blocks\" or \"offload\", takes less memory"
                              : "");
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
    StepRows rows = rows_of_step(t, s->step);
    need_order(t, rows.epoch);
    *report = (StepReport){
        .step = s->step + 1, .learning_rate = lr_at(&t->schedule, s->step + 1), .loss_scale = s->loss_scale};
    count_tokens(t, &rows, report);
    if (!start_rows(t, &rows, report->supervised, stop)) {
        fetch_loss(t, report->supervised);
        return 1;
    }
    t->optimizer->updates = s->updates;
    optimizer_queue(t->optimizer, report->learning_rate);
    pack_ahead(t);
    report->loss = fetch_loss(t, report->supervised);
    report->skipped = !optimizer_fetch(t->optimizer, &report->grad_norm);
    if (trainer_check_device(t, "step", report->step, err)) return -1;
    count_step(t, report, start);
    if (report->skipped) return note_skipped(t, &rows, report, err);
    s->skipped_in_a_row = 0;
    s->last_loss = report->loss;
    return 0;
}
