#include "trainer.h"

#include <math.h>

#include "trainer_internal.h"

// ---- how a run is divided into steps ----

static int64_t epochs_to_steps(double epochs, int64_t steps_per_epoch) {
    double steps = ceil(epochs * (double)steps_per_epoch - 1e-9);
    return steps < 1 ? 1 : (int64_t)steps;
}

static LrSchedule schedule_of(const Config *c, int64_t total) {
    double fraction = c->warmup_steps > 0 ? c->warmup_steps : c->warmup_ratio;
    int64_t warmup = (int64_t)ceil(fraction * (double)total - 1e-9);
    if (c->warmup_steps >= 1) warmup = (int64_t)c->warmup_steps;
    return (LrSchedule){(LrKind)c->lr_scheduler_type, c->learning_rate, c->min_lr_ratio, warmup, total};
}

static OptimizerOptions optimizer_options(const Config *c) {
    return (OptimizerOptions){c->adam_beta1,   c->adam_beta2,    c->adam_epsilon,
                              c->weight_decay, c->max_grad_norm, c->loraplus_lr_ratio};
}

// ---- the trainer ----

const char *const trainer_buffer_names[TRAINER_BUFFERS] = {"params", "m", "v", "start"};

static int64_t eval_rows_per_pass(const Config *c, const Backend *b) {
    int64_t rows = c->per_device_eval_batch_size;
    return rows_in_pass(b, rows > 0 ? rows : c->per_device_train_batch_size);
}

// Initial loss scale in F16 (Micikevicius et al. 2018); adapt_scale lowers it on overflow and raises it after many good
// steps.
static double first_loss_scale(const Backend *b) { return b->activation == DTYPE_F16 ? 0x1p16 : 1; }

static size_t counts_bytes(const Trainer *t) {
    return sizeof *t->counts + (size_t)t->in.ranks->group->ranks * sizeof *t->counts->micros;
}

static TrainerPlan plan_steps(const TrainerInputs *in, int64_t rows_per_step) {
    const Config *c = in->config;
    TrainerPlan p = {.rows_per_step = rows_per_step,
                     .rows_per_pass = rows_in_pass(in->model->backend, c->per_device_train_batch_size)};
    if (!rows_per_step) p.rows_per_step = config_global_batch(c) * ranks_pipelines(in->ranks);
    p.steps_per_epoch = (in->data->rows->count + p.rows_per_step - 1) / p.rows_per_step;
    p.total_steps = c->max_steps > 0 ? c->max_steps : epochs_to_steps(c->num_train_epochs, p.steps_per_epoch);
    p.schedule = schedule_of(c, p.total_steps);
    return p;
}

static PassRunner *new_runner(Trainer *t) {
    const TrainerInputs *in = &t->in;
    bool preference = in->config->task == TASK_PREFERENCE;
    t->preference = preference_of(in->config, in->reference);
    PassRunnerOptions o = {.model = in->model,
                           .adapter = in->adapter,
                           .eval_rows = eval_rows_per_pass(in->config, in->model->backend),
                           .ranks = *in->ranks,
                           .team = in->team,
                           .preference = preference ? &t->preference : NULL,
                           .teacher = in->teacher};
    const RowPlan *const plans[2] = {in->data->rows, in->data->eval_rows};
    t->vector_loss = vector_loss_of(in->config, in->data->normalize);
    if (in->config->task == TASK_EMBEDDING)
        o.vectors =
            vectors_new(in->model->backend, &t->vector_loss, plans, t->plan.rows_per_step, in->model->config.hidden);
    pass_bounds_add(&o.bounds, in->data->rows, t->plan.rows_per_pass);
    pass_bounds_add(&o.bounds, in->data->eval_rows, o.eval_rows);
    if (ranks_stages(in->ranks) == 1) return pass_runner_new(&o);
    int64_t pipelines = ranks_pipelines(in->ranks);
    t->pipeline = pipeline_new(&o, (t->plan.rows_per_step + pipelines - 1) / pipelines);
    PassRunner *first = pass_runner_new(&o);
    pipeline_add_runners(t->pipeline, first, &o);
    return first;
}

Trainer *trainer_new(const TrainerInputs *in, int64_t rows_per_step) {
    Trainer *t = mem_calloc(1, sizeof *t);
    Backend *b = in->model->backend;
    t->in = *in;
    t->alone_group = group_alone();
    t->alone.group = &t->alone_group;
    if (!in->ranks) t->in.ranks = &t->alone;
    t->plan = plan_steps(&t->in, rows_per_step);
    t->runner = new_runner(t);
    OptimizerOptions o = optimizer_options(in->config);
    t->counts = mem_calloc(1, counts_bytes(t));
    t->optimizer = optimizer_new(in->adapter, &o, (int64_t)(counts_bytes(t) / sizeof(int64_t)));
    t->clock = b->k->alloc(b, CLOCK_MARKS * sizeof *t->clock);
    t->order = mem_alloc((size_t)in->data->rows->count, sizeof *t->order);
    t->order_epoch = -1;
    t->state = (TrainerState){.evaluated_step = -1, .best_step = -1, .loss_scale = first_loss_scale(b)};
    return t;
}

void trainer_end(Trainer *t) {
    pipeline_free(t->pipeline);
    pass_runner_free(t->runner);
    optimizer_free(t->optimizer);
    t->pipeline = NULL;
    t->runner = NULL;
    t->optimizer = NULL;
    adapter_free_grad(t->in.adapter);
}

void trainer_free(Trainer *t) {
    if (!t) return;
    Backend *b = t->in.model->backend;
    pipeline_free(t->pipeline);
    pass_runner_free(t->runner);
    optimizer_free(t->optimizer);
    b->k->free(b, t->clock, CLOCK_MARKS * sizeof *t->clock);
    mem_free(t->counts);
    mem_free(t->order);
    mem_free(t);
}

const TrainerInputs *trainer_inputs(const Trainer *t) { return &t->in; }

const TrainerPlan *trainer_plan(const Trainer *t) { return &t->plan; }

const TrainerState *trainer_state(const Trainer *t) { return &t->state; }

void trainer_set_state(Trainer *t, const TrainerState *s) {
    t->state = *s;
    adapter_update_norms(t->in.adapter);
}

bool trainer_is_done(const Trainer *t) { return t->state.step >= t->plan.total_steps || t->state.stopped_early; }

void trainer_buffers(const Trainer *t, float *buffers[TRAINER_BUFFERS]) {
    buffers[0] = t->in.adapter->params;
    buffers[1] = t->optimizer ? t->optimizer->m : NULL;
    buffers[2] = t->optimizer ? t->optimizer->v : NULL;
    buffers[TRAINER_START] = t->in.adapter->start;
}

bool trainer_same_rates(const Trainer *t, int64_t other_total, int64_t steps) {
    LrSchedule other = schedule_of(t->in.config, other_total);
    for (int64_t step = 1; step <= steps; step++)
        if (lr_at(&t->plan.schedule, step) != lr_at(&other, step)) return false;
    return true;
}

PassOptions trainer_options(const Trainer *t, Recompute level) {
    const Config *c = t->in.config;
    return (PassOptions){.recompute = level,
                         .dropout = (float)c->lora_dropout,
                         .neftune_alpha = (float)c->neftune_noise_alpha,
                         .label_smoothing = (float)c->label_smoothing_factor,
                         .seed = (uint64_t)c->seed};
}
