// python_server: a server of tests/support on loopback, in a process of its own. It prints its ports in one line and
// ends when its standard input is closed.
#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

typedef struct PythonServer {
    pid_t pid;
    int input; // it ends when this is closed
    long port; // the first one
} PythonServer;

// argv: "python3", the script, its arguments, NULL.
static inline int python_server_start(PythonServer *s, char *const *argv) {
    int input[2], output[2];
    char ports[64] = "";
    if (pipe2(input, O_CLOEXEC) || pipe2(output, O_CLOEXEC)) return -1;
    s->pid = fork();
    if (s->pid == 0) {
        dup2(input[0], STDIN_FILENO);
        dup2(output[1], STDOUT_FILENO);
        execvp(argv[0], argv);
        _exit(127);
    }
    close(input[0]);
    close(output[1]);
    s->input = input[1];
    for (size_t n = 0; n < sizeof ports - 1 && !strchr(ports, '\n'); n++)
        if (read(output[0], ports + n, 1) != 1) return -1;
    close(output[0]);
    s->port = strtol(ports, NULL, 10);
    return 0;
}

static inline void python_server_stop(PythonServer *s) {
    close(s->input);
    waitpid(s->pid, NULL, 0);
}
