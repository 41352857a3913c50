// json: accepts what RFC 8259 accepts and nothing else (cases after Nicolas Seriot's JSONTestSuite), within its bounds.
#include "json.h"
#include "test.h"

#include <math.h>

typedef struct Case {
    const char *text;
    size_t len;
} Case;
#define CASE(s)                                                                                                        \
    { s, sizeof(s) - 1 } // keeps NUL bytes

static const Case accepted[] = {
    CASE("null"),
    CASE(" true\n"),
    CASE("\t false\r\n"),
    CASE("0"),
    CASE("-0"),
    CASE("-1"),
    CASE("1e1"),
    CASE("1E+2"),
    CASE("1.5e-2"),
    CASE("0e1"),
    CASE("-0.0"),
    CASE("123456789012345678901234567890"),
    CASE("1e-400"),
    CASE("\"\""),
    CASE("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
    CASE("\"\\u0000\""),
    CASE("\"\\uD801\\udc37\""),
    CASE("\"\\uDBFF\\uDFFF\""),
    CASE("\"\\uFFFF\\u00e9\""),
    CASE("\"\x7f\""),
    CASE("\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xF4\x8F\xBF\xBF\xEF\xBF\xBF\""),
    CASE("[]"),
    CASE("{}"),
    CASE("[ ]"),
    CASE("{ }"),
    CASE("[[], {}, [[]]]"),
    CASE("[1,\n2 ,3]"),
    CASE("{\"\":0}"),
    CASE("{\"a\":{\"a\":{\"a\":[]}}, \"b\" : [ null ]}"),
    CASE("{\"a\\u0000b\":1,\"a\":2}"),
};

static const Case refused[] = {
    CASE(""),
    CASE(" "),
    CASE("nul"),
    CASE("True"),
    CASE("truefalse"),
    CASE("NaN"),
    CASE("-Infinity"),
    CASE("-"),
    CASE("+1"),
    CASE("01"),
    CASE("-01"),
    CASE("00"),
    CASE("1."),
    CASE(".5"),
    CASE("-.5"),
    CASE("1.e2"),
    CASE("1e"),
    CASE("1e+"),
    CASE("1e5.5"),
    CASE("0x1"),
    CASE("1 2"),
    CASE("1_000"),
    CASE("\xEF\xBC\x91"),
    CASE("1e309"),
    CASE("-1e309"),
    CASE("\""),
    CASE("\"\\\""),
    CASE("\"\\"),
    CASE("'a'"),
    CASE("\"\\a\""),
    CASE("\"\\x41\""),
    CASE("\"\\\0\""),
    CASE("\"\\u\""),
    CASE("\"\\u00A\""),
    CASE("\"\\u00G0\""),
    CASE("\"\\u00"),
    CASE("\"\\uD800\""),
    CASE("\"\\uDC00\""),
    CASE("\"\\uD800\\n\""),
    CASE("\"\\uD800\\u0041\""),
    CASE("\"\\uD800\\uD800\""),
    CASE("\"\\uD800\\"),
    CASE("\"\\uD800\\u\""),
    CASE("\"\\uDE6D\\uD834\""),
    CASE("\"tab\there\""),
    CASE("\"line\n\""),
    CASE("\"nul\0\""),
    CASE("\"\x1f\""),
    CASE("\"\xFF\""),
    CASE("\"\x80\""),
    CASE("\"\xC0\xAF\""),
    CASE("\"\xE0\x80\xAF\""),
    CASE("\"\xC3\""),
    CASE("\"\xE2\x82\""),
    CASE("\"\xED\xA0\x80\""),
    CASE("\"\xF4\x90\x80\x80\""),
    CASE("\"\xF8\x88\x80\x80\x80\""),
    CASE("\xEF\xBB\xBF{}"),
    CASE("["),
    CASE("]"),
    CASE("[1"),
    CASE("[1,"),
    CASE("[1,]"),
    CASE("[,1]"),
    CASE("[1,,2]"),
    CASE("[1 2]"),
    CASE("[1}"),
    CASE("[]]"),
    CASE("[a]"),
    CASE("[\f1]"),
    CASE("{"),
    CASE("}"),
    CASE("{\"a\""),
    CASE("{\"a\":"),
    CASE("{\"a\":1"),
    CASE("{\"a\":1,"),
    CASE("{\"a\":1,}"),
    CASE("{\"a\" 1}"),
    CASE("{\"a\"::1}"),
    CASE("{a:1}"),
    CASE("{1:1}"),
    CASE("{\"a\":1 \"b\":2}"),
    CASE("{,}"),
    CASE("{}{}"),
    CASE("{\"a\":1}x"),
    CASE("{\"a\":/*c*/1}"),
    CASE("{\"a\":1}//"),
    CASE("{\"a\":1,\"a\":1}"),
    CASE("{\"a\":1,\"\\u0061\":1}"),
    CASE("[1]\0"),
    CASE("\xC2\xA0[]"),
};

// Parses from an exact-size heap copy, so that the sanitizer sees a read one byte too far.
static int parse_copy(JsonDoc **doc, const char *text, size_t len, Err *err) {
    char *copy = mem_alloc(len, 1);
    if (len) memcpy(copy, text, len);
    int rc = json_parse(doc, copy, len, "case", 1, err);
    mem_free(copy);
    return rc;
}

static JsonDoc *parse(const char *text) {
    JsonDoc *doc;
    Err err;
    ASSERT_OK(parse_copy(&doc, text, strlen(text), &err), &err);
    return doc;
}

static void test_json_accepts_the_grammar(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        JsonDoc *doc;
        Err err;
        ASSERT_OK(parse_copy(&doc, accepted[i].text, accepted[i].len, &err), &err);
        json_free(doc);
    }
}

static void test_json_refuses_everything_else(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        JsonDoc *doc;
        Err err;
        if (parse_copy(&doc, refused[i].text, refused[i].len, &err) == 0) fail_msg("accepted: %s", refused[i].text);
        assert_null(doc);
        assert_int_equal(err.kind, ERR_INPUT);
    }
}

// Every prefix and every single-bit flip of a document with everything in it: no crash, no over-read.
static void test_json_survives_truncation_and_bit_flips(void **state) {
    (void)state;
    char text[] = "{\"k\\u00e9\": [1, -2.5e3, \"\xE2\x82\xAC\\uD83D\\uDE00\", {\"x\": null, \"y\": true}, false]}";
    size_t len = sizeof text - 1;
    for (size_t n = 0; n < len; n++) {
        JsonDoc *doc;
        assert_int_equal(parse_copy(&doc, text, n, NULL), -1);
    }
    for (size_t bit = 0; bit < len * 8; bit++) {
        JsonDoc *doc;
        text[bit / 8] ^= (char)(1 << bit % 8);
        if (parse_copy(&doc, text, len, NULL) == 0) json_free(doc);
        text[bit / 8] ^= (char)(1 << bit % 8);
    }
}

static void test_json_keeps_values_and_order(void **state) {
    (void)state;
    JsonDoc *doc = parse("{\"b\": [1, \"two\", null], \"a\": {\"x\": true}, \"\": 0.5}");
    const Json *root = json_root(doc), *b = json_get(root, "b");
    assert_int_equal(root->count, 3);
    assert_string_equal(root->keys[0].data, "b");
    assert_string_equal(root->keys[2].data, "");
    assert_int_equal(b->count, 3);
    assert_int_equal(b->items[0].integer, 1);
    assert_true(json_is_string(&b->items[1], "two"));
    assert_false(json_is_string(&b->items[1], "tw"));
    assert_int_equal(b->items[2].type, JSON_NULL);
    assert_int_equal(json_get(json_get(root, "a"), "x")->type, JSON_TRUE);
    assert_null(json_get(root, "x"));
    assert_null(json_get(b, "x"));
    assert_null(json_get(NULL, "x"));
    assert_string_equal(json_type_name(b), "an array");
    json_free(doc);
}

static void test_json_strings_hold_any_character(void **state) {
    (void)state;
    JsonDoc *doc = parse("\"a\\u0000b\\uD83D\\uDE00\\u20aC\\/\"");
    const JsonStr *s = &json_root(doc)->str;
    assert_int_equal(s->len, 11);
    assert_memory_equal(s->data, "a\0b\xF0\x9F\x98\x80\xE2\x82\xAC/", 12);
    json_free(doc);
}

static void test_json_numbers_are_exact(void **state) {
    (void)state;
    static const struct {
        const char *text;
        JsonType type;
        int64_t integer;
        double number;
    } cases[] = {
        {"9223372036854775807", JSON_INT, INT64_MAX, 0x1p63},
        {"-9223372036854775808", JSON_INT, INT64_MIN, -0x1p63},
        {"9223372036854775808", JSON_FLOAT, 0, 0x1p63},
        {"-9223372036854775809", JSON_FLOAT, 0, -0x1p63},
        {"1.0", JSON_FLOAT, 0, 1},
        {"1e2", JSON_FLOAT, 0, 100},
        {"0.1", JSON_FLOAT, 0, 0.1},
        {"1.7976931348623157e308", JSON_FLOAT, 0, 0x1.fffffffffffffp1023},
        {"5e-324", JSON_FLOAT, 0, 0x1p-1074},
        {"1e-400", JSON_FLOAT, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        JsonDoc *doc = parse(cases[i].text);
        const Json *v = json_root(doc);
        assert_string_equal(v->str.data, cases[i].text);
        assert_int_equal(v->type, cases[i].type);
        if (v->type == JSON_INT) assert_true(v->integer == cases[i].integer);
        assert_true(v->number == cases[i].number);
        json_free(doc);
    }
    JsonDoc *doc = parse("-0");
    assert_int_equal(json_root(doc)->type, JSON_INT);
    assert_true(signbit(json_root(doc)->number));
    json_free(doc);
}

static void test_json_error_names_line_and_column(void **state) {
    (void)state;
    JsonDoc *doc;
    Err err;
    const char *text = "{\"a\": 1,\n \"b\": x}";
    assert_int_equal(json_parse(&doc, text, strlen(text), "f.json", 1, &err), -1);
    assert_string_equal(err.msg, "f.json:2: found 'x' at column 7; expected a JSON value");
    assert_int_equal(json_parse(&doc, "[1 2]", 5, "f.jsonl", 41, &err), -1);
    assert_string_equal(err.msg, "f.jsonl:41: found '2' at column 4; expected ',' or ']'");
    assert_int_equal(json_parse(&doc, "[1 2]", 5, "header", 0, &err), -1);
    assert_string_equal(err.msg, "header: found '2' at byte 3; expected ',' or ']'");
    assert_int_equal(json_parse(&doc, "[1,", 3, "h", 1, &err), -1);
    assert_string_equal(err.msg, "h:1: found the end at column 4; expected a JSON value");
}

static void test_json_depth_is_bounded(void **state) {
    (void)state;
    enum { BOMB = 1 << 20 };
    StrBuf s = {0};
    JsonDoc *doc;
    Err err;
    for (int i = 0; i < JSON_MAX_DEPTH; i++) str_puts(&s, "[");
    for (int i = 0; i < JSON_MAX_DEPTH; i++) str_puts(&s, "]");
    json_free(parse(s.data));
    str_clear(&s);
    for (int i = 0; i < BOMB; i++) str_puts(&s, i % 2 ? "[" : "{\"a\":");
    ASSERT_REFUSED(json_parse(&doc, s.data, s.len, "bomb", 1, &err), &err, "nesting deeper than 64");
    str_clear(&s);
}

// Duplicates are found at every size, and a vocabulary-sized object does not take quadratic time (10^10 comparisons
// would be minutes).
static void test_json_duplicate_keys_in_large_objects(void **state) {
    (void)state;
    enum { KEYS = 150000 };
    for (int duplicate = 0; duplicate < 2; duplicate++) {
        StrBuf s = {0};
        JsonDoc *doc;
        Err err;
        str_puts(&s, "{");
        for (int i = 0; i < KEYS; i++) str_printf(&s, "\"token %d\": %d,\n", i, i);
        str_printf(&s, "\"token %d\": 0}", duplicate ? 77777 : KEYS);
        double start = time_now();
        if (duplicate) {
            ASSERT_REFUSED(json_parse(&doc, s.data, s.len, "v", 1, &err), &err, "key \"token 77777\" twice");
        } else {
            ASSERT_OK(json_parse(&doc, s.data, s.len, "v", 1, &err), &err);
            assert_int_equal(json_get(json_root(doc), "token 149999")->integer, 149999);
            json_free(doc);
        }
        assert_true(time_now() - start < 10);
        str_clear(&s);
    }
}

static void test_json_quote_round_trips(void **state) {
    (void)state;
    static const char text[] = "q\" b\\ \b\f\n\r\t \x01\x1f\x7f \xC3\xA9 \0 end";
    StrBuf s = {0};
    json_quote(&s, text, sizeof text - 1);
    assert_string_equal(s.data, "\"q\\\" b\\\\ \\b\\f\\n\\r\\t \\u0001\\u001f\\u007f \xC3\xA9 \\u0000 end\"");
    JsonDoc *doc = parse(s.data);
    assert_int_equal(json_root(doc)->str.len, sizeof text - 1);
    assert_memory_equal(json_root(doc)->str.data, text, sizeof text);
    json_free(doc);
    str_clear(&s);
}

TEST_MAIN(TEST(test_json_accepts_the_grammar), TEST(test_json_refuses_everything_else),
          TEST(test_json_survives_truncation_and_bit_flips), TEST(test_json_keeps_values_and_order),
          TEST(test_json_strings_hold_any_character), TEST(test_json_numbers_are_exact),
          TEST(test_json_error_names_line_and_column), TEST(test_json_depth_is_bounded),
          TEST(test_json_duplicate_keys_in_large_objects), TEST(test_json_quote_round_trips))
