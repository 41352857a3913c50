// live: a run seen while it runs (dashboard): one page that follows it, its numbers for Prometheus, a button that stops
// it, and questions to the base and to the adapter.
//
// The thread that trains tells what happens; the server's thread answers from what it was told, under one lock, and
// never touches the run's own data. Questions are computed by the thread that trains, between two steps. Nothing here
// changes a bit of the run, or ends it. Rank 0's alone. NULL is a Live that nobody asked for, everywhere.
//
//   GET /            the page (page.html)
//   GET /events      its server-sent events: "all", then what changes
//   GET /metrics     for Prometheus
//   POST /stop       as a signal: saves and ends
//   POST /ask        {"prompt", "run"}: {"before", "after", "step", "seconds"}
#pragma once

#include "report.h"

typedef struct Live Live;

#define LIVE_TOKEN "LORAC_DASHBOARD_TOKEN" // in the environment; without it each process makes one

// Serves from now on. ERR_INPUT: the port is taken, or the address not one of this machine.
int live_open(Live **out, const Config *c, const ConfigList *runs, Err *err);
void live_close(Live *l);

// Once the run can do its first step. name: of the run.
void live_begin(Live *l, size_t run, const char *name, const Trainer *t);
typedef struct LiveMemory {
    size_t host, device; // peaks in bytes; device 0: none
} LiveMemory;
void live_step(Live *l, size_t run, const StepReport *r, const TrainerState *s, LiveMemory m, double seconds_left);
void live_eval(Live *l, size_t run, int64_t step, const EvalResult *e);
void live_note(Live *l, size_t run, const char *fmt, ...) PRINTF_LIKE(3, 4); // a line of the log
void live_samples(Live *l, size_t run, const Trainer *t);                    // after a snapshot: computes them
void live_state(Live *l, size_t run, const char *state);                     // "running", "done", ...

bool live_has_question(Live *l, size_t run);
void live_answer(Live *l, size_t run, const Trainer *t); // all that wait
