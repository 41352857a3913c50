// output_dir: the directory of a run: locked by one process at a time, checked to be writable before anything is
// computed.
#pragma once

#include "config.h"

typedef struct OutputDir {
    const char *path; // borrowed from the config
    int lock;         // file descriptor, -1: none
} OutputDir;

// Creates it, locks it (locked by another process: ERR_RUNTIME), removes leftovers of killed runs, writes and syncs a
// probe; refuses the config of another run and files that lorac did not write (ERR_INPUT). Close in any case.
int output_dir_open(OutputDir *d, const Config *c, Err *err);
void output_dir_close(OutputDir *d);
// Before a write during the run: if the directory was removed or moved away, it is created again, with one warning. -1:
// another run has started in it. If it cannot be created, the following write reports the error.
int output_dir_keep(OutputDir *d, const Config *c, Err *err);
int output_dir_save_config(const OutputDir *d, const Config *c, Err *err);
