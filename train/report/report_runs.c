// report_runs: one page that compares several runs: their curves together, and a table.
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "path.h"
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
    str_puts(out, ".line.dashed{stroke-dasharray:5 3}.runs td:first-child{width:auto}.runs td,.runs "
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
    for (size_t i = 0; i < n; i++)
        curves[i] = curves_read(&data[i], trainer_inputs(runs[i].trainer)->config->output_dir);
    str_puts(out, "<h2>Curves</h2><div class=\"charts\">\n");
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) add_chart(out, curves, runs, n, &columns[i]);
    str_puts(out, "</div>\n");
    for (size_t i = 0; i < n; i++) mem_free(data[i]);
}

static void cell(StrBuf *out, bool given, const char *fmt, double value) {
    char text[64] = "";
    if (given) snprintf(text, sizeof text, fmt, value);
    str_printf(out, "<td>%s</td>", text);
}

static void add_row(StrBuf *out, const ReportRun *r, bool best) {
    const Config *c = trainer_inputs(r->trainer)->config;
    const TrainerState *s = trainer_state(r->trainer);
    AUTO_STR StrBuf rank = {0};
    char duration[32];
    adapter_print_range(&rank, trainer_inputs(r->trainer)->adapter, ADAPTER_RANK);
    str_puts(out, "<tr><td>");
    report_escape(out, r->name);
    str_printf(out, "%s</td><td>%g</td><td>%s</td><td>%ld</td>", best ? " (best)" : "", c->learning_rate, rank.data,
               trainer_plan(r->trainer)->rows_per_step);
    str_printf(out, "<td>%ld of %ld</td>", s->step, trainer_plan(r->trainer)->total_steps);
    cell(out, s->step > 0, "%.4f", s->last_loss);
    cell(out, s->evaluated_step >= 0, "%.4f", s->last_eval_loss);
    cell(out, s->best_step >= 0, "%.4f", s->best_loss);
    cell(out, s->best_step >= 0, "%.0f", (double)s->best_step);
    str_printf(out, "<td>%ld</td><td>%s</td><td>", s->tokens, duration_text(duration, s->elapsed));
    report_escape(out, r->state ? r->state : s->stopped_early ? "stopped early" : "done");
    str_puts(out, "</td><td><code>");
    report_escape(out, c->output_dir);
    str_puts(out, "</code></td></tr>\n");
}

// The run with the lowest evaluation loss; NULL: nothing was evaluated.
static const ReportRun *best_of(const ReportRun *runs, size_t n) {
    const ReportRun *best = NULL;
    for (const ReportRun *r = runs; r < runs + n; r++) {
        const TrainerState *s = trainer_state(r->trainer);
        if (s->best_step >= 0 && (!best || s->best_loss < trainer_state(best->trainer)->best_loss)) best = r;
    }
    return best;
}

int report_write_runs(const ReportRun *runs, size_t n, const char *output_dir, const char *name, Err *err) {
    static const char *const titles[] = {"run",
                                         "learning rate",
                                         "r",
                                         "rows per step",
                                         "steps",
                                         "last loss",
                                         "last eval loss",
                                         "best eval loss",
                                         "at step",
                                         "tokens",
                                         "time",
                                         "result",
                                         "output_dir"};
    AUTO_STR StrBuf page = {0};
    const ReportRun *best = best_of(runs, n);
    report_begin(&page, name, trainer_inputs(runs->trainer)->model, ": several runs");
    add_styles(&page);
    add_charts(&page, runs, n);
    str_puts(&page, "<h2>Runs</h2><table class=\"runs\"><tr>");
    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++) str_printf(&page, "<th>%s</th>", titles[i]);
    str_puts(&page, "</tr>\n");
    for (const ReportRun *r = runs; r < runs + n; r++) add_row(&page, r, r == best);
    str_puts(&page, "</table>\n");
    return report_end(&page, output_dir, err);
}
