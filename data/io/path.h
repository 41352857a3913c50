// path: names of files, and directories as plain directories.
#pragma once

#include "base.h"

// Recursive, links are not followed; a missing directory is no error. Only for what this process, or a dead one, made
// under a temporary name; else folder_remove_known.
int dir_remove(const char *path, Err *err);
int dir_make_parents(const char *path, Err *err); // mkdir -p: path and all above it
typedef struct NameList {                         // init with {0}
    char **items;
    size_t count, capacity;
} NameList;
// Names in a directory but "." and "..", in no order; a missing directory has none. One that cannot be read to its end
// is an error: what is not seen must not pass for what is not there. names is to be cleared after an error, too.
int dir_list(NameList *names, const char *path, Err *err);
void name_list_clear(NameList *names);
bool path_exists(const char *path);
bool path_is_dir(const char *path);
char *path_join(const char *a, const char *b); // caller frees
char *path_absolute(const char *path);         // caller frees; resolves links where the file exists
