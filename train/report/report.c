#include "report.h"

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

// Weight of the past in the smoothed loss curve.
static const double SMOOTHING = 0.9;

// report_own recognises a report of lorac by these.
static const char HEAD[] = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
                           "content=\"width=device-width,initial-scale=1\"><title>",
                  SUBTITLE[] = "</h1><p class=\"sub\">LoRA training of ", TAIL[] = "</main></body></html>\n";

static const char STYLE[] =
    ":root{--bg:#fbfaf8;--card:#fff;--ink:#1d2126;--soft:#6a717b;--line:#e4e1db;--main:#2f6fde;--second:#d9480f;--good:"
    "#2b8a3e;--code:#f3f1ec}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#14171b;--card:#1c2026;--ink:#e7e9ec;--soft:#949ca7;--line:#2d333b;--"
    "main:#6ea8fe;--second:#ff922b;--good:#69db7c;--code:#242931}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 "
    "system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif}main{max-width:1200px;margin:0 auto;padding:32px 20px "
    "64px}\n"
    "h1{font-size:26px;margin:0}h2{font-size:18px;margin:36px 0 12px}p.sub{color:var(--soft);margin:4px 0 24px}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,230px),1fr));gap:12px}\n"
    ".card,figure,.sample,table{background:var(--card);border:1px solid var(--line);border-radius:10px}\n"
    ".card{padding:12px 16px}.card span{display:block;color:var(--soft);font-size:13px}.card "
    "b{font-size:21px;font-weight:600;font-variant-numeric:tabular-nums}\n"
    ".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:14px}\n"
    "figure{margin:0;padding:12px 14px 6px}figcaption{display:flex;flex-wrap:wrap;gap:4px "
    "16px;font-size:14px}figcaption strong{flex:1}.key{color:var(--soft)}.key "
    "b{color:var(--ink);font-weight:600}.key::before{content:\"\";display:inline-block;width:14px;height:3px;border-"
    "radius:2px;vertical-align:middle;margin-right:6px;background:var(--main)}.key.second::before{background:var(--"
    "second)}.key.faint::before{opacity:.35}\n"
    "svg{width:100%;height:auto;display:block}.grid{stroke:var(--line)}.tick{fill:var(--soft);font-size:11px}.line{"
    "fill:none;stroke:var(--main);stroke-width:1.8;stroke-linejoin:round}.line.faint{opacity:.35;stroke-width:1.2}."
    "line.second{stroke:var(--second)}.dot{fill:var(--main)}.dot.second{fill:var(--second)}.dot.faint,.many "
    ".dot.main{display:none}\n"
    "table{border-collapse:separate;border-spacing:0;width:100%;overflow:hidden}td,th{text-align:left;padding:6px "
    "14px;border-bottom:1px solid var(--line);vertical-align:top}tr:last-child "
    "td{border-bottom:0}td:first-child{color:var(--soft);width:40%}\n"
    ".two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:14px;align-items:start}\n"
    ".sample{padding:14px 16px;margin-bottom:12px}.sample h3{font-size:13px;margin:10px 0 "
    "2px;color:var(--soft);font-weight:500}.sample h3:first-child{margin-top:0}.sample pre{margin:0;padding:8px "
    "10px;border-radius:6px;background:var(--code);white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.45 "
    "ui-monospace,Menlo,Consolas,monospace}.after{border-left:3px solid var(--good)}details "
    "summary{cursor:pointer;color:var(--soft)}\n"
    "code{font:13px ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}\n";

static void escape(StrBuf *out, const char *text) {
    static const char *const entities[128] = {['<'] = "&lt;", ['>'] = "&gt;", ['&'] = "&amp;", ['"'] = "&quot;"};
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p < 128 && entities[*p])
            str_puts(out, entities[*p]);
        else
            str_add(out, (const char *)p, 1);
    }
}

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

static void add_cards(StrBuf *out, const Trainer *t) {
    const TrainerInputs *in = trainer_inputs(t);
    const TrainerState *s = trainer_state(t);
    char duration[32];
    str_puts(out, "<div class=\"cards\">\n");
    card(out, "last training loss", "%.4f", s->last_loss);
    if (s->evaluated_step >= 0) {
        card(out, "evaluation loss", "%.4f", s->last_eval_loss);
        if (!in->adapter->config.labels) card(out, "perplexity", "%.4g", exp(s->last_eval_loss));
    }
    card(out, "steps", "%ld", s->step);
    card(out, "tokens seen", "%ld", s->tokens);
    card(out, "time", "%s", duration_text(duration, s->elapsed));
    card(out, "tokens per second", "%.0f", (double)s->tokens / fmax(s->elapsed, 1e-9));
    size_t device = memory_device(in->model->backend);
    card(out, "peak memory", "%.0f MB", (double)(device ? device : memory_peak()) / 1e6);
    if (s->skipped) card(out, "skipped steps", "%ld", s->skipped);
    str_puts(out, "</div>\n");
}

// ---- curves ----

typedef struct Curves { // columns of the log: of the training lines, then of the evaluation lines
    size_t n, n_eval;
    double *step, *loss, *smooth, *rate, *norm, *speed, *memory, *eval_step, *eval_loss, *accuracy, *f1;
} Curves;

static void smooth_loss(Curves *c) {
    double sum = 0, weight = 0; // sum / weight: bias-corrected exponential moving average, as in Adam
    for (size_t i = 0; i < c->n; i++) {
        if (isfinite(c->loss[i])) {
            sum = SMOOTHING * sum + (1 - SMOOTHING) * c->loss[i];
            weight = SMOOTHING * weight + (1 - SMOOTHING);
        }
        c->smooth[i] = weight > 0 ? sum / weight : NAN;
    }
}

// *data owns the columns.
static Curves curves_read(double **data, const char *output_dir) {
    AUTO_FREE char *path = path_join(output_dir, "train_log.jsonl");
    size_t count, n_columns = 0;
    AUTO_FREE LogPoint *points = train_log_read(path, &count);
    Curves c = {0};
    const struct {
        double **to;
        size_t field; // of LogPoint
        double scale;
        bool is_eval;
    } columns[] = {{&c.step, offsetof(LogPoint, step), 1, false},
                   {&c.loss, offsetof(LogPoint, loss), 1, false},
                   {&c.smooth, offsetof(LogPoint, loss), 1, false},
                   {&c.rate, offsetof(LogPoint, learning_rate), 1, false},
                   {&c.norm, offsetof(LogPoint, grad_norm), 1, false},
                   {&c.speed, offsetof(LogPoint, tokens_per_second), 1, false},
                   {&c.memory, offsetof(LogPoint, memory), 1e-6, false},
                   {&c.eval_step, offsetof(LogPoint, step), 1, true},
                   {&c.eval_loss, offsetof(LogPoint, loss), 1, true},
                   {&c.accuracy, offsetof(LogPoint, accuracy), 100, true},
                   {&c.f1, offsetof(LogPoint, macro_f1), 100, true}};
    n_columns = sizeof columns / sizeof *columns;
    *data = mem_calloc(n_columns * (count + 1), sizeof(double));
    for (size_t k = 0; k < n_columns; k++) {
        size_t n = 0;
        *columns[k].to = *data + k * (count + 1);
        for (size_t i = 0; i < count; i++)
            if (points[i].is_eval == columns[k].is_eval)
                (*columns[k].to)[n++] =
                    columns[k].scale * *(const double *)((const char *)&points[i] + columns[k].field);
        *(columns[k].is_eval ? &c.n_eval : &c.n) = n;
    }
    smooth_loss(&c);
    return c;
}

// The last value of a single point is among the cards.
static void one_curve(StrBuf *out, Chart chart, const double *x, const double *y, size_t n) {
    ChartSeries s = {.name = "last", .style = "main", .x = x, .y = y, .count = n};
    chart.series = &s;
    chart.n_series = 1;
    if (n >= 2) chart_add(out, &chart);
}

static void add_curves(StrBuf *out, const char *output_dir, bool classifier) {
    AUTO_FREE double *data = NULL;
    Curves c = curves_read(&data, output_dir);
    ChartSeries loss[] = {{"step", "faint", c.step, c.loss, c.n},
                          {"smoothed", "main", c.step, c.smooth, c.n},
                          {"evaluation", "second", c.eval_step, c.eval_loss, c.n_eval}};
    str_puts(out, "<h2>Curves</h2><div class=\"charts\">\n");
    chart_add(out, &(Chart){.title = "Loss", .unit = "", .series = loss, .n_series = 3, .dots = true});
    Chart eval = {
        .title = classifier ? "Accuracy in evaluation" : "Token accuracy in evaluation", .unit = "%", .dots = true};
    one_curve(out, eval, c.eval_step, c.accuracy, c.n_eval);
    eval.title = "Macro-F1 in evaluation";
    if (classifier) one_curve(out, eval, c.eval_step, c.f1, c.n_eval);
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
    escape(&value, small);
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
    row(out, "training samples", "%ld in %ld rows", in->data->train_samples, in->data->rows->count);
    if (in->data->eval_rows) row(out, "evaluation samples", "%ld", in->data->eval_samples);
    row(out, "tokens", "%ld, of which supervised %ld (%.0f%%)", s->tokens, s->supervised,
        100 * (double)s->supervised / fmax((double)s->tokens, 1));
    row(out, "longest record", "%ld tokens", s->longest);
    if (s->left_out_bytes) row(out, "left out", "%ld bytes without a token", s->left_out_bytes);
    AUTO_STR StrBuf unread = {0}, special = {0};
    key_counts_show(&unread, &in->data->train->unread);
    if (unread.len) row(out, "keys not used", "%s", unread.data);
    data_notes_show_special(&special, s);
    if (special.len) row(out, "control tokens", "%s", special.data);
    row(out, "without supervised tokens", "%ld skipped", s->skipped_unsupervised);
    row(out, "too long", "%ld dropped (%ld tokens), %ld truncated (%ld tokens)", s->dropped_long, s->dropped_tokens,
        s->truncated, s->truncated_tokens);
    str_puts(out, "</table></div>\n");
}

static void add_model_table(StrBuf *out, const Trainer *t) {
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
        row(out, "ranks", "%d on %d machine%s (%s)", g->ranks, g->nodes, g->nodes == 1 ? "" : "s", g->calls->name);
    row(out, "gradient checkpointing", "%s", recompute_name(trainer_recompute(t)));
    if (s->best_step >= 0) row(out, "best evaluation", "%.4f at step %ld", s->best_loss, s->best_step);
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
            escape(out, parts[p][2]);
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
        escape(out, value);
        str_puts(out, "</code></td></tr>\n");
        cJSON_free(value);
    }
    str_puts(out, "</table></details>\n");
    cJSON_Delete(root);
}

bool report_wanted(const Config *c) {
    for (size_t i = 0; i < c->report_to.count; i++)
        if (strcmp(c->report_to.items[i], "html") == 0) return true;
    return false;
}

int report_own(const char *path, Err *err) {
    enum { MAX_REPORT = 256 << 20 };
    AUTO_FREE char *text = NULL;
    size_t size;
    bool own = file_read(&text, &size, path, MAX_REPORT, NULL) == 0 && starts_with(text, HEAD) &&
               strstr(text, SUBTITLE) && strstr(text, " with lorac") && size > sizeof TAIL &&
               strcmp(text + size - (sizeof TAIL - 1), TAIL) == 0;
    return own ? 0 : overwrite_refuse(path, "a report.html that lorac wrote", err);
}

int report_write(const Trainer *t, const char *output_dir, const char *name, Err *err) {
    const TrainerInputs *in = trainer_inputs(t);
    AUTO_STR StrBuf page = {0};
    AUTO_CALL(answers_clear) Answers samples = {0};
    int rc = answers_make(&samples, t, err);
    str_puts(&page, HEAD);
    escape(&page, name);
    str_printf(&page, "</title><style>\n%s</style></head><body><main>\n<h1>", STYLE);
    escape(&page, name);
    str_puts(&page, SUBTITLE);
    escape(&page, in->model->name);
    str_printf(&page, " with lorac%s</p>\n", trainer_state(t)->stopped_early ? "; stopped early" : "");
    add_cards(&page, t);
    add_curves(&page, output_dir, in->adapter->config.labels > 0);
    add_samples(&page, &samples);
    str_puts(&page, "<div class=\"two\">\n");
    add_data_table(&page, t);
    add_model_table(&page, t);
    str_puts(&page, "</div>\n");
    add_config(&page, in->config);
    str_puts(&page, TAIL);
    AUTO_FREE char *path = path_join(output_dir, "report.html");
    if (!rc) rc = file_write_whole(path, page.data, page.len, report_own, err);
    return rc;
}
