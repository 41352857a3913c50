#include "run_plan.h"

#include <math.h>

#include "run_device.h"
#include "run_model.h"
#include "run_teacher.h"
#include "spawn.h"
#include "verify.h"

static int open_backend(RunPlan *p, const Config *c, const GpuSpec *gpu, Err *err) {
    if (gpu ? run_device_plan(&p->backend, gpu, config_dtype(c), err)
            : run_device_open(&p->backend, c->device, config_dtype(c), NULL, err))
        return -1;
    p->backend->nondeterministic = !c->deterministic;
    return 0;
}

// The GPU count of another machine is unknown; "all" is planned as one.
static int count_gpus(const RunPlan *p, const Config *c, const GpuSpec *planned) {
    if (p->backend->host_memory) return 1;
    if (c->num_gpus != NUM_GPUS_ALL) return (int)c->num_gpus;
    int here = planned ? 0 : run_device_gpus();
    return here > 0 ? here : 1;
}

static int set_up_run(RunPlan *p, PlanRun *r, const Config *c, Err *err) {
    int64_t rows = config_global_batch(c) * p->gpus;
    bool assumed = !c->train_file.count || !p->model->tokenizer;
    r->config = c;
    p->assumed_rows |= assumed;
    if (assumed && task_classifies(c->task))
        return err_input(err, "task: %s; expected train_file, which names the classes, and a tokenizer",
                         ENUM_WORDS(TASKS)[c->task].word);
    if (assumed ? run_data_assume(&r->data, c, p->model, rows, err)
                : run_data_open(&r->data, c, p->model, NULL, true, err))
        return -1;
    RunLabels labels = run_labels(r->data.train);
    if (run_adapter_new(&r->adapter, c, p->model, labels.names ? &labels : NULL, err)) return -1;
    if (run_reference_new(&r->reference, c, p->model, err)) return -1;
    if (run_teacher_open(&r->teacher, c, p->model, &r->data, err)) return -1;
    TrainerInputs in = {.config = c,
                        .model = p->model,
                        .adapter = r->adapter,
                        .data = &r->data,
                        .ranks = &p->ranks,
                        .end_bytes = adapter_verify_bytes(p->model, r->adapter),
                        .reference = r->reference,
                        .teacher = r->teacher};
    VectorLoss vectors = vector_loss_of(c, r->data.normalize);
    if (c->task == TASK_EMBEDDING && !assumed && vector_loss_check_batch(&vectors, r->data.rows, rows, err)) return -1;
    if (p->count > 1 && p->backend->host_memory) in.team = &p->team;
    r->trainer = trainer_new(&in, rows);
    return 0;
}

// Of weights that are absent and whose type config.json does not name.
static DType absent_dtype(const Config *c) {
    return c->dtype == DTYPE_WORD_F32 ? DTYPE_F32 : c->dtype == DTYPE_WORD_F16 ? DTYPE_F16 : DTYPE_BF16;
}

static int set_up(RunPlan *p, const Config *runs, Err *err) {
    ModelOptions o;
    if (run_model_options_for(&o, runs, p->count, err)) return -1;
    o.outline = true;
    o.absent_dtype = absent_dtype(runs);
    o.stage = p->group.rank;
    o.stages = p->group.ranks;
    if (model_load(&p->model, runs->model_name_or_path, p->backend, &o, err)) return -1;
    for (size_t i = 0; i < p->count; i++)
        if (set_up_run(p, &p->runs[i], &runs[i], err))
            return p->count > 1 ? err_context(err, "run %s", runs[i].run_name) : -1;
    return 0;
}

// Mean number of keys that a token attends to, estimated from a part of the samples.
static double mean_keys(const RunData *data) {
    enum { LOOKED_AT = 4096 };
    const Dataset *d = data->train;
    if (!d) return ((double)data->max_tokens + 1) / 2;
    int64_t n = d->count, step = n / LOOKED_AT + 1;
    double keys = 0, tokens = 0;
    for (int64_t i = 0; i < n; i += step) {
        double count = (double)dataset_sample(d, i).count;
        keys += count * (count + 1) / 2;
        tokens += count;
    }
    return tokens > 0 ? keys / tokens : 0;
}

static void estimate_time(const RunPlan *p, PlanLevel *l, const Roof *roof) {
    double tokens = 0, seconds = 0;
    for (const PlanRun *r = p->runs; r < p->runs + p->count; r++) {
        PassPlan pass = trainer_build_level(r->trainer, l->level);
        double tape_keys = (double)pass.shape.tokens / (double)pass.shape.samples / 2;
        RoofTime t = roofline_seconds(roof, pass.tape, mean_keys(&r->data), tape_keys);
        tokens += (double)pass.shape.tokens;
        seconds += fmax(t.ops, t.copies);
        l->pass.ops += t.ops;
        l->pass.copies += t.copies;
    }
    l->tokens_per_second = tokens / seconds;
}

static void plan_level(RunPlan *p, Trainer *const *trainers, Recompute level, const Roof *roof) {
    MemoryPlan m = trainers_plan_memory(trainers, p->count, &p->budget, level);
    PlanLevel *l = &p->levels[level];
    *l = (PlanLevel){level, m.arena, m.kept, m.offloaded, m.total, m.end, .fits = m.total <= p->budget.limit};
    if (roof) estimate_time(p, l, roof);
}

// roof NULL: unknown.
static void plan_levels(RunPlan *p, Trainer *const *trainers, const Roof *roof) {
    Recompute from, to;
    trainer_levels(trainers[0], &from, &to);
    p->budget = trainers_memory_budget(trainers, p->count);
    p->base = model_memory_bytes(p->model);
    p->others = p->budget.held - p->base - p->teacher - p->adapter_state;
    for (Recompute level = RECOMPUTE_NONE; level <= RECOMPUTE_OFFLOAD; level++) {
        PlanLevel *l = &p->levels[level];
        plan_level(p, trainers, level, roof);
        l->allowed = level >= from && level <= to;
        if (!l->allowed || !l->fits || p->chosen >= 0) continue;
        p->chosen = (int)level;
        if (p->count == 1) p->hint = trainer_batch_hint(trainers[0], p->budget.limit, l->arena, l->total);
    }
}

static int plan_open(RunPlan *p, const Config *runs, size_t count, const GpuSpec *gpu, Err *err) {
    if (open_backend(p, runs, gpu, err)) return -1;
    if (p->ranks.stages > 1 && (!p->backend->host_memory || count > 1))
        return err_input(err, "pipeline_parallel_size: %d; expected device cpu and a single run, or 1",
                         p->ranks.stages);
    p->gpus = count_gpus(p, runs, gpu);
    if (set_up(p, runs, err)) return -1;
    AUTO_FREE Trainer **trainers = mem_alloc(count, sizeof *trainers);
    for (size_t i = 0; i < count; i++) trainers[i] = p->runs[i].trainer;
    Backend *b = p->backend;
    p->gpu = gpu ? gpu : b->host_memory ? NULL : gpu_by_name(b->name);
    for (size_t i = 0; i < count; i++)
        p->adapter_state +=
            (size_t)p->runs[i].adapter->count * ((p->runs[i].adapter->start ? 5 : 4) * sizeof(float) + sizeof(int64_t));
    for (size_t i = 0; i < count; i++)
        if (p->runs[i].teacher) p->teacher += teacher_bytes(p->runs[i].teacher);
    Roof roof = b->host_memory ? roof_of_cpu(b) : p->gpu ? roof_of_gpu(p->gpu, b) : (Roof){0};
    bool known = b->host_memory || p->gpu;
    plan_levels(p, trainers, known ? &roof : NULL);
    if (p->chosen < 0 && run_stream_base(p->model, runs)) plan_levels(p, trainers, known ? &roof : NULL);
    return 0;
}

static void begin(RunPlan *p, size_t count) {
    *p = (RunPlan){.chosen = -1, .count = count, .runs = mem_calloc(count, sizeof *p->runs), .group = group_alone()};
    p->ranks.group = &p->group;
}

int run_plan_open(RunPlan *p, const Config *runs, size_t count, const GpuSpec *gpu, Err *err) {
    begin(p, count);
    return plan_open(p, runs, count, gpu, err);
}

int run_plan_open_stage(RunPlan *p, const Config *c, const GpuSpec *gpu, int stage, Err *err) {
    begin(p, 1);
    p->group.rank = stage;
    p->group.ranks = p->ranks.stages = (int)c->pipeline_parallel_size;
    return plan_open(p, c, 1, gpu, err);
}

void run_plan_close(RunPlan *p) {
    for (size_t i = 0; i < p->count; i++) {
        trainer_free(p->runs[i].trainer);
        adapter_free(p->runs[i].adapter);
        adapter_free(p->runs[i].reference);
        teacher_free(p->runs[i].teacher);
        run_data_close(&p->runs[i].data);
    }
    mem_free(p->runs);
    model_free(p->model);
    backend_close(p->backend);
}
