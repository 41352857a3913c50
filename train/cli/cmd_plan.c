// lorac plan CONFIG.json [overrides] [--gpu NAME] [--json]
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>

#include "config.h"
#include "run_device.h"
#include "run_plan.h"
#include "say.h"

typedef struct PlanArgs {
    const char *gpu;
    bool json;
} PlanArgs;

static double mb(size_t bytes) {
    return (double)bytes / 1e6;
}

static double run_seconds(const RunPlan *p, const PlanLevel *l) {
    const StepPlan *t = trainer_step_plan(p->trainer);
    double tokens = 0;
    for (int64_t i = 0; i < row_plan_count(p->data.rows); i++) tokens += (double)row_plan_tokens(p->data.rows, i);
    return tokens / (double)t->steps_per_epoch * (double)t->total_steps / l->tokens_per_second / p->gpus;
}

// ---- for people ----

static void print_level(const RunPlan *p, const PlanLevel *l) {
    say("         %-8s %12.1f MB %12.1f MB", recompute_name(l->level), mb(l->arena), mb(l->total));
    if (l->tokens_per_second > 0)
        say(" %12.0f", l->tokens_per_second);
    else
        say(" %12s", "-");
    if ((int)l->level == p->chosen) say("   <- chosen");
    if (!l->fits) say("   does not fit");
    if (l->offloaded) say("   (%.1f MB in host memory)", mb(l->offloaded));
    say("\n");
}

static void print_time(const RunPlan *p) {
    const StepPlan *t = trainer_step_plan(p->trainer);
    say("steps    %" PRId64 " of %" PRId64 " rows", t->total_steps, t->rows_per_step);
    if (p->gpus > 1) say(" on %d GPUs, each with the memory above", p->gpus);
    if (p->chosen >= 0 && p->levels[p->chosen].tokens_per_second > 0) {
        double seconds = run_seconds(p, &p->levels[p->chosen]);
        say(": about %.0f h %02.0f min %02.0f s, evaluations not counted", (double)(int64_t)(seconds / 3600),
            (double)((int64_t)(seconds / 60) % 60), (double)((int64_t)seconds % 60));
    }
    say("\n");
}

static void print_plan(const RunPlan *p) {
    StrBuf device = {0}, rank = {0};
    run_device_describe(&device, p->backend);
    adapter_print_range(&rank, p->adapter, ADAPTER_RANK);
    say("device   %s\n", device.data);
    say("adapter  r %s, %" PRId64 " parameters\n", rank.data, p->adapter->count);
    str_clear(&device);
    str_clear(&rank);
    say("memory   base %.1f MB, adapter with gradients and moments %.1f MB, %s %.1f MB\n", mb(p->base),
        mb(p->adapter_state), p->backend->host_memory ? "the process with data and tokenizer" : "tokens and workspaces",
        mb(p->others));
    say("         at most %.1f MB (%s)\n", mb(p->limit), p->limit_reason);
    say("ladder   recompute  activations           total     tokens/s\n");
    for (int i = 0; i < PLAN_LEVELS; i++)
        if (i < RECOMPUTE_OFFLOAD || !p->backend->host_memory) print_level(p, &p->levels[i]);
    if (p->chosen >= 0 && p->levels[p->chosen].total == p->end)
        say("         the total is that of the end of the run, when the adapter is verified\n");
    print_time(p);
    if (p->backend->host_memory)
        say("         tokens/s: from the products of matrices that this CPU does in a second\n");
    else if (p->gpu)
        say("         tokens/s: a roofline from the data sheet of the %s; not measured\n", p->gpu->name);
    else
        say("         tokens/s: this GPU is not among those known (%s)\n", GPU_KEYS);
}

// ---- for programs ----

static void print_json(const RunPlan *p) {
    say("{\"device\": \"%s\", \"name\": \"%s\", \"dtype\": \"%s\", \"base_bytes\": %zu, \"adapter_state_bytes\": %zu, "
        "\"other_bytes\": %zu, \"end_bytes\": %zu, \"limit_bytes\": %zu, \"chosen\": ",
        run_device_kind(p->backend), p->backend->name, run_device_dtype(p->backend), p->base, p->adapter_state,
        p->others, p->end, p->limit);
    if (p->chosen < 0)
        say("null");
    else
        say("\"%s\"", recompute_name((Recompute)p->chosen));
    say(", \"gpus\": %d, \"steps\": %" PRId64 ", \"levels\": [", p->gpus, trainer_step_plan(p->trainer)->total_steps);
    const char *separator = "";
    for (int i = 0; i < PLAN_LEVELS; i++) {
        const PlanLevel *l = &p->levels[i];
        if (i == RECOMPUTE_OFFLOAD && p->backend->host_memory) continue;
        say("%s{\"level\": \"%s\", \"arena_bytes\": %zu, \"total_bytes\": %zu, \"offloaded_bytes\": %zu, \"fits\": %s, "
            "\"tokens_per_second\": ",
            separator, recompute_name(l->level), l->arena, l->total, l->offloaded, l->fits ? "true" : "false");
        if (l->tokens_per_second > 0)
            say("%.1f, \"seconds\": %.1f}", l->tokens_per_second, run_seconds(p, l));
        else
            say("null, \"seconds\": null}");
        separator = ", ";
    }
    say("]}\n");
}

static int no_fit(const RunPlan *p, Err *err) {
    const PlanLevel *least = NULL;
    for (int i = 0; i < PLAN_LEVELS; i++)
        if (p->levels[i].allowed && (!least || p->levels[i].total < least->total)) least = &p->levels[i];
    return err_no_fit(err, "the run needs %.1f MB (gradient_checkpointing %s); expected at most %.1f MB (%s)",
                      mb(least->total), recompute_name(least->level), mb(p->limit), p->limit_reason);
}

static int plan(const Config *c, const PlanArgs *a, Err *err) {
    RunPlan p = {0};
    const GpuSpec *gpu = a->gpu ? gpu_by_key(a->gpu) : NULL;
    if (a->gpu && !gpu) return err_input(err, "--gpu: \"%s\"; expected one of %s", a->gpu, GPU_KEYS);
    int status = run_plan_open(&p, c, gpu, err);
    if (!status) {
        if (a->json)
            print_json(&p);
        else
            print_plan(&p);
        if (p.chosen < 0) status = no_fit(&p, err);
    }
    run_plan_close(&p);
    return status;
}

static int run_plan(int argc, char **argv, Err *err) {
    PlanArgs a = {0};
    const ArgSpec specs[] = {{"gpu", ARG_STRING, &a.gpu, NULL}, {"json", ARG_BOOL, &a.json, NULL}};
    Config c = {0};
    int status = -1;
    if (args_take(&argc, argv, specs, sizeof specs / sizeof *specs, err) == 0 &&
        config_load(&c, argc, argv, CONFIG_FOR_TRAIN, err) == 0)
        status = plan(&c, &a, err);
    config_clear(&c);
    return status;
}

const Verb verb_plan = {
    .name = "plan",
    .usage = "lorac plan CONFIG.json [--key value ...] [--gpu NAME] [--json]",
    .summary = "What a run would take: memory by category, time",
    .help = "Reads the config and the data, no weights, and prints what the run takes in memory at each level of\n"
            "recomputation (gradient_checkpointing), which of them it would choose, and about how fast it would be.\n"
            "Exit status 3 where nothing fits max_memory or the device.\n\n"
            "  --gpu NAME   plan for this GPU instead of the config's device, one of\n"
            "               " GPU_KEYS "\n"
            "  --json       one JSON object\n\n"
            "  lorac plan configs/smollm2-tool-calls.json\n"
            "  lorac plan configs/smollm2-tool-calls.json --gpu h100 --per_device_train_batch_size 8\n",
    .run = run_plan,
};
