#include "run_plan.h"

#include "roofline.h"
#include "run_adapter.h"
#include "run_device.h"
#include "run_model.h"
#include "spawn.h"

static int open_backend(RunPlan *p, const Config *c, const GpuSpec *gpu, Err *err) {
    if (gpu) return run_device_plan(&p->backend, gpu, (DtypeWord)c->dtype, err);
    return run_device_open(&p->backend, c->device, (DtypeWord)c->dtype, NULL, err);
}

// How many a machine has that is not this one nobody knows: there "all" is one.
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
        run_adapter_new(&p->adapter, c, p->model, dataset_labels(p->data.train), err))
        return -1;
    p->trainer = trainer_new(c, p->model, p->adapter, &p->data, NULL, config_global_batch(c) * p->gpus);
    return 0;
}

// The keys that a token sees on the average, from a part of the samples.
static double mean_keys(const Dataset *d) {
    enum { LOOKED_AT = 4096 };
    int64_t n = dataset_count(d), step = n / LOOKED_AT + 1;
    double keys = 0, tokens = 0;
    for (int64_t i = 0; i < n; i += step) {
        double count = (double)dataset_sample(d, i).count;
        keys += count * (count + 1) / 2;
        tokens += count;
    }
    return tokens > 0 ? keys / tokens : 0;
}

static void plan_level(RunPlan *p, Recompute level, const Roof *roof, double keys, const TrainerRoom *room) {
    PlanLevel *l = &p->levels[level];
    l->level = level;
    l->arena = trainer_arena_bytes(p->trainer, level);
    l->total = trainer_total_bytes(room, l->arena);
    l->fits = l->total <= p->limit;
    PassOptions o = trainer_options(p->trainer);
    row_runner_plan(p->trainer->runner, &o, TAPE_TRAIN); // the arena may have been an evaluation's
    const Tape *tape = p->trainer->runner->tape;
    l->offloaded = tape_stats(tape).offloaded_bytes;
    if (!roof) return;
    const RowShape *pass = &p->trainer->runner->bounds;
    double tape_keys = (double)pass->tokens / (double)pass->samples / 2;
    l->tokens_per_second = (double)pass->tokens / roofline_seconds(roof, tape, keys, tape_keys);
}

int run_plan_open(RunPlan *p, const Config *c, const GpuSpec *gpu, Err *err) {
    *p = (RunPlan){.chosen = -1};
    if (open_backend(p, c, gpu, err)) return -1;
    p->gpus = count_gpus(p, c, gpu);
    if (set_up(p, c, err)) return -1;
    Backend *b = p->backend;
    p->gpu = gpu ? gpu : b->host_memory ? NULL : gpu_by_name(b->name);
    TrainerRoom room = trainer_room(p->trainer);
    p->limit = room.limit;
    p->end = room.end;
    p->limit_why = room.why;
    p->base = b->host_memory ? p->model->weight_bytes : p->model->device_bytes;
    p->adapter_state = (size_t)p->adapter->count * (4 * sizeof(float) + sizeof(int64_t));
    p->others = room.held - p->base - p->adapter_state;
    Roof roof = b->host_memory ? roof_of_cpu(b) : p->gpu ? roof_of_gpu(p->gpu, b) : (Roof){0};
    bool known = b->host_memory || p->gpu;
    double keys = mean_keys(p->data.train);
    Recompute from, to;
    trainer_levels(p->trainer, &from, &to);
    for (Recompute level = RECOMPUTE_NONE; level <= RECOMPUTE_OFFLOAD; level++) {
        PlanLevel *l = &p->levels[level];
        plan_level(p, level, known ? &roof : NULL, keys, &room);
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
