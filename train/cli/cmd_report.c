// lorac report RUN... --out PAGE.html
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "config.h"
#include "path.h"
#include "report.h"
#include "say.h"
#include "snapshot.h"
#include "train_log.h"

enum { MAX_RUNS = 64 };

typedef struct Options {
    char *out, *name;
} Options;

static const Key options[] = {
    OPTION(PATH, out, .flags = OPTION_REQUIRED,
           .help = "The page. An existing file is replaced only if lorac wrote it as a report. Required."),
    OPTION(STRING, name, .standard = "\"runs\"", .help = "Its title."),
};

// What the log says; the snapshots may have been removed.
static void read_log(ReportRun *r) {
    AUTO_FREE char *path = path_join(r->output_dir, "train_log.jsonl");
    size_t n;
    AUTO_FREE LogPoint *points = train_log_read(path, &n);
    for (size_t i = 0; i < n; i++) {
        const LogPoint *p = &points[i];
        if (!p->is_eval) {
            r->step = (int64_t)p->step;
            r->last_loss = p->loss;
            continue;
        }
        r->eval_loss = p->loss;
        if (!isfinite(p->loss) || (r->best_step >= 0 && p->loss >= r->best_loss)) continue;
        r->best_loss = p->loss;
        r->best_step = (int64_t)p->step;
    }
}

static int64_t number_of(const RunIdentity *id, IdentityKey key) {
    return *id->values[key] ? strtol(id->values[key], NULL, 10) : -1;
}

static void read_snapshot(ReportRun *r) {
    SnapshotFacts f;
    r->state = "unknown";
    if (!snapshot_facts(&f, r->output_dir)) return;
    r->total_steps = number_of(&f.identity, IDENTITY_TOTAL_STEPS);
    r->rows_per_step = number_of(&f.identity, IDENTITY_ROWS_PER_STEP);
    r->tokens = f.state.tokens;
    r->elapsed = f.state.elapsed;
    r->state = f.state.stopped_early ? "stopped early" : f.state.step >= r->total_steps ? "done" : "not at its end";
}

static int read_run(ReportRun *r, Config *c, const char *folder, Err *err) {
    AUTO_FREE char *file = path_join(folder, "config.json");
    if (!dir_has(folder, "config.json") || !dir_has(folder, "train_log.jsonl"))
        return err_input(err, "%s: found no config.json with train_log.jsonl; expected the output_dir of a run",
                         folder);
    if (config_load(c, 1, &file, CONFIG_FOR_BENCH, err)) return -1;
    *r = (ReportRun){.name = c->run_name ? c->run_name : path_name(c->output_dir),
                     .base = c->model_name_or_path ? path_name(c->model_name_or_path) : "",
                     .output_dir = folder,
                     .learning_rate = c->learning_rate,
                     .last_loss = NAN,
                     .eval_loss = NAN,
                     .best_loss = NAN,
                     .elapsed = NAN,
                     .rows_per_step = -1,
                     .total_steps = -1,
                     .best_step = -1,
                     .tokens = -1};
    snprintf(r->rank, sizeof r->rank, "%ld", c->lora_r);
    read_log(r);
    read_snapshot(r);
    return 0;
}

static int run_report_verb(const void *given, int argc, char **argv, Err *err) {
    const Options *o = given;
    AUTO_FREE ReportRun *runs = mem_calloc((size_t)argc + 1, sizeof *runs);
    AUTO_FREE Config *configs = mem_calloc((size_t)argc + 1, sizeof *configs);
    int rc = argc ? 0 : err_input(err, "no run; expected the output_dir of one or more");
    for (int i = 0; i < argc && !rc; i++) rc = read_run(&runs[i], &configs[i], argv[i], err);
    if (!rc) rc = report_write_runs(runs, (size_t)argc, o->out, o->name, err);
    if (!rc) say("%d run%s in %s\n", argc, plural(argc), o->out);
    for (int i = 0; i < argc; i++) config_clear(&configs[i]);
    return rc;
}

const Verb verb_report = {
    .name = "report",
    .usage = "lorac report RUN... --out PAGE.html",
    .summary = "Write one page that compares runs: their curves together, and a table",
    .help = "RUN is the output_dir of a run, at its end or not.",
    .example = "lorac report out/a out/b out/c --out compare.html",
    OPTIONS(options),
    .operand = "RUN",
    .operands = MAX_RUNS,
    .run = run_report_verb,
};
