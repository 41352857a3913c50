// fileio: read-only maps of whole files and their stamps (fileio.c), files of other formats
// recognised by their first bytes (file_faults.c), and files that appear complete or not at all
// (filewrite.c).
//
// Everything that lorac writes goes to a temporary name in the same directory, is checked for short writes, fsync'd and
// renamed; then the directory is fsync'd. A reader sees the old file or the new one, never a part of one. Symbolic
// links are followed: the file that they point to is replaced, not the link.
#pragma once

#include "overwrite.h"

typedef struct FileMap {
    const uint8_t *data; // never NULL while mapped, so that [data, data + size) is a range of an empty file too
    size_t size;
    char *path;
    int64_t mtime_ns;
} FileMap;

// Maps a regular file read-only. If another process truncates the file while it is mapped, this process ends with one
// line that names it and status 1 (a SIGBUS handler, installed at the first map), never with a core dump.
int file_map(FileMap *map, const char *path, Err *err);
void file_unmap(FileMap *map);
#define AUTO_MAP AUTO_CALL(file_unmap) // FileMap, {0} before file_map
// Lets the kernel drop the pages of [offset, offset + size) from resident memory (they are read again on demand).
void file_map_drop(const FileMap *map, size_t offset, size_t size);
void file_pages_drop(const void *data, size_t size); // the same for bytes of some map

// Reads a whole regular file (also those of /proc and /sys); *data is NUL-terminated after *size bytes and belongs to
// the caller (mem_free). Larger than max_size: refused.
int file_read(char **data, size_t *size, const char *path, size_t max_size, Err *err);

// Detects that a file changed after it was opened, by device, inode, size, mtime and ctime. A map changes with its
// file: overwriting a base model would change the run that reads it.
typedef struct FileStamp {
    uint64_t device, inode;
    int64_t size, mtime_ns, ctime_ns;
} FileStamp;

// Follows links. False: the file is missing or cannot be examined.
bool file_stamp_read(FileStamp *s, const char *path);
// ERR_RUNTIME, naming the difference.
int file_stamp_check(const FileStamp *s, const char *path, Err *err);

// The first bytes of a file. -1 with a message if they are those of another known format (UTF-16, gzip under the wrong
// name, ...), else 0. is_text: zero bytes mean UTF-16 or UTF-32.
int fault_in_file(const char *path, const char *text, size_t len, bool is_text, Err *err);

// One file being written under a temporary name (temporary.h). An existing file at `path` is replaced only if `own`
// recognises it (overwrite.h); own NULL: the path must be free. After an error every later call returns the first
// error; file_commit or file_abandon ends and frees the writer in any case.
typedef struct FileWriter FileWriter;
int file_create(FileWriter **w, const char *path, OwnCheck *own, Err *err);
int file_create_private(FileWriter **w, const char *path, OwnCheck *own, Err *err); // mode 0600
int file_write(FileWriter *w, const void *data, size_t size, Err *err);
int file_commit(FileWriter *w, Err *err); // flush, fsync, rename to path, fsync directory
void file_abandon(FileWriter *w);         // removes the temporary file; NULL is allowed
int file_write_whole(const char *path, const void *data, size_t size, OwnCheck *own, Err *err);
// Writes and syncs a temporary file in dir and removes it again.
int dir_probe(const char *dir, Err *err);

// A directory written under a temporary name next to `path`: dir_create makes it, files are written into dir_path,
// dir_commit fsyncs it and renames it to path. An existing directory, if `own` recognises it (NULL: the path must be
// free), is exchanged with it in one step and removed afterwards (on file systems without an exchange of names it is
// moved aside first). dir_commit or dir_abandon ends and frees in any case.
typedef struct DirWriter DirWriter;
int dir_create(DirWriter **w, const char *path, const OwnFolder *own, Err *err);
const char *dir_path(const DirWriter *w); // valid as long as w
int dir_commit(DirWriter *w, Err *err);
void dir_abandon(DirWriter *w); // NULL is allowed
