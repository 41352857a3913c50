// overwrite: which existing files and folders a command may replace. Three rules for everything that lorac writes:
//
//  - An existing file or folder is replaced only if it is recognised as written by lorac: each kind of file has an
//    OwnCheck, next to its writer. An empty folder may always be replaced.
//  - An input of the command is never replaced. Inputs are compared by device and inode, so links count.
//  - Only names that lorac writes are removed from a folder; a folder that holds anything else is left unchanged.
// file_create and dir_create enforce the first and the third rule; commands check before they start their work
// (overwrite_file, overwrite_folder).
#pragma once

#include <sys/types.h>

#include "base.h"

// 0: lorac wrote the regular file (or the folder) at path. Else -1 with a message of overwrite_refuse.
typedef int OwnCheck(const char *path, Err *err);
// expected: "an adapter.gguf of lorac's". Returns -1.
int overwrite_refuse(const char *path, const char *expected, Err *err);

typedef struct OwnFolder {
    OwnCheck *check;          // of a folder that is not empty and holds only these names:
    const char *const *names; // "README.md", folders as "adapter/", their files "adapter/README.md"; ends with NULL
} OwnFolder;

// Removes a folder that holds only `names` (and their temporaries). 1: it holds another name, which goes to *foreign
// (caller frees; may be NULL), and nothing is removed. -1: ERR_RUNTIME. Links are not followed.
int folder_remove_known(const char *path, const char *const *names, char **foreign, Err *err);

// The files that a command reads. Init with {0}.
typedef struct InputId {
    dev_t dev;
    ino_t ino;
} InputId;
typedef struct InputSet {
    InputId *items;
    size_t count, capacity;
} InputSet;
// A file, or a folder with its files; links and their targets. NULL or missing: adds nothing.
void input_set_add(InputSet *s, const char *path);
void input_set_clear(InputSet *s);
#define AUTO_INPUTS AUTO_CALL(input_set_clear)

// 0: path may be written. own NULL: it must be free. inputs may be NULL. Refused: ERR_INPUT.
int overwrite_file(const char *path, OwnCheck *own, const InputSet *inputs, Err *err);
int overwrite_folder(const char *path, const OwnFolder *own, const InputSet *inputs, Err *err);
// -1 with a message if path, or a file in the folder path, is an input.
int overwrite_no_input(const char *path, const InputSet *inputs, Err *err);
