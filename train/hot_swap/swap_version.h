// swap_version: an adapter as engines are told of it: a new folder for each version, written once and never changed,
// because an engine reads it again whenever it likes, and caches prompts by its path.
//
//   output_dir/hot_swap/NAME-step000225-1a2b3c4d/       PEFT; 1a2b3c4d: hash of the values
//   output_dir/hot_swap/NAME-step000225-1a2b3c4d.gguf   for llama.cpp
#pragma once

#include "adapter.h"

// Name and folder that the versions of one adapter share.
typedef struct SwapLine {
    char *name, *folder; // folder: absolute
} SwapLine;
// name: characters other than letters, digits, ".", "_" and "-" become "-". The folder need not exist.
SwapLine swap_line_new(const char *name, const char *folder);
void swap_line_clear(SwapLine *l);

typedef struct SwapVersion {
    char *name;          // that engines get: "NAME-step000225"
    char *unique;        // for an engine that has this name from another folder: with the hash
    char *folder, *gguf; // absolute; gguf NULL: not written
} SwapVersion;
void swap_version_clear(SwapVersion *v);

typedef struct SwapExport {
    bool siblings, gguf; // adapter_fill_siblings; adapter.gguf too
    const char *card;    // text of README.md
} SwapExport;
// step -1: the name has none. Refuses an adapter that is zero or not finite. What was written is read back and
// compared.
int swap_version_write(SwapVersion *v, const SwapLine *line, const Adapter *a, const Model *m, int64_t step,
                       const SwapExport *o, Err *err);
// Of a version that no engine reads. A failure is not reported: what cannot be removed stays.
void swap_version_remove(const SwapVersion *v);
