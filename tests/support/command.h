// command: a shell command, and all that it prints.
#pragma once

#include <stdio.h>
#include <sys/wait.h>

#include "test.h"

// Its standard output; fails unless it ends with want_status, and then prints it. The caller frees.
static inline char *command_output(const char *command, int want_status) {
    StrBuf out = {0};
    char piece[4096];
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    str_puts(&out, "");
    for (size_t n; (n = fread(piece, 1, sizeof piece, pipe)) > 0;) str_add(&out, piece, n);
    int status = pclose(pipe);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != want_status) {
        fprintf(stderr, "%s\n", out.data); // fail_msg cuts what is long
        fail_msg("%s: wait status %d, expected exit status %d", command, status, want_status);
    }
    return out.data;
}
