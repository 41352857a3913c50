// temporary: names for files and folders while they are written, and removal of those that killed processes leave.
//
// NAME.tmp-MACHINE-RANDOM, next to NAME (".old-": a folder that was moved aside). MACHINE: 8 hex digits that name the
// running kernel. RANDOM: 16 hex digits, because process ids repeat: every container has a process 1. The writer holds
// an flock on it; a temporary of this kernel without a lock is dead. A temporary of another machine on a shared folder,
// or of a file system without locks, is dead after an hour without a write.
#pragma once

#include "base.h"

char *temporary_name(const char *path, const char *tag); // tag: "tmp" or "old"; caller frees
// Locks a temporary that was just created. -1: a sweep took it first; use another name.
int temporary_hold(int fd, const char *path);

// The length of NAME if `name` is the name of a temporary, else 0.
size_t temporary_stem(const char *name);

typedef struct Sweep {
    const char *dir;
    bool (*wants)(const char *stem, const void *user); // whose temporaries
    const void *user;
    bool alone; // the caller holds a lock that every writer of these names in dir takes
    // What a folder that was moved aside may hold (overwrite.h); NULL: it stays.
    const char *const *names;
} Sweep;
// Removes dead temporaries. Never an error: what cannot be removed stays.
void temporary_sweep(const Sweep *s);
