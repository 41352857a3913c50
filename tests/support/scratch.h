// scratch: a fresh working directory for each test, removed afterwards. Use SCRATCH_TEST in place of
// TEST; *state is its path.
#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "fileio.h"
#include "path.h"
#include "test.h"

static inline int scratch_set_up(void **state) {
    char *dir = mem_strdup("/tmp/lorac-test-XXXXXX");
    *state = dir;
    return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static inline int scratch_tear_down(void **state) {
    Err err;
    int rc = chdir("/");
    if (dir_remove(*state, &err)) rc = -1;
    mem_free(*state);
    return rc;
}

// An OwnCheck (overwrite.h) of tests that write a file again and again.
static inline int replace_any(const char *path, Err *err) {
    (void)path, (void)err;
    return 0;
}

#define SCRATCH_TEST(f) cmocka_unit_test_setup_teardown(f, scratch_set_up, scratch_tear_down)

// Writes a file plainly, for thousands of variants of a hostile file: no fsync, and the old bytes are overwritten, not
// truncated first (after which some file systems write through at close).
static inline void scratch_put(const char *path, const void *data, size_t n) {
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, n), n);
    assert_int_equal(ftruncate(fd, (off_t)n), 0);
    close(fd);
}

// The text of a file; the caller frees.
static inline char *scratch_read(const char *path) {
    char *text = NULL;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&text, &size, path, 1 << 26, &err), &err);
    return text;
}

// A new file outside the directory with this text; the caller removes it and frees its path.
static inline char *scratch_file(const char *text) {
    char *path = mem_strdup("/tmp/lorac-test-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    return path;
}
