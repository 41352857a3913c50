// progress: output during a run: a plain line per logged step; on a terminal at most one in some seconds, above a live
// progress bar.
#pragma once

#include "trainer.h"

typedef struct Progress {
    bool terminal;
    int64_t first_step, total;
    double started, drawn, printed;
} Progress;

// "4 s", "3 min 20 s", "2 h 05 min"
const char *duration_text(char buf[32], double seconds);

// several: there are several ranks, whose launcher may present a file as a terminal: plain lines.
void progress_start(Progress *p, int64_t step, int64_t total, bool several);
double progress_left(const Progress *p, int64_t step); // seconds, estimated
// logged: logging_steps asks for a line of this step; the bar is updated in any case.
void progress_step(Progress *p, const StepReport *r, size_t peak, bool logged);
void progress_eval(Progress *p, int64_t step, const EvalResult *r, bool best);
void progress_note(Progress *p, const char *fmt, ...) PRINTF_LIKE(2, 3); // a separate line above the bar
void progress_end(Progress *p);
