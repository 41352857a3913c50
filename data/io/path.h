// path: names of files, patterns of names, and directories as plain directories.
#pragma once

#include "base.h"

// Recursive; does not follow links; a missing directory is not an error. Only for temporaries of this process or of a
// dead one; for other folders use folder_remove_known.
int dir_remove(const char *path, Err *err);
int dir_make_parents(const char *path, Err *err); // mkdir -p: path and all above it
typedef struct NameList {                         // init with {0}
    char **items;
    size_t count, capacity;
} NameList;
// Names in a directory without "." and "..", unordered; a missing directory has none. A directory that cannot be read
// completely is an error: an unread name must not count as missing. Clear names after an error too.
int dir_list(NameList *names, const char *path, Err *err);
void name_list_add(NameList *names, char *name);    // takes the name
void name_list_sort(NameList *names, size_t first); // those from `first` on, by bytes
void name_list_clear(NameList *names);
#define AUTO_NAMES AUTO_CALL(name_list_clear)
bool path_exists(const char *path);
bool dir_has(const char *dir, const char *name); // path_exists of dir/name
bool path_is_dir(const char *path);
char *path_join(const char *a, const char *b); // caller frees
// Without ".", ".." and "//", links resolved as far as the path exists; the caller frees.
char *path_absolute(const char *path);
char *path_absolute_name(const char *path); // the same, but a link to a file stays: a name in the hub's cache
char *path_parent(const char *path);        // caller frees; "." for a name alone
const char *path_name(const char *path);    // after the last slash

// Expands a file name of a config into the files that it names. A path that exists is taken as it is. Else
// {000000..000099} is a range of numbers, as wide as the first one (webdataset's syntax); several ranges give all
// combinations; *, ? and [...] match existing names, sorted, and FOLDER/**/ the folders in it, links left out. A
// pattern without a match is refused.
// Appends to names.
enum { PATTERN_MAX_FILES = 100000 };
int file_pattern_expand(NameList *names, const char *pattern, Err *err);
