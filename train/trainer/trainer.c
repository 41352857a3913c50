#include "trainer.h"

#include <math.h>

// ---- the shape of a run ----

static int64_t epochs_to_steps(double epochs, int64_t steps_per_epoch) {
    double steps = ceil(epochs * (double)steps_per_epoch - 1e-9);
    return steps < 1 ? 1 : (int64_t)steps;
}

static LrSchedule schedule_of(const Config *c, int64_t total) {
    double fraction = c->warmup_steps > 0 ? c->warmup_steps : c->warmup_ratio;
    int64_t warmup = (int64_t)ceil(fraction * (double)total - 1e-9);
    if (c->warmup_steps >= 1) warmup = (int64_t)c->warmup_steps;
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

// ---- the trainer ----

static int64_t eval_rows_per_pass(const Config *c, const Backend *b) {
    int64_t rows = c->per_device_eval_batch_size;
    return rows_side_by_side(b, rows > 0 ? rows : c->per_device_train_batch_size);
}

// In F16 as large as gradients may bear (Micikevicius et al. 2018); the steps make it fit.
static double first_loss_scale(const Backend *b) {
    return b->activation == DTYPE_F16 ? 0x1p16 : 1;
}

static size_t counts_bytes(const Trainer *t) {
    return sizeof *t->counts + (size_t)t->group->ranks * sizeof *t->counts->micros;
}

Trainer *trainer_new(const Config *c, const Model *m, Adapter *a, const RunData *d, Group *g, int64_t rows_per_step) {
    Trainer *t = mem_calloc(1, sizeof *t);
    int64_t rows = row_plan_count(d->rows), eval_rows = eval_rows_per_pass(c, m->backend);
    RowShape bounds = {0};
    t->config = c;
    t->model = m;
    t->adapter = a;
    t->data = d;
    t->alone = group_alone();
    t->group = g ? g : &t->alone;
    t->rows_per_step = rows_per_step ? rows_per_step : config_global_batch(c) * t->group->ranks;
    t->rows_per_pass = rows_side_by_side(m->backend, c->per_device_train_batch_size);
    row_bounds_add(&bounds, d->rows, t->rows_per_pass);
    row_bounds_add(&bounds, d->eval_rows, eval_rows);
    t->runner = row_runner_new(m, a, bounds);
    t->runner->eval_rows = eval_rows;
    t->runner->group = t->group;
    OptimizerOptions o = optimizer_options(c);
    t->counts = mem_calloc(1, counts_bytes(t));
    t->optimizer = optimizer_new(a, &o, (int64_t)(counts_bytes(t) / sizeof(int64_t)));
    t->clock = m->backend->k->alloc(m->backend, CLOCK_MARKS * sizeof *t->clock);
    t->steps_per_epoch = (rows + t->rows_per_step - 1) / t->rows_per_step;
    t->total_steps = c->max_steps > 0 ? c->max_steps : epochs_to_steps(c->num_train_epochs, t->steps_per_epoch);
    t->schedule = schedule_of(c, t->total_steps);
    t->order = mem_alloc((size_t)rows, sizeof *t->order);
    t->order_epoch = -1;
    t->state = (RunState){.evaluated_step = -1, .best_step = -1, .loss_scale = first_loss_scale(m->backend)};
    return t;
}

void trainer_end(Trainer *t) {
    row_runner_free(t->runner);
    optimizer_free(t->optimizer);
    t->runner = NULL;
    t->optimizer = NULL;
    adapter_free_grad(t->adapter);
}

void trainer_free(Trainer *t) {
    if (!t) return;
    row_runner_free(t->runner);
    optimizer_free(t->optimizer);
    t->model->backend->k->free(t->model->backend, t->clock, CLOCK_MARKS * sizeof *t->clock);
    mem_free(t->counts);
    mem_free(t->order);
    mem_free(t);
}

bool trainer_same_rates(const Trainer *t, int64_t other_total, int64_t steps) {
    LrSchedule other = schedule_of(t->config, other_total);
    for (int64_t step = 1; step <= steps; step++)
        if (lr_at(&t->schedule, step) != lr_at(&other, step)) return false;
    return true;
}

double trainer_epoch(const Trainer *t) {
    return (double)t->state.step / (double)t->steps_per_epoch;
}

PassOptions trainer_options(const Trainer *t) {
    const Config *c = t->config;
    return (PassOptions){.recompute = t->recompute,
                         .dropout = (float)c->lora_dropout,
                         .neftune_alpha = (float)c->neftune_noise_alpha,
                         .label_smoothing = (float)c->label_smoothing_factor,
                         .seed = (uint64_t)c->seed};
}
