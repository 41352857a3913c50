// test: a thin layer over cmocka. A test file lists its tests once:
//   static void test_gguf_rejects_bad_magic(void **state) { ... }
//   TEST_MAIN(TEST(test_gguf_rejects_bad_magic))
// Run one: build/test_gguf '*bad_magic*'. Exit status: number of failures; 77: skipped (CTest SKIP_RETURN_CODE).
// A program holds several test files and runs the one whose name it is called by (test_main.c): build/test_gguf is a
// link to it.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base.h"

enum { TEST_SKIPPED = 77 };
#define TEST(f) cmocka_unit_test(f)
#define TEST_MAIN(...) TEST_MAIN_WITH(NULL, NULL, __VA_ARGS__)
// With a set-up and a tear-down of the whole file.
#define TEST_MAIN_WITH(set_up, tear_down, ...)                                                                         \
    static int run_file(int argc, char **argv) {                                                                       \
        if (argc > 1) cmocka_set_test_filter(argv[1]);                                                                 \
        const struct CMUnitTest tests[] = {__VA_ARGS__};                                                               \
        return cmocka_run_group_tests(tests, set_up, tear_down);                                                       \
    }                                                                                                                  \
    TEST_FILE(run_file)

// A test file that parses its own arguments registers its main function with TEST_FILE.
typedef struct TestFile {
    const char *path;
    int (*run)(int argc, char **argv);
    struct TestFile *next;
} TestFile;
void test_file_add(TestFile *f);
#define TEST_FILE(run_function)                                                                                        \
    __attribute__((constructor)) static void add_file(void) {                                                          \
        static TestFile file = {__FILE__, run_function, NULL};                                                         \
        test_file_add(&file);                                                                                          \
    }

// Fails unless `call` returns 0, printing the Err message.
#define ASSERT_OK(call, errp)                                                                                          \
    do {                                                                                                               \
        if ((call) != 0) fail_msg("%s: %s", #call, (errp)->msg);                                                       \
    } while (0)
// Fails unless `call` returns -1 with a message that holds `part`.
#define ASSERT_REFUSED(call, errp, part)                                                                               \
    do {                                                                                                               \
        (errp)->msg[0] = 0;                                                                                            \
        if ((call) == 0) fail_msg("%s succeeded; expected a refusal with \"%s\"", #call, part);                        \
        if (!strstr((errp)->msg, part)) fail_msg("%s: message \"%s\" lacks \"%s\"", #call, (errp)->msg, part);         \
    } while (0)
// Fails unless |got - want| <= tol; prints all three.
#define ASSERT_NEAR(got, want, tol)                                                                                    \
    do {                                                                                                               \
        double got_ = (got), want_ = (want), tol_ = (tol);                                                             \
        if (!(got_ - want_ <= tol_ && want_ - got_ <= tol_))                                                           \
            fail_msg("%s: got %.9g, want %.9g, tolerance %.3g", #got, got_, want_, tol_);                              \
    } while (0)
