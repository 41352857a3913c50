// cli_runner: the binary as a user runs it, in a scratch directory. LORAC is the path of the binary.
#pragma once

#include "command.h"
#include "fileio.h"
#include "scratch.h"

// Output and errors of a command together; the status must be `want_status`.
static inline char *run(const char *words, int want_status) {
    AUTO_FREE char *command = mem_printf("XDG_CACHE_HOME=$PWD/cache '%s' %s 2>&1", LORAC, words);
    return command_output(command, want_status);
}

static inline void check_output(const char *words, const char *want) {
    char *got = run(words, 0);
    assert_string_equal(got, want);
    mem_free(got);
}

static inline void check_has(const char *words, int status, const char *part) {
    char *got = run(words, status);
    if (!strstr(got, part)) fail_msg("lorac %s printed \"%s\"; expected \"%s\" in it", words, got, part);
    mem_free(got);
}

static inline void put(const char *path, const char *text) { scratch_put(path, text, strlen(text)); }

// n conversations: q0 and a0, q1 and a1, ...
static inline void put_questions(const char *path, int n) {
    StrBuf text = {0};
    for (int i = 0; i < n; i++)
        str_printf(&text,
                   "{\"messages\":[{\"role\":\"user\",\"content\":\"q%d\"},"
                   "{\"role\":\"assistant\",\"content\":\"a%d\"}]}\n",
                   i, i);
    put(path, text.data);
    str_clear(&text);
}

static inline void check_parts(const char *out, const char *const *parts, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!strstr(out, parts[i])) fail_msg("\"%s\" lacks \"%s\"", out, parts[i]);
}
// out has each of `parts`, an array.
#define CHECK_PARTS(out, parts) check_parts(out, parts, sizeof(parts) / sizeof *(parts))

static inline void assert_same_file(const char *a, const char *b) {
    char *x, *y;
    size_t n, m;
    Err err;
    ASSERT_OK(file_read(&x, &n, a, 1 << 22, &err), &err);
    ASSERT_OK(file_read(&y, &m, b, 1 << 22, &err), &err);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    mem_free(x);
    mem_free(y);
}
