// side_by_side: TEST_MAIN for tests that mostly wait: each in its own process, all at the same time.
#pragma once

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

// Exit status: how many failed.
static inline int run_side_by_side(const struct CMUnitTest *tests, size_t n) {
    int failed = 0, how;
    fflush(NULL);
    for (size_t i = 0; i < n; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            execl("/proc/self/exe", program_invocation_name, tests[i].name, NULL);
            _exit(127);
        }
        if (pid < 0) failed++;
    }
    while (wait(&how) > 0) failed += how != 0;
    return failed;
}

#define TEST_MAIN_SIDE_BY_SIDE(...)                                                                                    \
    static int run_file(int argc, char **argv) {                                                                       \
        const struct CMUnitTest tests[] = {__VA_ARGS__};                                                               \
        if (argc == 1) return run_side_by_side(tests, sizeof tests / sizeof *tests);                                   \
        cmocka_set_test_filter(argv[1]);                                                                               \
        return cmocka_run_group_tests(tests, NULL, NULL);                                                              \
    }                                                                                                                  \
    TEST_FILE(run_file)
