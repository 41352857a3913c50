// run_outputs: what a run writes in output_dir, and whether it may (overwrite.h), asked before anything is computed.
#pragma once

#include "config.h"
#include "overwrite.h"

// Every file that the run reads, but those of its own snapshots.
void run_inputs(InputSet *s, const Config *c);
// Refuses what lorac did not write at the names that this run will write at its end, and inputs among them.
int run_outputs_check(const Config *c, Err *err);
// The same of the names that a finished run writes, too: .lock, config.json, train_log.jsonl.
int run_logs_check(const Config *c, Err *err);
// Whether path is the config file of this command.
bool run_is_config_file(const Config *c, const char *path);
