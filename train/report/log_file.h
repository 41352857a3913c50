// log_file: a file that grows during a run. If it cannot be written, there is one warning, and the run continues.
#pragma once

#include <stdio.h>

#include "base.h"

typedef struct LogFile {
    FILE *file;
    char *path;
    const char *head; // the first bytes of a new file, borrowed; NULL: none
    size_t head_size;
    bool failed; // warned of
} LogFile;

// Appends to what is there. A pipe needs a reader. log_file_close is the caller's, also after an error.
int log_file_open(LogFile *l, const char *path, const char *head, size_t head_size, Err *err);
// Flushed. If the file was removed or moved away, a new one of that name is started.
void log_file_add(LogFile *l, const char *data, size_t size);
void log_file_sync(LogFile *l); // fsync
void log_file_close(LogFile *l);
