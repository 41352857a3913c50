// test_serve_load: `lorac serve` under requests of all kinds at once (load_serve.py).
#include "serve_process.h"

static void bear_load(int requests) {
    Server s = server_start("-m tiny.gguf --adapter one=out/a/adapter --adapter two=out/b/adapter --max_num_seqs 12");
    AUTO_FREE char *command = mem_printf("python3 '%s/train/serve/load_serve.py' %d %d %d tiny one=$PWD/out/a/adapter "
                                         "two=$PWD/out/b/adapter . %s 2>&1",
                                         TEST_DIR, s.port, (int)s.pid, requests, SANITIZED ? "--any-memory" : "");
    AUTO_FREE char *out = command_output(command, 0);
    printf("%s", out);
    assert_int_equal(server_end(s, SIGTERM), 0);
}

static void test_serve_bears_load(void **state) {
    (void)state;
    bear_load(150);
}

static void test_serve_long_load(void **state) {
    (void)state;
    bear_load(1000);
}

static int run_all(int argc, char **argv) {
    cmocka_set_test_filter(argc > 1 ? argv[1] : "*bears_load*");
    const struct CMUnitTest tests[] = {TEST(test_serve_bears_load), TEST(test_serve_long_load)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
TEST_FILE(run_all)
