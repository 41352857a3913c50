// output_dir: the directory of a run. Held by one process at a time, proven writable before anything is computed.
#pragma once

#include "config.h"

typedef struct OutputDir {
    const char *path; // borrowed from the config
    int lock;         // file descriptor, -1: none
} OutputDir;

// Makes it, locks it (held by another process: EXIT_RUNTIME), sweeps what kills have left, writes and syncs a probe,
// and refuses the config of another run and what lorac did not write (EXIT_INPUT). Close in any case.
int output_dir_open(OutputDir *d, const Config *c, Err *err);
void output_dir_close(OutputDir *d);
// Looked at before a write in the middle of a run: where it was removed or moved away it is made again, with one
// warning. -1: it is another run's now. Where it cannot be made, the write that comes says why.
int output_dir_keep(OutputDir *d, const Config *c, Err *err);
int output_dir_save_config(const OutputDir *d, const Config *c, Err *err);
