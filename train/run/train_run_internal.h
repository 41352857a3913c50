// train_run_internal: the parts of train_run: output_dir.c, run_consistency.c, run_print.c, finish.c.
#pragma once

#include "event_file.h"

// ---- output_dir: the directory of a run ----
//
// Locked by one process at a time, checked before anything is computed: it can be written, and no name that the run
// writes there holds an input or a file that lorac did not write (overwrite.h).

typedef struct OutputDir {
    const char *path; // borrowed from the config
    int lock;         // file descriptor, -1: none
} OutputDir;

// Creates it, locks it (locked by another process: ERR_RUNTIME), removes leftovers of killed runs, writes and syncs a
// probe; refuses the config of another run and what may not be overwritten (ERR_INPUT), inputs of any of the command's
// runs among it. Close in any case.
int output_dir_open(OutputDir *d, const Config *c, const ConfigList *runs, Err *err);
void output_dir_close(OutputDir *d);
// Refuses what may not be overwritten at the names that a run writes at its end. output_dir_open does it for a new run;
// one with snapshots does it once it is known whether it has steps to do.
int output_dir_check_end(const Config *c, const ConfigList *runs, Err *err);
// Before a write during the run: if the directory was removed or moved away, it is created again, with one warning. -1:
// another run has started in it. If it cannot be created, the following write reports the error.
int output_dir_keep(OutputDir *d, const Config *c, Err *err);
bool output_dir_is_in_place(const OutputDir *d); // and locked by this process
int output_dir_save_config(const OutputDir *d, const Config *c, Err *err);

// ---- run_consistency: all ranks compute the same run. Collective, as consistency_check ----

// The program (version and executable), and every key that affects results. Before anything is opened.
int run_consistency_config(Group *g, const Config *c, Err *err);
// What has been opened: base model, data, adapter, device. Their paths may differ between machines.
int run_consistency_run(Group *g, const Trainer *t, Err *err);

// ---- run_print: the lines before the first step ----

void run_print_device(Backend *b, const Err *note); // note: why not the device that was asked for, or empty
// Model, adapter, memory, data, steps and ranks; warns of what the data or the model has that training ignores.
void run_print_plan(const Trainer *t);

// ---- finish: the output after the last step: adapter/, adapter.gguf, Modelfile, report.html; verified ----

// did_steps: everything is written; else only what is missing or damaged. ERR_RUNTIME if the adapter fails its checks.
int finish_adapter(Trainer *t, const char *output_dir, bool did_steps, Err *err);
// And the lines after the last step. events: NULL: none.
void finish_report(const Trainer *t, const char *output_dir, bool did_steps, EventFile *events);
// The model card of the adapter as it is; the caller frees.
char *finish_card(const Trainer *t);
const char *run_display_name(const Config *c); // run_name, else the name of output_dir
