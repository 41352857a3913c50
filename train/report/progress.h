// progress: what a person sees while a run goes on. A terminal has one live bar; elsewhere one plain line a logged
// step.
#pragma once

#include "trainer.h"

typedef struct Progress {
    bool terminal;
    int64_t first_step, total;
    double started, drawn;
} Progress;

// several: of ranks; their launcher makes a terminal of what may be a file.
void progress_start(Progress *p, int64_t step, int64_t total, bool several);
// logged: this step is one that logging_steps asks for (plain lines); the bar is drawn in any case.
void progress_step(Progress *p, const StepReport *r, size_t peak, bool logged);
void progress_eval(Progress *p, int64_t step, const EvalResult *r, bool best);
void progress_note(Progress *p, const char *fmt, ...) PRINTF_LIKE(2, 3); // a line of its own, the bar stays below
void progress_end(Progress *p);
