// fileio: read-only maps of whole files, and files that appear whole or not at all.
//
// Everything lorac writes goes to a temporary name in the same directory, is checked for short writes, fsync'd and
// renamed; then the directory is fsync'd. A reader sees the old file or the new one, never half of one. Symbolic links
// are followed: the file they point to is replaced, not the link.
//
// fileio.c maps and reads, filewrite.c writes.
#pragma once

#include "overwrite.h"

typedef struct FileMap {
    const uint8_t *data; // never NULL while mapped, so that [data, data + size) is a range of an empty file too
    size_t size;
    char *path;
    int64_t mtime_ns;
} FileMap;

// Maps a regular file read-only. A file that is truncated by someone else while it is mapped ends the process with one
// line naming it and status 1 (a SIGBUS handler installed at the first map), never with a core dump.
int file_map(FileMap *map, const char *path, Err *err);
void file_unmap(FileMap *map);
// Lets the kernel drop the pages of [offset, offset + size) from resident memory (they are read again on demand).
void file_map_drop(const FileMap *map, size_t offset, size_t size);
void file_pages_drop(const void *data, size_t size); // the same for bytes of some map

// Reads a whole regular file (also those of /proc and /sys); *data is NUL-terminated behind *size bytes and belongs to
// the caller (mem_free). Larger than max_size: refused.
int file_read(char **data, size_t *size, const char *path, size_t max_size, Err *err);

// One file being written under a temporary name (temporary.h). What stands at `path` is replaced only where `own`
// recognises it (overwrite.h); own NULL: nothing may be there. After an error every later call fails with the first
// error; file_commit or file_abandon ends it and frees it in any case.
typedef struct FileWriter FileWriter;
int file_create(FileWriter **w, const char *path, OwnCheck *own, Err *err);
int file_create_private(FileWriter **w, const char *path, OwnCheck *own, Err *err); // for the user's own eyes: 0600
int file_write(FileWriter *w, const void *data, size_t size, Err *err);
int file_commit(FileWriter *w, Err *err); // flush, fsync, rename to path, fsync directory
void file_abandon(FileWriter *w);         // removes the temporary file; NULL is allowed
int file_write_whole(const char *path, const void *data, size_t size, OwnCheck *own, Err *err);
// Writes and syncs a temporary file in dir and removes it again.
int dir_probe(const char *dir, Err *err);

// A directory written under a temporary name next to `path`: dir_create makes it, files are written into dir_path,
// dir_commit fsyncs it and renames it to path. An existing directory, if `own` recognises it (NULL: nothing may be
// there), changes places with it in one step and is removed afterwards (where the file system cannot exchange names, it
// is moved aside first). dir_commit or dir_abandon ends and frees in any case.
typedef struct DirWriter DirWriter;
int dir_create(DirWriter **w, const char *path, const OwnFolder *own, Err *err);
const char *dir_path(const DirWriter *w); // lives as long as w
int dir_commit(DirWriter *w, Err *err);
void dir_abandon(DirWriter *w); // NULL is allowed
