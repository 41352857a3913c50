// line_reader: the lines of a conversation, from a terminal with line editing and history (libedit) or from a pipe, and
// Ctrl-C between them.
#pragma once

#include <signal.h>

#include "base.h"

typedef struct LineReader {
    bool terminal;
    char *line;
    size_t size;
} LineReader;

// From now on SIGINT waits until line_reader_interrupted takes it; while a line is read it ends the program. Call it
// before any other thread starts: threads inherit the mask.
void line_reader_open(LineReader *r);
// The next line without its end, in r->line; -1: the end of the input.
ssize_t line_reader_next(LineReader *r);
void line_reader_close(LineReader *r);
bool line_reader_interrupted(void); // since the last call
