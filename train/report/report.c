// report: the page of one run (report.h).
#include "report_page.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "data_notes.h"
#include "fileio.h"
#include "memory_use.h"
#include "path.h"
#include "progress.h"
#include "run_device.h"
#include "train_log.h"

// ---- figures on top ----

static void card(StrBuf *out, const char *label, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void card(StrBuf *out, const char *label, const char *fmt, ...) {
    char value[64];
    va_list args;
    va_start(args, fmt);
    vsnprintf(value, sizeof value, fmt, args);
    va_end(args);
    str_printf(out, "<div class=\"card\"><span>%s</span><b>%s</b></div>\n", label, value);
}

static bool predicts_tokens(Task t) { return t == TASK_CAUSAL_LM || t == TASK_MLM; }

static void add_cards(StrBuf *out, const Trainer *t) {
    const TrainerInputs *in = trainer_inputs(t);
    const TrainerState *s = trainer_state(t);
    char duration[32];
    str_puts(out, "<div class=\"cards\">\n");
    card(out, "last training loss", "%.4f", s->last_loss);
    if (s->evaluated_step >= 0) {
        card(out, "evaluation loss", "%.4f", s->last_eval_loss);
        if (predicts_tokens(in->config->task)) card(out, "perplexity", "%.4g", exp(s->last_eval_loss));
    }
    card(out, "steps", "%ld", s->step);
    card(out, "tokens seen", "%ld", s->tokens);
    card(out, "time", "%s", duration_text(duration, s->elapsed));
    card(out, "tokens per second, overall", "%.0f", (double)s->tokens / fmax(s->elapsed, 1e-9));
    size_t device = memory_device(in->model->backend);
    card(out, "peak memory", "%.0f MB", (double)(device ? device : memory_peak()) / 1e6);
    if (s->skipped) card(out, "skipped steps", "%ld", s->skipped);
    str_puts(out, "</div>\n");
}

// ---- curves ----

// The last value of a single point is among the cards.
static void one_curve(StrBuf *out, Chart chart, const double *x, const double *y, size_t n) {
    ChartSeries s = {.name = "last", .style = "main", .x = x, .y = y, .count = n};
    chart.series = &s;
    chart.n_series = 1;
    if (n >= 2) chart_add(out, &chart);
}

// Of what few runs have: nothing where it is absent.
static void steps_and_evals(StrBuf *out, const char *title, const Curves *c, const double *steps, const double *evals) {
    bool given = false;
    for (size_t i = 0; i < c->n && !given; i++) given = !isnan(steps[i]);
    ChartSeries both[] = {{"step", "main", c->step, steps, c->n},
                          {"evaluation", "second", c->eval_step, evals, c->n_eval}};
    if (given) chart_add(out, &(Chart){.title = title, .unit = "", .series = both, .n_series = 2, .dots = true});
}

static void add_curves(StrBuf *out, const char *output_dir, Task task) {
    AUTO_FREE double *data = NULL;
    Curves c = curves_read(&data, output_dir);
    ChartSeries loss[] = {{"step", "faint", c.step, c.loss, c.n},
                          {"smoothed", "main", c.step, c.smooth, c.n},
                          {"evaluation", "second", c.eval_step, c.eval_loss, c.n_eval}};
    str_puts(out, "<h2>Curves</h2><div class=\"charts\">\n");
    chart_add(out, &(Chart){.title = "Loss", .unit = "", .series = loss, .n_series = 3, .dots = true});
    steps_and_evals(out, "Margin of the rewards", &c, c.margin, c.eval_margin);
    steps_and_evals(out, "Loss against the teacher", &c, c.soft, c.eval_soft);
    steps_and_evals(out, "Loss against the data", &c, c.hard, c.eval_hard);
    bool tokens = predicts_tokens(task);
    Chart eval = {
        .title = tokens ? "Token accuracy in evaluation" : "Accuracy in evaluation", .unit = "%", .dots = true};
    if (c.n_eval && !isnan(c.accuracy[0])) one_curve(out, eval, c.eval_step, c.accuracy, c.n_eval); // kto has none
    eval.title = "Macro-F1 in evaluation";
    if (c.n_eval && !isnan(c.f1[0])) one_curve(out, eval, c.eval_step, c.f1, c.n_eval);
    const struct {
        const char *title, *unit;
        const double *y;
    } curves[] = {{"Learning rate", "", c.rate},
                  {"Gradient norm, before clipping", "", c.norm},
                  {"Tokens per second", "", c.speed},
                  {"Peak memory", " MB", c.memory}};
    for (size_t i = 0; i < sizeof curves / sizeof *curves; i++)
        one_curve(out, (Chart){.title = curves[i].title, .unit = curves[i].unit, .from_zero = true}, c.step,
                  curves[i].y, c.n);
    str_puts(out, "</div>\n");
}

// ---- tables ----

static void row(StrBuf *out, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void row(StrBuf *out, const char *name, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    AUTO_STR StrBuf value = {0};
    char small[2048];
    vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    report_escape(&value, small);
    str_printf(out, "<tr><td>%s</td><td>%s</td></tr>\n", name, value.data ? value.data : "");
}

static void add_data_table(StrBuf *out, const Trainer *t) {
    const TrainerInputs *in = trainer_inputs(t);
    const DatasetStats *s = &in->data->train->stats;
    str_puts(out, "<div><h2>Data</h2><table>\n");
    const FileList *files = &in->config->train_file;
    for (size_t i = 0; i < files->count; i++) {
        if (files->weights[i] != 1)
            row(out, "file", "%s, weight %g", files->items[i], files->weights[i]);
        else
            row(out, "file", "%s", files->items[i]);
    }
    row(out, "format", "%s", dataset_format_name(s->format));
    row(out, "records read", "%ld", s->records);
    row(out, "training samples", "%ld in %ld row%s", in->data->train_samples, in->data->rows->count,
        plural(in->data->rows->count));
    if (in->data->eval_rows)
        row(out, "evaluation samples", "%ld%s", in->data->eval_samples,
            in->data->held_out ? ", held out of these files (val_set_size)" : "");
    if (in->data->train->embedding)
        row(out, "tokens", "%ld in %ld texts", s->tokens, dataset_texts(in->data->train));
    else
        row(out, "tokens", "%ld, of which supervised %ld (%.0f%%)", s->tokens, s->supervised,
            100 * (double)s->supervised / fmax((double)s->tokens, 1));
    row(out, "longest record", "%ld token%s", s->longest, plural(s->longest));
    if (s->left_out_bytes)
        row(out, "left out", "%ld byte%s without a token", s->left_out_bytes, plural(s->left_out_bytes));
    AUTO_STR StrBuf unread = {0}, special = {0};
    key_counts_show(&unread, &in->data->train->unread);
    if (unread.len) row(out, "keys not used", "%s", unread.data);
    data_notes_show_special(&special, s);
    if (special.len) row(out, "control tokens", "%s", special.data);
    row(out, in->data->train->embedding ? "without tokens" : "without supervised tokens", "%ld skipped",
        s->skipped_unsupervised);
    row(out, "too long", "%ld dropped (%ld token%s), %ld truncated (%ld token%s)", s->dropped_long, s->dropped_tokens,
        plural(s->dropped_tokens), s->truncated, s->truncated_tokens, plural(s->truncated_tokens));
    str_puts(out, "</table></div>\n");
}

// The engines of hot_swap_url.
static void add_swaps(StrBuf *out, const char *output_dir) {
    AUTO_FREE char *path = path_join(output_dir, "train_log.jsonl");
    size_t n;
    LogSwap *swaps = train_log_swaps(path, &n);
    for (size_t i = 0; i < n; i++) {
        const LogSwap *s = &swaps[i];
        row(out, "hot swap", "%s at %s: %s %s; %ld loaded, %ld failed%s%s", s->engine, s->url, s->name,
            s->error ? "is not loaded" : "is loaded", s->loaded, s->failed, s->error ? "; " : "",
            s->error ? s->error : "");
    }
    train_log_swaps_free(swaps, n);
}

static void add_model_table(StrBuf *out, const Trainer *t, const char *output_dir) {
    const TrainerInputs *in = trainer_inputs(t);
    const Group *g = in->ranks->group;
    const TrainerState *s = trainer_state(t);
    const ModelConfig *m = &in->model->config;
    str_puts(out, "<div><h2>Model and adapter</h2><table>\n");
    row(out, "base", "%s", in->model->name);
    row(out, "architecture", "%s, %ld layers, hidden %ld, vocabulary %ld", m->arch->model_types[0], m->layers,
        m->hidden, m->vocab);
    row(out, "weights", "%.1f MB in memory", (double)in->model->weight_bytes / 1e6);
    AUTO_STR StrBuf rank = {0}, alpha = {0};
    adapter_print_range(&rank, in->adapter, ADAPTER_RANK);
    adapter_print_range(&alpha, in->adapter, ADAPTER_ALPHA);
    row(out, "adapter", "r %s, alpha %s, %ld parameters", rank.data, alpha.data, in->adapter->count);
    row(out, "rows per step", "%ld", trainer_plan(t)->rows_per_step);
    row(out, "device", "%s%s%s, %s", run_device_kind(in->model->backend), in->model->backend->name[0] ? " " : "",
        in->model->backend->name, run_device_dtype(in->model->backend));
    if (g->ranks > 1)
        row(out, "ranks", "%d on %d machine%s (%s)", g->ranks, g->nodes, plural(g->nodes), g->calls->name);
    row(out, "gradient checkpointing", "%s", recompute_name(trainer_recompute(t)));
    if (s->grown_at) row(out, "grown", "after step %ld, from a run of %ld steps", s->grown_at, s->grown_from);
    if (s->best_step >= 0) row(out, "best evaluation", "%.4f at step %ld", s->best_loss, s->best_step);
    add_swaps(out, output_dir);
    str_puts(out, "</table></div>\n");
}

static void add_samples(StrBuf *out, const Answers *s) {
    if (!s->count) return;
    str_printf(out, "<h2>Answers, before and after (%s prompts)</h2>\n", s->held_out ? "held-out" : "training");
    for (int i = 0; i < s->count; i++) {
        const Answer *a = &s->items[i];
        const char *const parts[4][3] = {{"prompt", "", a->prompt},
                                         {"before", "", a->before},
                                         {"after", "after", a->after},
                                         {"reference", "", a->reference}};
        str_puts(out, "<div class=\"sample\">");
        for (int p = 0; p < 4; p++) {
            str_printf(out, "<h3>%s</h3><pre class=\"%s\">", parts[p][0], parts[p][1]);
            report_escape(out, parts[p][2]);
            str_puts(out, "</pre>");
        }
        str_puts(out, "</div>\n");
    }
}

static void add_config(StrBuf *out, const Config *c) {
    AUTO_FREE char *text = config_json(c);
    cJSON *root = cJSON_Parse(text);
    str_puts(out, "<h2>Config</h2><details><summary>every key of this run</summary><table>\n");
    for (const cJSON *m = root ? root->child : NULL; m; m = m->next) {
        char *value = cJSON_PrintUnformatted(m);
        str_printf(out, "<tr><td>%s</td><td><code>", m->string);
        report_escape(out, value);
        str_puts(out, "</code></td></tr>\n");
        cJSON_free(value);
    }
    str_puts(out, "</table></details>\n");
    cJSON_Delete(root);
}

bool report_has(const Config *c, const char *kind) {
    for (size_t i = 0; i < c->report_to.count; i++)
        if (strcmp(c->report_to.items[i], kind) == 0) return true;
    return false;
}

bool report_wanted(const Config *c) { return report_has(c, "html"); }

// As a note of report_begin. No title or name can hold it: '<' is escaped there.
static void show_state(StrBuf *out, const Trainer *t, const char *state) {
    const TrainerState *s = trainer_state(t);
    int64_t total = trainer_plan(t)->total_steps;
    str_puts(out, "; <span>");
    if (state) {
        str_printf(out, "step %ld of %ld: ", s->step, total);
        report_escape(out, state);
    } else if (s->stopped_early) {
        str_printf(out, "stopped early after step %ld of %ld", s->step, total);
    } else {
        str_printf(out, "%ld step%s", s->step, plural(s->step));
    }
    str_puts(out, "</span>");
}

bool report_is_at_end(const Trainer *t, const char *output_dir) {
    AUTO_FREE char *path = path_join(output_dir, "report.html"), *text = NULL;
    AUTO_STR StrBuf note = {0};
    size_t size;
    show_state(&note, t, NULL);
    return file_read(&text, &size, path, REPORT_MAX_BYTES, NULL) == 0 && strstr(text, note.data);
}

int report_write(const Trainer *t, const char *output_dir, const char *name, const char *state, const Answers *answers,
                 Err *err) {
    const TrainerInputs *in = trainer_inputs(t);
    AUTO_STR StrBuf page = {0}, note = {0};
    AUTO_FREE char *path = path_join(output_dir, "report.html");
    show_state(&note, t, state);
    report_begin(&page, name, in->model->name, note.data);
    add_cards(&page, t);
    add_curves(&page, output_dir, in->config->task);
    if (answers) add_samples(&page, answers);
    str_puts(&page, "<div class=\"two\">\n");
    add_data_table(&page, t);
    add_model_table(&page, t, output_dir);
    str_puts(&page, "</div>\n");
    add_config(&page, in->config);
    return report_end(&page, path, err);
}
