// report: report.html, one self-contained page about a run: key figures, curves, data, sample answers, config. Or one
// about several runs (report_runs.c). Both are made of report_page.h.
#pragma once

#include "overwrite.h"
#include "trainer.h"

// ---- answers.c: the model's answers to a few prompts of the data, with and without the adapter ----

enum { ANSWERS_MAX = 3, ANSWER_TOKENS = 64 };
typedef struct Answer {
    char *prompt, *reference, *before, *after; // owned
} Answer;
typedef struct Answers { // init with {0}
    Answer items[ANSWERS_MAX];
    int count;
    bool held_out; // from evaluation data
} Answers;

// None for data without prompts (plain text, token ids), and where memory does not allow it. running: between steps,
// which they do not change; else after trainer_end.
int answers_make(Answers *s, const Trainer *t, bool running, Err *err);
// The base's and the adapter's answer to a user's question, between steps. The caller frees both, also after an error.
int answers_ask(char **before, char **after, const Trainer *t, const char *question, Err *err);
void answers_clear(Answers *s);

// ---- report.c ----

bool report_has(const Config *c, const char *kind); // report_to
bool report_wanted(const Config *c);                // "html"
OwnCheck report_own;                                // overwrite.h
// Reads output_dir/train_log.jsonl for the curves; writes output_dir/report.html. state: of a run that is not at its
// end ("running", an error, ...); NULL: it is. answers: NULL: none.
int report_write(const Trainer *t, const char *output_dir, const char *name, const char *state, const Answers *answers,
                 Err *err);
// Whether output_dir/report.html is that of the end of this run.
bool report_is_at_end(const Trainer *t, const char *output_dir);

// ---- report_runs.c: one page that compares runs ----

typedef struct ReportRun {
    const char *name, *base, *output_dir, *state; // state: "done", "running", an error, ...
    char rank[64];
    double learning_rate, last_loss, eval_loss, best_loss, elapsed; // NAN: none
    int64_t rows_per_step, step, total_steps, best_step, tokens;    // below 0: unknown, none
} ReportRun;
// state: as for report_write.
ReportRun report_run_of(const Trainer *t, const char *name, const char *state);
// The curves of all runs, from the logs in their output_dir, and a table.
int report_write_runs(const ReportRun *runs, size_t n, const char *path, const char *name, Err *err);

// ---- chart.c: one line chart as inline SVG. Colours come from the page's CSS variables, so it follows light and dark
// ----

typedef struct ChartSeries {
    const char *name;
    const char *style; // CSS class: "main", "faint", "second"
    const double *x, *y;
    size_t count; // points whose y is not finite interrupt the line
} ChartSeries;

typedef struct Chart {
    const char *title, *unit; // unit: printed after values, may be ""
    const ChartSeries *series;
    size_t n_series;
    bool dots;      // mark every point
    bool from_zero; // the y axis starts at 0
} Chart;

void chart_add(StrBuf *out, const Chart *c); // nothing if there is no finite point
