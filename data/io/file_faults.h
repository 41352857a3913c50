// file_faults: says what a file is by its first bytes, where it is not UTF-8 text: UTF-16, gzip under the wrong name,
// ...
#pragma once

#include "base.h"

// The first bytes of a file. -1 and a message, or 0: nothing known is wrong with them. is_text: zeros among them are
// those of UTF-16 or UTF-32.
int fault_in_file(const char *path, const char *text, size_t len, bool is_text, Err *err);
