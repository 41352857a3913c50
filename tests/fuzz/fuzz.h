// fuzz: what the fuzz targets share. A target is a function that gives any bytes to one reader, and uses what it reads
// as lorac does; whatever the bytes are, it must return: an error or a value, no fault, no hang, no leak, no huge
// memory.
//
// Built with -DFUZZ=ON a target is a libFuzzer program (`make fuzz`); else replay.c runs it over the committed inputs
// as an ordinary test: corpus/TARGET (seeds, make_corpus.py) and found/TARGET (what fuzzing has found, kept for ever).
#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void fuzz_remove_folder(void);

// A folder of this process, removed at its end; in memory where the system has such a place.
static inline const char *fuzz_folder(void) {
    static char *folder;
    if (!folder) {
        folder = path_join(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", "lorac-fuzz-XXXXXX");
        CHECK(mkdtemp(folder));
        atexit(fuzz_remove_folder);
    }
    return folder;
}

static inline void fuzz_remove_folder(void) {
    Err err;
    dir_remove(fuzz_folder(), &err);
}

// Writes a file of that folder; the path is the caller's to free.
static inline char *fuzz_put(const char *name, const void *data, size_t size) {
    char *path = path_join(fuzz_folder(), name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK(write(fd, data, size) == (ssize_t)size);
    close(fd);
    return path;
}

// Reads every byte, so that the sanitizers see what lies outside.
static inline void fuzz_touch(const void *data, size_t size) {
    volatile uint8_t sink = 0;
    for (size_t i = 0; i < size; i++) sink = sink ^ ((const uint8_t *)data)[i];
}
