// base: error texts, checked sizes, growing arrays and strings.
#include "test.h"

static void test_err_names_status_and_cleans_control_characters(void **state) {
    (void)state;
    Err err = {0};
    assert_int_equal(err_input(&err, "file %s: \x1b[31mred\n", "a"), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_string_equal(err.msg, "file a: ?[31mred?");
    assert_int_equal(err_context(&err, "line %d", 3), -1);
    assert_string_equal(err.msg, "line 3: file a: ?[31mred?");
    err_context(&err, "line %d", 3); // the message has it already
    assert_string_equal(err.msg, "line 3: file a: ?[31mred?");
    assert_int_equal(err.kind, ERR_INPUT);
}

static void test_err_cuts_overlong_text(void **state) {
    (void)state;
    char big[4096];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    Err err = {0};
    err_runtime(&err, "%s", big);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    err_context(&err, "%s", big);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
}

static void test_size_arithmetic_detects_overflow(void **state) {
    (void)state;
    size_t out = 0;
    assert_true(size_mul(SIZE_MAX / 2, 2, &out));
    assert_false(size_mul(SIZE_MAX / 2 + 1, 2, &out));
    assert_false(size_add(SIZE_MAX, 1, &out));
}

static void test_str_grows_and_terminates(void **state) {
    (void)state;
    StrBuf s = {0};
    for (int i = 0; i < 1000; i++) str_printf(&s, "%d,", i % 10);
    str_add(&s, "a\0b", 3);
    assert_int_equal(s.len, 2003);
    assert_int_equal(strlen(s.data), 2001);
    str_clear(&s);
    assert_null(s.data);
}

TEST_MAIN(TEST(test_err_names_status_and_cleans_control_characters), TEST(test_err_cuts_overlong_text),
          TEST(test_size_arithmetic_detects_overflow), TEST(test_str_grows_and_terminates))
