// file_pattern: expands a file name of a config into the files that it names.
//
// A path that exists is taken as it is. Else {000000..000099} is a range of numbers, as wide as the first one
// (webdataset's syntax); several ranges give all combinations; *, ? and [...] match existing names, sorted. A pattern
// without a match is refused.
#pragma once

#include "base.h"

enum { PATTERN_MAX_FILES = 100000 };

// Appends to *names; the caller frees each name and the array (mem_free).
int file_pattern_expand(char ***names, size_t *count, const char *pattern, Err *err);
