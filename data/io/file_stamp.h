// file_stamp: whether a file is still the one that was opened: device, inode, size, times of its last change. What is
// mapped changes with the file, so a base model that someone overwrites changes under the run that reads it.
#pragma once

#include "base.h"

typedef struct FileStamp {
    uint64_t device, inode;
    int64_t size, mtime_ns, ctime_ns;
} FileStamp;

// Of the file that the path leads to, links followed. False: there is none, or it cannot be examined.
bool file_stamp(FileStamp *s, const char *path);
// EXIT_RUNTIME with one line that says what is different.
int file_stamp_check(const FileStamp *s, const char *path, Err *err);
