// overwrite: what a command may write over. Three rules, which hold for every file and folder that lorac writes:
//
//  - What stands there is replaced only if it is recognised as written by lorac: each kind of file has an OwnCheck,
//    next to its writer. An empty folder counts as nothing.
//  - An input of the command is never replaced, whatever it is: inputs are known by device and inode, so links count.
//  - Of a folder that is replaced or pruned, only the names that lorac writes are removed; one with anything else in it
//    stays as it is.
// file_create and dir_create enforce the first and the third; verbs ask beforehand (overwrite_file, overwrite_folder),
// so that a refusal comes before the work.
#pragma once

#include <sys/types.h>

#include "base.h"

// 0: lorac wrote the regular file (or the folder) at path. Else -1 with a message of overwrite_refuse.
typedef int OwnCheck(const char *path, Err *err);
// expected: "an adapter.gguf of lorac's". Returns -1.
int overwrite_refuse(const char *path, const char *expected, Err *err);

typedef struct OwnFolder {
    OwnCheck *check;          // of one that is not empty and holds only these names:
    const char *const *names; // "README.md", folders as "adapter/", their files "adapter/README.md"; ends with NULL
} OwnFolder;

// Removes a folder that holds only `names` (and temporaries of them). 1: it holds something else, whose name goes to
// *stranger (caller frees; NULL: not asked for), and nothing was removed. -1: a call failed. Links are not followed.
int folder_remove_known(const char *path, const char *const *names, char **stranger);
// 1: it holds something else.
int folder_find_stranger(const char *path, const char *const *names, char **stranger);

// The files that a command reads. Init with {0}.
typedef struct InputId {
    dev_t dev;
    ino_t ino;
} InputId;
typedef struct InputSet {
    InputId *items;
    size_t count, capacity;
} InputSet;
// A file, or a folder with the files in it; links and what they lead to. NULL or missing: nothing.
void input_set_add(InputSet *s, const char *path);
void input_set_clear(InputSet *s);

// Whether path may be written; own NULL: nothing may be there. inputs may be NULL. EXIT_INPUT where it is refused.
int overwrite_file(const char *path, OwnCheck *own, const InputSet *inputs, Err *err);
int overwrite_folder(const char *path, const OwnFolder *own, const InputSet *inputs, Err *err);
// Whether path, or a file in the folder that it is, is an input.
int overwrite_no_input(const char *path, const InputSet *inputs, Err *err);
