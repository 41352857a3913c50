// forked: processes of a test that talk with each other. Each returns a result, which the test checks.
#pragma once

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

enum { MAX_FORKED = 8 };

typedef struct Forked {
    int status; // of the call that was tested: 0 or -1
    double seconds;
    Err err;
} Forked;

typedef void ForkedWork(int rank, int ranks, void *shared, Forked *result);

// Runs work(0 .. ranks - 1) in a process each; results [ranks]: status -2 where one did not get to its end.
static inline void run_forked(int ranks, ForkedWork *work, void *shared, Forked *results) {
    size_t size = (size_t)ranks * sizeof *results;
    Forked *out = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t children[MAX_FORKED];
    assert_true(out != MAP_FAILED && ranks <= MAX_FORKED);
    fflush(NULL);
    for (int r = 0; r < ranks; r++) {
        out[r].status = -2;
        children[r] = fork();
        if (children[r] == 0) {
            alarm(60);
            Forked mine = {0};
            double start = time_now();
            work(r, ranks, shared, &mine);
            mine.seconds = time_now() - start;
            out[r] = mine;
            _exit(0);
        }
        assert_true(children[r] > 0);
    }
    for (int r = 0; r < ranks; r++) assert_int_equal(waitpid(children[r], NULL, 0), children[r]);
    memcpy(results, out, size);
    munmap(out, size);
}
