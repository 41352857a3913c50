// file_stamp: detects that a file changed after it was opened, by device, inode, size, mtime and ctime. A map changes
// with its file: overwriting a base model would change the run that reads it.
#pragma once

#include "base.h"

typedef struct FileStamp {
    uint64_t device, inode;
    int64_t size, mtime_ns, ctime_ns;
} FileStamp;

// Follows links. False: the file is missing or cannot be examined.
bool file_stamp_read(FileStamp *s, const char *path);
// ERR_RUNTIME, naming the difference.
int file_stamp_check(const FileStamp *s, const char *path, Err *err);
