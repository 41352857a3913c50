// run_outputs: checks, before anything is computed, whether a run may write its files in output_dir (overwrite.h).
#pragma once

#include "config.h"
#include "overwrite.h"

// Every file that the run reads, except its own snapshots.
void run_inputs(InputSet *s, const Config *c);
// Refuses inputs, and files that lorac did not write, at the names that the run writes at its end.
int run_outputs_check(const Config *c, Err *err);
// The same for names that a finished run also writes: .lock, config.json, train_log.jsonl.
int run_logs_check(const Config *c, Err *err);
// Whether path is the config file of this command.
bool run_is_config_file(const Config *c, const char *path);
