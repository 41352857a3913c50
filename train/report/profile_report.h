// profile_report: what a profiled run leaves: a table on stdout, profile.json with the same numbers, and trace.json,
// the first calls one by one, for chrome://tracing and ui.perfetto.dev.
#pragma once

#include "overwrite.h"
#include "profile.h"

typedef struct ProfileRun {
    Backend *backend; // profiled (profile_start)
    int64_t tokens;   // of the steps since then
} ProfileRun;

OwnCheck profile_own, trace_own; // overwrite.h
void profile_print(const ProfileRun *r);
// Writes both files into output_dir.
int profile_write(const ProfileRun *r, const char *output_dir, Err *err);
