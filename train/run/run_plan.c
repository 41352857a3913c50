#include "run_plan.h"

#include "run_device.h"
#include "run_model.h"
#include "spawn.h"
#include "verify.h"

static int open_backend(RunPlan *p, const Config *c, const GpuSpec *gpu, Err *err) {
    if (gpu) return run_device_plan(&p->backend, gpu, (DtypeWord)c->dtype, err);
    return run_device_open(&p->backend, c->device, (DtypeWord)c->dtype, NULL, err);
}

// The GPU count of another machine is unknown; "all" is planned as one.
static int count_gpus(const RunPlan *p, const Config *c, const GpuSpec *planned) {
    if (p->backend->host_memory) return 1;
    if (c->num_gpus != NUM_GPUS_ALL) return (int)c->num_gpus;
    int here = planned ? 0 : run_device_gpus();
    return here > 0 ? here : 1;
}

static int set_up(RunPlan *p, const Config *c, Err *err) {
    ModelOptions o;
    int64_t max_tokens;
    if (run_model_options(&o, c, &max_tokens, err)) return -1;
    o.outline = true;
    if (model_load(&p->model, c->model_name_or_path, p->backend, &o, err) ||
        run_data_open(&p->data, c, p->model, NULL, true, err) ||
        run_adapter_new(&p->adapter, c, p->model, p->data.train->labels, err))
        return -1;
    TrainerInputs in = {c, p->model, p->adapter, &p->data, NULL, adapter_verify_bytes(p->model, p->adapter)};
    p->trainer = trainer_new(&in, config_global_batch(c) * p->gpus);
    return 0;
}

// Mean number of keys that a token attends to, estimated from a part of the samples.
static double mean_keys(const Dataset *d) {
    enum { LOOKED_AT = 4096 };
    int64_t n = d->count, step = n / LOOKED_AT + 1;
    double keys = 0, tokens = 0;
    for (int64_t i = 0; i < n; i += step) {
        double count = (double)dataset_sample(d, i).count;
        keys += count * (count + 1) / 2;
        tokens += count;
    }
    return tokens > 0 ? keys / tokens : 0;
}

static void plan_level(RunPlan *p, Recompute level, const Roof *roof, double keys) {
    PassPlan pass = trainer_build_level(p->trainer, level);
    size_t total = memory_budget_total(&p->budget, pass.arena);
    PlanLevel *l = &p->levels[level];
    *l = (PlanLevel){level, pass.arena, pass.offloaded, total, .fits = total <= p->budget.limit};
    if (!roof) return;
    double tokens = (double)pass.shape.tokens, tape_keys = tokens / (double)pass.shape.samples / 2;
    l->tokens_per_second = tokens / roofline_seconds(roof, pass.tape, keys, tape_keys);
}

int run_plan_open(RunPlan *p, const Config *c, const GpuSpec *gpu, Err *err) {
    *p = (RunPlan){.chosen = -1};
    if (open_backend(p, c, gpu, err)) return -1;
    p->gpus = count_gpus(p, c, gpu);
    if (set_up(p, c, err)) return -1;
    Backend *b = p->backend;
    p->gpu = gpu ? gpu : b->host_memory ? NULL : gpu_by_name(b->name);
    p->budget = trainer_memory_budget(p->trainer);
    p->base = b->host_memory ? p->model->weight_bytes : p->model->device_bytes;
    p->adapter_state = (size_t)p->adapter->count * (4 * sizeof(float) + sizeof(int64_t));
    p->others = p->budget.held - p->base - p->adapter_state;
    Roof roof = b->host_memory ? roof_of_cpu(b) : p->gpu ? roof_of_gpu(p->gpu, b) : (Roof){0};
    bool known = b->host_memory || p->gpu;
    double keys = mean_keys(p->data.train);
    Recompute from, to;
    trainer_levels(p->trainer, &from, &to);
    for (Recompute level = RECOMPUTE_NONE; level <= RECOMPUTE_OFFLOAD; level++) {
        PlanLevel *l = &p->levels[level];
        plan_level(p, level, known ? &roof : NULL, keys);
        l->allowed = level >= from && level <= to;
        if (l->allowed && l->fits && p->chosen < 0) p->chosen = (int)level;
    }
    return 0;
}

void run_plan_close(RunPlan *p) {
    trainer_free(p->trainer);
    adapter_free(p->adapter);
    run_data_close(&p->data);
    model_free(p->model);
    backend_close(p->backend);
}
