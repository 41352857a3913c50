// file_faults: recognises files that are not UTF-8 text by their first bytes: UTF-16, gzip under the wrong name, ...
#pragma once

#include "base.h"

// The first bytes of a file. -1 with a message if they are those of another known format, else 0. is_text: zero bytes
// mean UTF-16 or UTF-32.
int fault_in_file(const char *path, const char *text, size_t len, bool is_text, Err *err);
