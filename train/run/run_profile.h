// run_profile: the profile of a run (config key profile): what rank 0 measures between its first step and its last.
#pragma once

#include "train_run_internal.h"

// Refuses a device that is not the CPU.
int run_profile_check(const Run *r, Err *err);
// Before the first step; no effect unless the config asks for a profile.
void run_profile_start(Run *r);
// After the last step: prints the table, writes the files. A failure to write is a warning: the run is good.
void run_profile_end(const Run *r);
