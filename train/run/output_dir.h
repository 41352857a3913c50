// output_dir: the directory of a run: locked by one process at a time, checked before anything is computed: it can be
// written, and no name that the run writes there holds an input or a file that lorac did not write (overwrite.h).
#pragma once

#include "config.h"

typedef struct OutputDir {
    const char *path; // borrowed from the config
    int lock;         // file descriptor, -1: none
} OutputDir;

// Creates it, locks it (locked by another process: ERR_RUNTIME), removes leftovers of killed runs, writes and syncs a
// probe; refuses the config of another run and what may not be overwritten (ERR_INPUT). Close in any case.
int output_dir_open(OutputDir *d, const Config *c, Err *err);
void output_dir_close(OutputDir *d);
// Refuses what may not be overwritten at the names that a run writes at its end. output_dir_open does it for a new run;
// one with snapshots does it once it is known whether it has steps to do.
int output_dir_check_end(const Config *c, Err *err);
// Before a write during the run: if the directory was removed or moved away, it is created again, with one warning. -1:
// another run has started in it. If it cannot be created, the following write reports the error.
int output_dir_keep(OutputDir *d, const Config *c, Err *err);
int output_dir_save_config(const OutputDir *d, const Config *c, Err *err);
