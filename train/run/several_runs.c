// several_runs: the steps of several runs over one base model by turns (run.h). In each turn every run that is not at
// its end computes one pass of its step; the passes of a turn run together (trainers_run_pass).
#include <stdio.h>

#include "fileio.h"
#include "path.h"
#include "report.h"
#include "run.h"
#include "say.h"
#include "signals.h"

// Its last snapshot stays; its memory is free for the others.
static void fail(Run *r, const Err *err) {
    r->phase = RUN_FAILED;
    r->err = *err;
    if (r->did_steps) run_report(r, err->msg);
    trainer_end(r->trainer);
    log_warn("the run has failed: %s", err->msg);
}

// What is due between two steps; then the run is in its next step, or over. True: stopped by a signal.
static bool begin_step(Run *r) {
    Err err = {0};
    run_begin_lines(r);
    int rc = run_due(r, &err);
    if (rc > 0) return true;
    if (!rc && trainer_is_done(r->trainer)) {
        rc = run_finish(r, &err);
        r->phase = RUN_OVER;
    } else if (!rc) {
        trainer_step_begin(r->trainer);
        r->phase = RUN_IN_STEP;
    }
    if (rc) fail(r, &err);
    return false;
}

static void end_step(Run *r) {
    StepReport report;
    Err err = {0};
    run_begin_lines(r);
    r->phase = RUN_BETWEEN_STEPS;
    int rc = trainer_step_end(r->trainer, false, &report, &err);
    if (run_note_step(r, &report, rc, &err)) fail(r, &err);
}

// The trainers of the runs that are in a step: *n of them. True: stopped by a signal.
static bool begin_turn(Run *runs, size_t count, Trainer **in_step, size_t *n) {
    *n = 0;
    for (size_t i = 0; i < count; i++) {
        if (runs[i].phase == RUN_BETWEEN_STEPS && begin_step(&runs[i])) return true;
        if (runs[i].phase == RUN_IN_STEP) in_step[(*n)++] = runs[i].trainer;
    }
    return *n && signals_stop_asked();
}

static const char *state_of(const Run *r) {
    if (r->phase == RUN_FAILED) return r->err.msg;
    return r->phase == RUN_OVER ? NULL : signals_stop_asked() ? "stopped by a signal" : "running";
}

// A failure to write the report is a warning: the adapters are good.
static bool write_report(const Config *config, const Run *runs, size_t n) {
    AUTO_FREE ReportRun *list = mem_calloc(n, sizeof *list);
    AUTO_FREE char *path = path_join(config->output_dir, "report.html");
    Err err;
    for (size_t i = 0; i < n; i++)
        list[i] = report_run_of(runs[i].trainer, runs[i].config->run_name, state_of(&runs[i]));
    if (dir_make_parents(config->output_dir, &err) == 0 &&
        report_write_runs(list, n, path, run_display_name(config), &err) == 0)
        return true;
    log_warn("%s", err.msg);
    return false;
}

static int64_t steps_saved(const Run *runs, size_t n) {
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += runs[i].saved_step;
    return sum;
}

// True: stopped by a signal.
static bool step_loop(const Config *config, Run *runs, size_t count) {
    AUTO_FREE Trainer **in_step = mem_alloc(count, sizeof *in_step);
    bool reports = report_wanted(config);
    int64_t saved = steps_saved(runs, count);
    for (size_t n;;) {
        if (begin_turn(runs, count, in_step, &n)) return true;
        if (!n) return false;
        if (reports && steps_saved(runs, count) != saved) reports = write_report(config, runs, count);
        saved = steps_saved(runs, count);
        trainers_run_pass(in_step, n);
        for (size_t i = 0; i < count; i++)
            if (runs[i].phase == RUN_IN_STEP && !trainer_step_has_pass(runs[i].trainer)) end_step(&runs[i]);
    }
}

// Steps that have begun are abandoned: nothing of them is in the state yet.
static void stop(Run *r) {
    Err err = {0};
    run_begin_lines(r);
    if (run_stop(r, &err) < 0) fail(r, &err);
}

static int result(const Run *runs, size_t count, bool stopped, Err *err) {
    const Run *first = NULL;
    size_t failed = 0;
    for (size_t i = 0; i < count; i++) {
        if (runs[i].phase != RUN_FAILED) continue;
        if (!failed++) first = &runs[i];
    }
    if (stopped) return EXIT_INTERRUPTED; // runs that have failed fail again when the command is repeated
    if (!failed) return 0;
    *err = first->err;
    return err_context(err, "%zu of %zu runs failed: run %s", failed, count, first->config->run_name);
}

int several_check_report(const Config *config, Err *err) {
    AUTO_INPUTS InputSet none = {0};
    AUTO_FREE char *path = path_join(config->output_dir, "report.html");
    return report_wanted(config) ? overwrite_file(path, report_own, &none, err) : 0;
}

int several_runs(const Config *config, Run *runs, size_t n, Err *err) {
    for (size_t i = 0; i < n; i++)
        progress_start(&runs[i].progress, trainer_state(runs[i].trainer)->step,
                       trainer_plan(runs[i].trainer)->total_steps, true);
    bool stopped = step_loop(config, runs, n), written = false;
    for (size_t i = 0; stopped && i < n; i++)
        if (runs[i].phase <= RUN_IN_STEP) stop(&runs[i]);
    run_end_lines(runs);
    if (report_wanted(config)) written = write_report(config, runs, n);
    if (written && !stopped) say("report: %s/report.html\n", config->output_dir);
    return result(runs, n, stopped, err);
}
