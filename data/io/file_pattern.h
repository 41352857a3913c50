// file_pattern: one name in a config to the files it stands for.
//
// A name that exists is itself. Else {000000..000099} counts (as many digits as the first number has; webdataset's
// spelling), several of them multiply; and *, ? and [...] match existing names, sorted. A pattern that matches nothing
// is refused.
#pragma once

#include "base.h"

enum { PATTERN_MAX_FILES = 100000 };

// Appends to *names (each and the array are the caller's, mem_free).
int file_pattern_expand(char ***names, size_t *count, const char *pattern, Err *err);
