// report_runs: one page that compares several runs: their curves together, and a table.
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "progress.h"
#include "report_page.h"

// Colours of the runs, for light and dark pages; after the last one they repeat as dashed lines.
static const char *const COLOURS[] = {"#2f6fde", "#d9480f", "#2b8a3e", "#9c36b5",
                                      "#e0a100", "#0c8599", "#c2255c", "#6a717b"};
enum { N_COLOURS = sizeof COLOURS / sizeof *COLOURS };

static void add_styles(StrBuf *out) {
    str_puts(out, "<style>\n");
    for (int i = 0; i < N_COLOURS; i++)
        str_printf(out, ".line.run%d{stroke:%s}.dot.run%d{fill:%s}.key.run%d::before{background:%s}\n", i, COLOURS[i],
                   i, COLOURS[i], i, COLOURS[i]);
    str_puts(out,
             ".line.dashed{stroke-dasharray:5 3}.scroll{overflow-x:auto}.runs td:first-child{width:auto}.runs td,.runs "
             "th{font-variant-numeric:tabular-nums}</style>\n");
}

typedef struct Column { // a curve of each run
    const char *title;
    bool from_zero, dots, of_evaluations;
    size_t y; // of Curves: a double *
} Column;
#define CURVE(field) offsetof(Curves, field)

static void add_chart(StrBuf *out, const Curves *curves, const ReportRun *runs, size_t n, const Column *column) {
    AUTO_FREE ChartSeries *series = mem_calloc(n, sizeof *series);
    AUTO_FREE char(*styles)[32] = mem_calloc(n, sizeof *styles);
    AUTO_FREE StrBuf *names = mem_calloc(n, sizeof *names);
    size_t most = 0;
    for (size_t i = 0; i < n; i++) {
        const Curves *c = &curves[i];
        size_t count = column->of_evaluations ? c->n_eval : c->n;
        const double *y = *(double *const *)((const char *)c + column->y);
        snprintf(styles[i], sizeof styles[i], "run%d%s", (int)(i % N_COLOURS), i < N_COLOURS ? "" : " dashed");
        report_escape(&names[i], runs[i].name);
        series[i] = (ChartSeries){names[i].data, styles[i], column->of_evaluations ? c->eval_step : c->step, y, count};
        most = count > most ? count : most;
    }
    Chart chart = {.title = column->title,
                   .unit = "",
                   .series = series,
                   .n_series = n,
                   .dots = column->dots,
                   .from_zero = column->from_zero};
    if (most > 0) chart_add(out, &chart);
    for (size_t i = 0; i < n; i++) str_clear(&names[i]);
}

static void add_charts(StrBuf *out, const ReportRun *runs, size_t n) {
    static const Column columns[] = {{"Loss, smoothed", false, false, false, CURVE(smooth)},
                                     {"Evaluation loss", false, true, true, CURVE(eval_loss)},
                                     {"Learning rate", true, false, false, CURVE(rate)},
                                     {"Gradient norm, before clipping", true, false, false, CURVE(norm)}};
    AUTO_FREE Curves *curves = mem_calloc(n, sizeof *curves);
    AUTO_FREE double **data = mem_calloc(n, sizeof *data);
    for (size_t i = 0; i < n; i++) curves[i] = curves_read(&data[i], runs[i].output_dir);
    str_puts(out, "<h2>Curves</h2><div class=\"charts\">\n");
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) add_chart(out, curves, runs, n, &columns[i]);
    str_puts(out, "</div>\n");
    for (size_t i = 0; i < n; i++) mem_free(data[i]);
}

static void number(StrBuf *out, const char *fmt, double value) {
    char text[64] = "";
    if (isfinite(value)) snprintf(text, sizeof text, fmt, value);
    str_printf(out, "<td>%s</td>", text);
}

static void count(StrBuf *out, int64_t n) {
    if (n < 0)
        str_puts(out, "<td></td>");
    else
        str_printf(out, "<td>%ld</td>", n);
}

static void text(StrBuf *out, const char *t, const char *more) {
    str_puts(out, "<td>");
    report_escape(out, t);
    str_printf(out, "%s</td>", more);
}

static void add_row(StrBuf *out, const ReportRun *r, bool best) {
    char duration[32] = "";
    if (isfinite(r->elapsed)) duration_text(duration, r->elapsed);
    str_puts(out, "<tr>");
    text(out, r->name, best ? " (best)" : "");
    number(out, "%g", r->learning_rate);
    text(out, r->rank, "");
    count(out, r->rows_per_step);
    if (r->total_steps < 0)
        count(out, r->step);
    else
        str_printf(out, "<td>%ld of %ld</td>", r->step, r->total_steps);
    number(out, "%.4f", r->last_loss);
    number(out, "%.4f", r->eval_loss);
    number(out, "%.4f", r->best_loss);
    count(out, r->best_step);
    count(out, r->tokens);
    text(out, duration, "");
    text(out, r->state, "");
    text(out, r->base, "");
    str_puts(out, "<td><code>");
    report_escape(out, r->output_dir);
    str_puts(out, "</code></td></tr>\n");
}

// The run with the lowest evaluation loss; NULL: nothing was evaluated.
static const ReportRun *best_of(const ReportRun *runs, size_t n) {
    const ReportRun *best = NULL;
    for (const ReportRun *r = runs; r < runs + n; r++)
        if (r->best_step >= 0 && (!best || r->best_loss < best->best_loss)) best = r;
    return best;
}

static const char *base_of(const ReportRun *runs, size_t n) {
    for (size_t i = 1; i < n; i++)
        if (strcmp(runs[i].base, runs->base) != 0) return "several base models";
    return runs->base;
}

ReportRun report_run_of(const Trainer *t, const char *name, const char *state) {
    const TrainerInputs *in = trainer_inputs(t);
    const TrainerState *s = trainer_state(t);
    AUTO_STR StrBuf rank = {0};
    ReportRun r = {.name = name,
                   .base = in->model->name,
                   .output_dir = in->config->output_dir,
                   .state = state              ? state
                            : s->stopped_early ? "stopped early"
                                               : "done",
                   .learning_rate = in->config->learning_rate,
                   .last_loss = s->step > 0 ? s->last_loss : NAN,
                   .eval_loss = s->evaluated_step >= 0 ? s->last_eval_loss : NAN,
                   .best_loss = s->best_step >= 0 ? s->best_loss : NAN,
                   .elapsed = s->elapsed,
                   .rows_per_step = trainer_plan(t)->rows_per_step,
                   .step = s->step,
                   .total_steps = trainer_plan(t)->total_steps,
                   .best_step = s->best_step,
                   .tokens = s->tokens};
    adapter_print_range(&rank, in->adapter, ADAPTER_RANK);
    snprintf(r.rank, sizeof r.rank, "%s", rank.data);
    return r;
}

int report_write_runs(const ReportRun *runs, size_t n, const char *path, const char *name, Err *err) {
    static const char *const titles[] = {
        "run",       "base model",     "learning rate",  "r",       "rows per step", "steps",
        "last loss", "last eval loss", "best eval loss", "at step", "tokens",        "time",
        "result",    "base model",     "output_dir"};
    AUTO_STR StrBuf page = {0};
    const ReportRun *best = best_of(runs, n);
    report_begin(&page, name, base_of(runs, n), ": several runs");
    add_styles(&page);
    add_charts(&page, runs, n);
    str_puts(&page, "<h2>Runs</h2><div class=\"scroll\"><table class=\"runs\"><tr>");
    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++) str_printf(&page, "<th>%s</th>", titles[i]);
    str_puts(&page, "</tr>\n");
    for (const ReportRun *r = runs; r < runs + n; r++) add_row(&page, r, r == best);
    str_puts(&page, "</table></div>\n");
    return report_end(&page, path, err);
}
