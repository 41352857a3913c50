// report_page: what the pages of report.c and report_runs.c are made of. Private to report*.c.
#pragma once

#include "report.h"

enum { REPORT_MAX_BYTES = 256 << 20 };
void report_escape(StrBuf *out, const char *text); // for HTML
// The head of the page, up to its first section. note: after the subtitle, HTML.
void report_begin(StrBuf *page, const char *title, const char *base, const char *note);
int report_end(StrBuf *page, const char *path, Err *err); // writes it

typedef struct Curves { // columns of the log: of the training lines, then of the evaluation lines
    size_t n, n_eval;
    double *step, *loss, *smooth, *rate, *norm, *speed, *memory, *margin, *hard, *soft;
    double *eval_step, *eval_loss, *accuracy, *f1, *eval_margin, *eval_hard, *eval_soft;
} Curves;

// Of output_dir/train_log.jsonl. *data, which the caller frees, owns the columns.
Curves curves_read(double **data, const char *output_dir);
