// text_lines: lines of a file or of standard input, read one by one: valid UTF-8 without NUL characters, of bounded
// length, without their ends (CRLF too).
#pragma once

#include <stdio.h>

#include "base.h"

// The next line: 1, 0 at the end, -1. name, number (from 1): of messages. A byte order mark stays.
int text_line_next(StrBuf *line, FILE *in, const char *name, size_t number, Err *err);
