// live_metrics: numbers of the runs in Prometheus's text format (configs/monitoring).
#include <math.h>
#include <stddef.h>

#include "live_internal.h"

// A value of a label.
static void add_quoted(StrBuf *out, const char *text) {
    str_puts(out, "\"");
    for (const char *c = text; *c; c++) {
        if (*c == '\n')
            str_puts(out, "\\n");
        else
            str_puts(out, *c == '"' ? "\\\"" : *c == '\\' ? "\\\\" : (char[]){*c, 0});
    }
    str_puts(out, "\"");
}

static void add_value(StrBuf *out, double x) {
    if (isfinite(x))
        str_printf(out, " %.15g\n", x);
    else
        str_puts(out, isnan(x) ? " NaN\n" : x > 0 ? " +Inf\n" : " -Inf\n");
}

static void add_head(StrBuf *out, const char *name, const char *type, const char *help) {
    str_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

// name{run="...",more}
static void add_sample(StrBuf *out, const char *name, const LiveRun *r, const char *more, double x) {
    str_printf(out, "%s{run=", name);
    add_quoted(out, r->name);
    str_printf(out, "%s}", more);
    add_value(out, x);
}

// ---- one number of each run ----

static double last_of(const Series *s, int field) { return s->count ? s->items[s->count - 1].values[field] : NAN; }

typedef enum {
    LOSS,
    RATE,
    NORM,
    SPEED,
    MARGIN,
    EVAL_LOSS,
    STEP,
    TOTAL,
    EPOCH,
    TOKENS,
    SKIPPED,
    LEFT,
    STEPPED,
    RUNNING
} Which;

// NAN: unknown yet.
static double number_of(const LiveRun *r, Which which) {
    switch (which) {
    case LOSS: return r->last.values[POINT_LOSS];
    case RATE: return r->last.values[POINT_RATE];
    case NORM: return r->last.values[POINT_NORM];
    case SPEED: return r->last.values[POINT_SPEED];
    case MARGIN: return r->last.values[POINT_MARGIN];
    case EVAL_LOSS: return last_of(&r->evals, 1);
    case STEP: return (double)r->step;
    case TOTAL: return (double)r->total;
    case EPOCH: return r->epoch;
    case TOKENS: return (double)r->tokens;
    case SKIPPED: return (double)r->skipped;
    case LEFT: return r->left;
    case STEPPED: return r->stepped_at;
    default: return r->state[0] == 'r'; // "running"
    }
}

static bool is_known(const LiveRun *r, Which which) {
    if (which == EVAL_LOSS) return r->evals.count > 0;
    if (which == MARGIN && isnan(r->last.values[POINT_MARGIN])) return false;
    return which >= STEP && which != STEPPED && which != LEFT && which != EPOCH ? true : r->done_step;
}

static void add_numbers(StrBuf *out, const Live *l) {
    static const struct {
        Which which;
        const char *name, *type, *help;
    } rows[] = {
        {LOSS, "lorac_train_loss", "gauge", "Loss of the last step."},
        {MARGIN, "lorac_reward_margin", "gauge", "Chosen minus rejected reward of the last step, of preferences."},
        {EVAL_LOSS, "lorac_eval_loss", "gauge", "Loss of the last evaluation."},
        {RATE, "lorac_learning_rate", "gauge", "Learning rate of the last step."},
        {NORM, "lorac_grad_norm", "gauge", "Norm of the gradient of the last step, before clipping."},
        {SPEED, "lorac_tokens_per_second", "gauge", "Tokens per second of the last step."},
        {STEP, "lorac_step", "gauge", "Steps done."},
        {TOTAL, "lorac_planned_steps", "gauge", "Steps of the whole run."},
        {EPOCH, "lorac_epoch", "gauge", "Epochs done."},
        {TOKENS, "lorac_tokens_total", "counter", "Tokens seen, also before the run was resumed."},
        {SKIPPED, "lorac_nonfinite_steps_total", "counter", "Steps skipped because of a gradient with NaN or Inf."},
        {LEFT, "lorac_seconds_left", "gauge", "Estimated time to the end of the run."},
        {STEPPED, "lorac_last_step_timestamp_seconds", "gauge", "When the last step ended."},
        {RUNNING, "lorac_running", "gauge", "1: at its steps."}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        add_head(out, rows[i].name, rows[i].type, rows[i].help);
        for (size_t k = 0; k < l->n_runs; k++)
            if (is_known(&l->runs[k], rows[i].which))
                add_sample(out, rows[i].name, &l->runs[k], "", number_of(&l->runs[k], rows[i].which));
    }
}

// ---- the others ----

static void add_histogram(StrBuf *out, const LiveRun *r) {
    int64_t sum = 0;
    for (int i = 0; i < BUCKETS; i++) {
        AUTO_FREE char *more = mem_printf(",le=\"%g\"", live_bucket_seconds[i]);
        sum += r->buckets[i];
        add_sample(out, "lorac_step_seconds_bucket", r, more, (double)sum);
    }
    add_sample(out, "lorac_step_seconds_bucket", r, ",le=\"+Inf\"", (double)r->steps_here);
    add_sample(out, "lorac_step_seconds_sum", r, "", r->seconds_here);
    add_sample(out, "lorac_step_seconds_count", r, "", (double)r->steps_here);
}

static void add_ranks(StrBuf *out, const Live *l, const char *name, const char *help, int column) {
    add_head(out, name, "gauge", help);
    for (size_t k = 0; k < l->n_runs; k++) {
        const LiveRun *r = &l->runs[k];
        for (int i = 0; i < r->n_ranks; i++) {
            AUTO_FREE char *more = mem_printf(",rank=\"%d\"", i);
            add_sample(out, name, r, more, r->ranks[i][column]);
        }
    }
}

static void add_memory(StrBuf *out, const Live *l, const char *name, const char *help, size_t field) {
    bool any = false;
    for (size_t k = 0; k < l->n_runs; k++) {
        size_t bytes = *(const size_t *)((const char *)&l->runs[k].memory + field);
        if (!bytes) continue;
        if (!any) add_head(out, name, "gauge", help);
        any = true;
        add_sample(out, name, &l->runs[k], ",rank=\"0\"", (double)bytes);
    }
}

void live_metrics(StrBuf *out, const Live *l) {
    add_head(out, "lorac_run_info", "gauge", "1; the labels describe the run.");
    for (size_t k = 0; k < l->n_runs; k++) {
        AUTO_STR StrBuf more = {0};
        str_puts(&more, ",model=");
        add_quoted(&more, l->runs[k].model);
        add_sample(out, "lorac_run_info", &l->runs[k], more.data, 1);
    }
    add_numbers(out, l);
    add_head(out, "lorac_step_seconds", "histogram", "Duration of the steps of this process.");
    for (size_t k = 0; k < l->n_runs; k++) add_histogram(out, &l->runs[k]);
    add_memory(out, l, "lorac_peak_memory_bytes", "Peak memory of the process.", offsetof(LiveMemory, host));
    add_memory(out, l, "lorac_gpu_memory_bytes", "Memory held on the GPU.", offsetof(LiveMemory, device));
    add_ranks(out, l, "lorac_rank_compute_seconds", "Computing of a rank in the step before the last.", 0);
    add_ranks(out, l, "lorac_rank_reduce_seconds", "Summing gradients, waiting included, of a rank in that step.", 1);
}
