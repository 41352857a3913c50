// cli_runner: the binary as a user runs it, in a scratch directory. LORAC is the path of the binary.
#pragma once

#include <sys/wait.h>

#include "scratch.h"

// Output and errors of a command together; the status must be `want_status`.
static inline char *run(const char *words, int want_status) {
    StrBuf out = {0};
    char *command = mem_printf("XDG_CACHE_HOME=$PWD/cache '%s' %s 2>&1", LORAC, words), piece[4096];
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    str_puts(&out, "");
    for (size_t n; (n = fread(piece, 1, sizeof piece, pipe)) > 0;) str_add(&out, piece, n);
    int status = pclose(pipe);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != want_status) {
        fprintf(stderr, "%s\n", out.data); // fail_msg cuts what is long
        fail_msg("lorac %s: wait status %d, expected exit status %d", words, status, want_status);
    }
    mem_free(command);
    return out.data;
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

static inline void check_parts(const char *out, const char *const *parts, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!strstr(out, parts[i])) fail_msg("\"%s\" lacks \"%s\"", out, parts[i]);
}
// out has each of `parts`, an array.
#define CHECK_PARTS(out, parts) check_parts(out, parts, sizeof(parts) / sizeof *(parts))

static inline void put(const char *path, const char *text) { scratch_put(path, text, strlen(text)); }
