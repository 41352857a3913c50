// lorac plan CONFIG.json [overrides] [--gpu NAME] [--json]
#include "cli.h"

#include <math.h>

#include "config.h"
#include "progress.h"
#include "run_device.h"
#include "run_plan.h"
#include "say.h"

typedef struct Options {
    char *gpu;
    bool json;
} Options;

static bool is_gpu(const char *key) { return gpu_by_key(key); }

static const Key options[] = {
    OPTION(STRING, gpu, .is_valid = is_gpu, .expected = "one of " GPU_KEYS,
           .help = "Plan for this GPU instead of the config's device: " GPU_KEYS "."),
    OPTION(BOOL, json, .help = "Print one JSON object."),
};

static double mb(size_t bytes) { return (double)bytes / 1e6; }

static bool steps_are_unknown(const RunPlan *p) {
    for (const PlanRun *r = p->runs; r < p->runs + p->count; r++)
        if (!r->data.train && r->config->max_steps <= 0) return true;
    return false;
}

static double run_seconds(const RunPlan *p, const PlanLevel *l) {
    double all = 0;
    for (const PlanRun *r = p->runs; r < p->runs + p->count; r++) {
        const TrainerPlan *t = trainer_plan(r->trainer);
        double tokens = 0;
        for (int64_t i = 0; i < r->data.rows->count; i++) tokens += (double)row_plan_row(r->data.rows, i).tokens;
        all += tokens / (double)t->steps_per_epoch * (double)t->total_steps;
    }
    return all / l->tokens_per_second / p->gpus;
}

static bool copies_bound(const PlanLevel *l) { return l->pass.copies > l->pass.ops; }

// ---- as text ----

static void print_level(const RunPlan *p, const PlanLevel *l) {
    say("         %-8s %12.1f MB %12.1f MB", recompute_name(l->level), mb(l->arena), mb(l->total));
    if (l->tokens_per_second > 0)
        say(" %12.0f", l->tokens_per_second);
    else
        say(" %12s", "-");
    if ((int)l->level == p->chosen) say("   <- chosen");
    if (!l->fits) say("   does not fit");
    if (l->kept) say("   (%.1f MB for copies of weights)", mb(l->kept));
    if (l->offloaded) say("   (%.1f MB in host memory)", mb(l->offloaded));
    say("\n");
}

// What a pass of the chosen level waits for, where layers or block inputs are copied.
static void print_copies(const PlanLevel *l) {
    if (l->pass.copies > 0 && l->tokens_per_second > 0)
        say("copies   %.3g s a pass, beside %.3g s of computing: %s it\n", l->pass.copies, l->pass.ops,
            copies_bound(l) ? "the copies bound" : "computing bounds");
}

static void print_time(const RunPlan *p) {
    for (const PlanRun *r = p->runs; r < p->runs + p->count; r++) {
        const TrainerPlan *t = trainer_plan(r->trainer);
        if (!r->data.train && r->config->max_steps <= 0)
            say("steps    unknown without the data%s", p->count > 1 ? "\n" : "");
        else if (p->count > 1)
            say("steps    %ld, batch size %ld (run %s)\n", t->total_steps, t->rows_per_step, r->config->run_name);
        else
            say("steps    %ld, batch size %ld", t->total_steps, t->rows_per_step);
    }
    if (p->count > 1) say("time     of all runs together");
    if (p->gpus > 1) say(", on %d GPUs with the memory above each", p->gpus);
    if (p->chosen >= 0 && p->levels[p->chosen].tokens_per_second > 0 && !steps_are_unknown(p)) {
        char duration[32];
        say("; about %s without evaluations", duration_text(duration, run_seconds(p, &p->levels[p->chosen])));
    }
    say("\n");
}

static void print_adapter(const RunPlan *p, const PlanRun *r) {
    AUTO_STR StrBuf rank = {0};
    bool one = p->count == 1;
    adapter_print_range(&rank, r->adapter, ADAPTER_RANK);
    say("adapter  r %s, %ld parameter%s%s%s%s\n", rank.data, r->adapter->count, plural(r->adapter->count),
        one ? "" : " (run ", one ? "" : r->config->run_name, one ? "" : ")");
}

// What is not there, and what is assumed in its place.
static void print_absent(const RunPlan *p) {
    const Model *m = p->model;
    if (m->lacks_weights && m->is_gguf)
        say("model    %s: the file ends before its weights; their types and sizes are those of its header\n", m->name);
    else if (m->lacks_weights)
        say("model    %s: the weights are absent; assumed as %s (%s)\n", m->name, dtype_info(m->assumed_dtype)->name,
            m->dtype_is_named ? "torch_dtype of config.json" : "config.json names no type; --dtype chooses it");
    for (const PlanRun *r = p->runs; p->assumed_rows && r < p->runs + p->count; r++)
        if (!r->data.train)
            say("data     %s; assumed: rows of %ld token%s, all of them learnt\n",
                m->tokenizer ? "no train_file" : "the tokenizer is absent", r->data.max_tokens,
                plural(r->data.max_tokens));
}

static void print_hint(const BatchHint *h) {
    AUTO_STR StrBuf text = {0};
    batch_hint_print(&text, h);
    if (h->batch) say("hint     %s\n", text.data);
}

static void print_plan(const RunPlan *p) {
    AUTO_STR StrBuf device = {0};
    run_device_describe(&device, p->backend);
    say("device   %s\n", device.data);
    print_absent(p);
    for (const PlanRun *r = p->runs; r < p->runs + p->count; r++) print_adapter(p, r);
    if (p->teacher) say("teacher  %.1f MB beside the base\n", mb(p->teacher));
    say("memory   base %.1f MB, adapter with gradients and moments %.1f MB, %s %.1f MB\n", mb(p->base),
        mb(p->adapter_state), p->backend->host_memory ? "the process with data and tokenizer" : "tokens and workspaces",
        mb(p->others));
    const ModelStream *s = p->model->stream;
    if (s)
        say("         two layers of the base at a time, from %s, which holds %.1f MB of them\n",
            p->backend->host_memory ? "disk" : "main memory", mb(s->total));
    say("         at most %.1f MB (%s)\n", mb(p->budget.limit), p->budget.reason);
    say("ladder   recompute  activations           total     tokens/s\n");
    for (int i = 0; i < PLAN_LEVELS; i++)
        if (i < RECOMPUTE_OFFLOAD || !p->backend->host_memory) print_level(p, &p->levels[i]);
    if (p->chosen >= 0 && p->levels[p->chosen].total == p->levels[p->chosen].end)
        say("         the total is reached at the end of the run, when the adapter is verified\n");
    if (p->chosen >= 0) print_copies(&p->levels[p->chosen]);
    print_time(p);
    print_hint(&p->hint);
    if (p->backend->host_memory)
        say("         tokens/s: estimated from the matrix products that this CPU computes per second\n");
    else if (p->gpu)
        say("         tokens/s: roofline estimate from the data sheet of the %s; not measured\n", p->gpu->name);
    else
        say("         tokens/s: unknown for this GPU; known are %s\n", GPU_KEYS);
}

// ---- stages of a pipeline: a plan of each ----

static const PlanLevel *level_of(const RunPlan *p) { return &p->levels[p->chosen < 0 ? 0 : p->chosen]; }

static void print_stage(const RunPlan *p) {
    const PlanLevel *l = level_of(p);
    say("stage %-2d layers %ld to %ld: base %.1f MB, activations %.1f MB (%s), total %.1f MB, %.3g s a row%s\n",
        p->group.rank, p->model->first_layer, p->model->end_layer - 1, mb(p->base), mb(l->arena),
        recompute_name(l->level), mb(l->total), l->pass.ops, p->chosen < 0 ? "   does not fit" : "");
}

// Tokens per second of a pipeline: the slowest stage, and the share of a step in which it waits for the first row.
typedef struct PipelineSpeed {
    double seconds, idle, tokens_per_second; // seconds: of a row in the slowest stage
    int64_t rows;
} PipelineSpeed;

static PipelineSpeed speed_of(const RunPlan *plans, int n) {
    PipelineSpeed s = {.rows = trainer_plan(plans->runs->trainer)->rows_per_step};
    double tokens = 0;
    for (int i = 0; i < n; i++) {
        const PlanLevel *l = level_of(&plans[i]);
        if (l->pass.ops > s.seconds) s.seconds = l->pass.ops, tokens = l->tokens_per_second * l->pass.ops;
    }
    s.idle = (double)(n - 1) / (double)(s.rows + n - 1);
    s.tokens_per_second = tokens / s.seconds * (1 - s.idle);
    return s;
}

static void print_stages(const RunPlan *plans, int n) {
    AUTO_STR StrBuf device = {0};
    PipelineSpeed s = speed_of(plans, n);
    run_device_describe(&device, plans->backend);
    say("device   %s\n", device.data);
    print_absent(plans);
    print_adapter(plans, plans->runs);
    say("memory   of each rank at most %.1f MB (%s); adapter with gradients and moments %.1f MB on each\n",
        mb(plans->budget.limit), plans->budget.reason, mb(plans->adapter_state));
    for (int i = 0; i < n; i++) print_stage(&plans[i]);
    say("pipeline of %d ranks: %.0f tokens/s; a step of %ld row%s waits for %.0f%% of its time for the first and the "
        "last ones\n",
        n, s.tokens_per_second, s.rows, plural(s.rows), 100 * s.idle);
    if (!steps_are_unknown(plans)) say("steps    %ld\n", trainer_plan(plans->runs->trainer)->total_steps);
    say("         tokens/s: estimated from the matrix products that this CPU computes per second\n");
}

static void print_stages_json(const RunPlan *plans, int n) {
    cJSON *o = cJSON_CreateObject();
    PipelineSpeed s = speed_of(plans, n);
    cJSON_AddStringToObject(o, "device", run_device_kind(plans->backend));
    cJSON_AddNumberToObject(o, "adapter_state_bytes", (double)plans->adapter_state);
    cJSON_AddNumberToObject(o, "limit_bytes", (double)plans->budget.limit);
    cJSON_AddNumberToObject(o, "tokens_per_second", s.tokens_per_second);
    cJSON_AddNumberToObject(o, "idle", s.idle);
    cJSON *stages = cJSON_AddArrayToObject(o, "stages");
    for (int i = 0; i < n; i++) {
        const RunPlan *p = &plans[i];
        const PlanLevel *l = level_of(p);
        cJSON *stage = cJSON_CreateObject();
        cJSON_AddNumberToObject(stage, "first_layer", (double)p->model->first_layer);
        cJSON_AddNumberToObject(stage, "layers", (double)(p->model->end_layer - p->model->first_layer));
        cJSON_AddNumberToObject(stage, "base_bytes", (double)p->base);
        cJSON_AddNumberToObject(stage, "arena_bytes", (double)l->arena);
        cJSON_AddNumberToObject(stage, "total_bytes", (double)l->total);
        cJSON_AddStringToObject(stage, "level", recompute_name(l->level));
        cJSON_AddBoolToObject(stage, "fits", p->chosen >= 0);
        cJSON_AddNumberToObject(stage, "seconds_per_row", l->pass.ops);
        cJSON_AddItemToArray(stages, stage);
    }
    print_json(o);
}

// ---- as JSON ----

static cJSON *level_json(const RunPlan *p, const PlanLevel *l) {
    cJSON *o = cJSON_CreateObject();
    bool timed = l->tokens_per_second > 0;
    cJSON_AddStringToObject(o, "level", recompute_name(l->level));
    cJSON_AddNumberToObject(o, "arena_bytes", (double)l->arena);
    cJSON_AddNumberToObject(o, "kept_bytes", (double)l->kept);
    cJSON_AddNumberToObject(o, "total_bytes", (double)l->total);
    cJSON_AddNumberToObject(o, "offloaded_bytes", (double)l->offloaded);
    cJSON_AddBoolToObject(o, "fits", l->fits);
    cJSON_AddNumberToObject(o, "tokens_per_second", timed ? l->tokens_per_second : NAN); // NaN is printed as null
    cJSON_AddNumberToObject(o, "copy_seconds_per_pass", timed ? l->pass.copies : NAN);
    cJSON_AddNumberToObject(o, "compute_seconds_per_pass", timed ? l->pass.ops : NAN);
    cJSON_AddNumberToObject(o, "seconds", timed && !steps_are_unknown(p) ? run_seconds(p, l) : NAN);
    return o;
}

static cJSON *runs_json(const RunPlan *p) {
    cJSON *list = cJSON_CreateArray();
    for (const PlanRun *r = p->runs; r < p->runs + p->count; r++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "run_name", r->config->run_name);
        cJSON_AddNumberToObject(o, "steps", (double)trainer_plan(r->trainer)->total_steps);
        cJSON_AddNumberToObject(o, "parameters", (double)r->adapter->count);
        cJSON_AddItemToArray(list, o);
    }
    return list;
}

static void print_plan_json(const RunPlan *p) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "device", run_device_kind(p->backend));
    cJSON_AddStringToObject(o, "name", p->backend->name);
    cJSON_AddStringToObject(o, "dtype", run_device_dtype(p->backend));
    cJSON_AddNumberToObject(o, "base_bytes", (double)p->base);
    cJSON_AddNumberToObject(o, "teacher_bytes", (double)p->teacher);
    cJSON_AddNumberToObject(o, "adapter_state_bytes", (double)p->adapter_state);
    cJSON_AddNumberToObject(o, "other_bytes", (double)p->others);
    cJSON_AddNumberToObject(o, "end_bytes", (double)p->levels[p->chosen < 0 ? 0 : p->chosen].end);
    cJSON_AddNumberToObject(o, "limit_bytes", (double)p->budget.limit);
    cJSON_AddItemToObject(
        o, "chosen", p->chosen < 0 ? cJSON_CreateNull() : cJSON_CreateString(recompute_name((Recompute)p->chosen)));
    cJSON_AddNumberToObject(o, "gpus", p->gpus);
    cJSON_AddNumberToObject(o, "steps",
                            steps_are_unknown(p) ? NAN : (double)trainer_plan(p->runs->trainer)->total_steps);
    cJSON_AddNumberToObject(o, "suggested_batch_size", p->hint.batch ? (double)p->hint.batch : NAN);
    cJSON_AddBoolToObject(o, "weights_absent", p->model->lacks_weights);
    cJSON_AddItemToObject(o, "assumed_dtype",
                          p->model->lacks_weights && !p->model->is_gguf
                              ? cJSON_CreateString(dtype_info(p->model->assumed_dtype)->name)
                              : cJSON_CreateNull());
    cJSON_AddBoolToObject(o, "rows_assumed", p->assumed_rows);
    if (p->count > 1) cJSON_AddItemToObject(o, "runs", runs_json(p));
    cJSON *levels = cJSON_AddArrayToObject(o, "levels");
    for (int i = 0; i < PLAN_LEVELS; i++)
        if (i != RECOMPUTE_OFFLOAD || !p->backend->host_memory)
            cJSON_AddItemToArray(levels, level_json(p, &p->levels[i]));
    print_json(o);
}

static int no_fit(const RunPlan *p, Err *err) {
    const PlanLevel *least = NULL;
    for (int i = 0; i < PLAN_LEVELS; i++)
        if (p->levels[i].allowed && (!least || p->levels[i].total < least->total)) least = &p->levels[i];
    bool may_stream = !p->backend->host_memory && !p->model->stream;
    return err_no_fit(err, "the run needs %.1f MB (gradient_checkpointing %s); expected at most %.1f MB (%s)%s",
                      mb(least->total), recompute_name(least->level), mb(p->budget.limit), p->budget.reason,
                      may_stream ? "; base_memory host keeps two layers of the base there" : "");
}

static int plan_stages(const Options *o, const Config *c, Err *err) {
    int n = (int)c->pipeline_parallel_size, rc = 0;
    AUTO_FREE RunPlan *plans = mem_calloc((size_t)n, sizeof *plans);
    for (int i = 0; i < n && !rc; i++)
        rc = run_plan_open_stage(&plans[i], c, o->gpu ? gpu_by_key(o->gpu) : NULL, i, err);
    if (!rc) (o->json ? print_stages_json : print_stages)(plans, n);
    for (int i = 0; i < n && !rc; i++)
        if (plans[i].chosen < 0) rc = no_fit(&plans[i], err);
    for (int i = 0; i < n; i++)
        if (plans[i].runs) run_plan_close(&plans[i]);
    return rc;
}

static int run_plan(const void *given, int argc, char **argv, Err *err) {
    const Options *o = given;
    AUTO_CALL(config_clear) Config c = {0};
    AUTO_CALL(config_list_clear) ConfigList runs = {0};
    AUTO_CALL(run_plan_close) RunPlan p = {0};
    if (config_load(&c, argc, argv, CONFIG_FOR_PLAN, err) || config_runs(&runs, &c, err)) return -1;
    if (runs.count == 1 && runs.items->pipeline_parallel_size > 1) return plan_stages(o, runs.items, err);
    if (run_plan_open(&p, runs.items, runs.count, o->gpu ? gpu_by_key(o->gpu) : NULL, err)) return -1;
    (o->json ? print_plan_json : print_plan)(&p);
    return p.chosen < 0 ? no_fit(&p, err) : 0;
}

const Verb verb_plan = {
    .name = "plan",
    .usage = "lorac plan CONFIG.json [--key value ...] [--gpu NAME] [--json]",
    .summary = "Print the memory of a run by category and an estimate of its time",
    .help =
        "Reads the config and the data, but no weights: a config.json, or a GGUF file cut off after its header, is\n"
        "enough. Without train_file, or the tokenizer to read it, all rows are as long as max_seq_length. Prints the\n"
        "memory of the run at each level of recomputation (gradient_checkpointing), the level that it would choose,\n"
        "and an estimate of its speed; with pipeline_parallel_size the layers, memory and time of each stage.\n"
        "Exit status 3 if no level fits max_memory or the device.",
    .example = "lorac plan configs/smollm2-tool-calls.json\n"
               "  lorac plan configs/smollm2-tool-calls.json --gpu h100 --per_device_train_batch_size 8",
    OPTIONS(options),
    .takes_config = true,
    .run = run_plan,
};
