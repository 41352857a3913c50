// yaml_read: what scalars, anchors and merge keys become, with PyYAML as the judge; what is refused, with its place.
#include "test.h"
#include "yaml_read.h"

#include <math.h>

// The tree as JSON text; NULL: refused, err says why.
static char *read_yaml(const char *text, size_t len, Err *err) {
    JsonDoc *doc;
    StrBuf out = {0};
    *err = (Err){0};
    if (yaml_parse_config(&doc, text, len, "c.yaml", err)) return NULL;
    json_print(&out, json_root(doc));
    json_free(doc);
    return out.data;
}

static void reads(const char *text, const char *json) {
    Err err;
    char *got = read_yaml(text, strlen(text), &err);
    if (!got) fail_msg("%s: %s", text, err.msg);
    if (strcmp(got, json) != 0) fail_msg("%s: got %s; expected %s", text, got, json);
    mem_free(got);
}

static void refused_bytes(const char *text, size_t len, const char *part) {
    Err err;
    char *got = read_yaml(text, len, &err);
    if (got) fail_msg("%.60s: read as %.60s; expected to be refused with: %s", text, got, part);
    assert_int_equal(err.kind, ERR_INPUT);
    if (!strstr(err.msg, part)) fail_msg("%.60s: \"%s\"; expected: %s", text, err.msg, part);
}

static void refused(const char *text, const char *part) { refused_bytes(text, strlen(text), part); }

static void test_yaml_scalars(void **state) {
    (void)state;
    reads("[1, -2, +3, 1_000, 0, -0]", "[1, -2, 3, 1000, 0, -0]");
    reads("[1e-4, 1.0e-4, 2E5, 1e+3, .5, 5., -.5, 1_0.0_1, 0.10, 2._8, 1.e5]",
          "[1e-4, 1.0e-4, 2E5, 1e+3, 0.5, 5.0, -0.5, 10.01, 0.10, 2.8, 1.0e5]");
    reads("[0x1F, -0x10, 0b101]", "[31, -16, 5]");
    reads("[yes, No, ON, off, true, False, y, n, TrUE]",
          "[true, false, true, false, true, false, \"y\", \"n\", \"TrUE\"]");
    reads("[~, null, NULL, Null, '', none, None]", "[null, null, null, null, \"\", \"none\", \"None\"]");
    reads("a:\nb: \nc: ''", "{\"a\": null, \"b\": null, \"c\": \"\"}");
    reads("['1', \"yes\", 'null', '1e-4']", "[\"1\", \"yes\", \"null\", \"1e-4\"]");
    reads("[!!str 1, !!int 1, !!float 1, !!null '', !!bool 'yes', ! 12]", "[\"1\", 1, 1, null, true, \"12\"]");
    reads("[1.2.3, 1e, e5, ., +, -x, 0x, 0xg, 0b2, 0b_, 1__, 12:60, 2026-11-30, a:b, '010']",
          "[\"1.2.3\", \"1e\", \"e5\", \".\", \"+\", \"-x\", \"0x\", \"0xg\", \"0b2\", \"0b_\", 1, \"12:60\", "
          "\"2026-11-30\", \"a:b\", \"010\"]");
    reads("a: |\n  x\n  y\nb: >\n  x\n  y\n", "{\"a\": \"x\\ny\\n\", \"b\": \"x y\\n\"}");
    reads("\xEF\xBB\xBF{a: [1, {b: 2}], 3: x}  # end\n", "{\"a\": [1, {\"b\": 2}], \"3\": \"x\"}");
    reads("--- # one document\na: 1\n...\n", "{\"a\": 1}");
}

static void test_yaml_infinite_numbers(void **state) {
    (void)state;
    JsonDoc *doc;
    Err err;
    ASSERT_OK(yaml_parse_config(&doc, "[.inf, -.inf, .nan]", 19, "c.yaml", &err), &err);
    const Json *items = json_root(doc)->items;
    assert_true(isinf(items[0].number) && items[1].number < 0 && isnan(items[2].number));
    assert_int_equal(items[2].type, JSON_FLOAT);
    json_free(doc);
}

static void test_yaml_keeps_lines_and_words(void **state) {
    (void)state;
    JsonDoc *doc;
    Err err;
    const char *text = "a: &x\n  b: 1\n\nc:\n  no\nd: *x\n";
    ASSERT_OK(yaml_parse_config(&doc, text, strlen(text), "c.yaml", &err), &err);
    const Json *root = json_root(doc);
    assert_int_equal(root->items[0].line, 1);
    assert_int_equal(root->items[0].items[0].line, 2);
    assert_int_equal(root->items[1].line, 4); // of the key
    assert_string_equal(root->items[1].str.data, "no");
    assert_int_equal(root->items[2].line, 6);
    json_free(doc);
}

static void test_yaml_anchors_and_merge_keys(void **state) {
    (void)state;
    reads("a: &x [1, 2]\nb: *x\nc: [*x, *x]", "{\"a\": [1, 2], \"b\": [1, 2], \"c\": [[1, 2], [1, 2]]}");
    reads("base: &b {r: 8, a: 16}\nmine:\n  a: 1\n  <<: *b\n",
          "{\"base\": {\"r\": 8, \"a\": 16}, \"mine\": {\"a\": 1, \"r\": 8}}");
    reads("- &p {a: 1}\n- &q {a: 2, b: 2}\n- <<: [*p, *q]\n  c: 3\n",
          "[{\"a\": 1}, {\"a\": 2, \"b\": 2}, {\"c\": 3, \"a\": 1, \"b\": 2}]");
    reads("- &p {a: 1}\n- &p {a: 2}\n- *p", "[{\"a\": 1}, {\"a\": 2}, {\"a\": 2}]");
    reads("'<<': 1", "{\"<<\": 1}");
    refused("a: *x", "c.yaml:1: found the alias *x at column 4; expected an anchor of that name before it");
    refused("a: &x [*x]", "c.yaml:1: found the alias *x at column 8");
    refused("a: 1\n<<: 2", ":2: found a merge key (<<) of another value at column 1; expected a mapping");
    refused("<<: [{a: 1}, 2]", "found a merge key (<<) of other values at column 1");
}

static void test_yaml_is_bounded(void **state) {
    (void)state;
    StrBuf laughs = {0}, deep = {0}, chain = {0}, keys = {0}, large = {0};
    str_puts(&laughs, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 12; i++) {
        str_printf(&laughs, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++) str_printf(&laughs, "%s*a%d", k ? ", " : "", i - 1);
        str_puts(&laughs, "]\n");
    }
    refused(laughs.data, "found more than 131072 values, with those that aliases repeat");
    for (int i = 0; i < 100000; i++) str_puts(&deep, "[");
    refused(deep.data, "found nesting deeper than 64 at column 65");
    str_puts(&chain, "a0: &a0 [x]\n");
    for (int i = 1; i < 80; i++) str_printf(&chain, "a%d: &a%d [*a%d]\n", i, i, i - 1);
    refused(chain.data, "found an alias nested deeper than 64");
    for (int i = 0; i < 2000; i++) str_printf(&keys, "k%d: 1\n", i);
    refused(keys.data, ":1001: found more than 1000 keys in a mapping");
    str_clear(&keys);
    for (int i = 0; i < 2000; i++) str_printf(&keys, "- &k%d 1\n", i);
    refused(keys.data, ":1001: found more than 1000 anchors");
    for (int i = 0; i < 70000; i++) str_puts(&large, "- aaaaaaaaaaaaa\n");
    refused(large.data, "expected at most 1048576 of YAML");
    str_clear(&laughs);
    str_clear(&deep);
    str_clear(&chain);
    str_clear(&keys);
    str_clear(&large);
}

static void test_yaml_refuses_with_line_and_column(void **state) {
    (void)state;
    refused("", "c.yaml:1: found no value at column 1; expected a mapping");
    refused("# only a comment\n", "found no value");
    refused("a: 1\na: 2\n", "c.yaml:2: found key \"a\" twice at column 1; expected unique keys");
    refused("a: 1\n\tb: 2\n", "c.yaml:2: found a tab at column 1: ");
    refused("a: 1\n\tb: 2\n", "; expected spaces, not a tab");
    refused("a: [1, 2\nb: 3\n", ":2: found ':' at column 2: did not find expected ',' or ']' (while parsing a flow "
                                "sequence that begins on line 1)");
    refused("a: 'x\nb: 3\n", ":3: found the end at column 1: found unexpected end of stream (while scanning a quoted "
                             "scalar that begins on line 1)");
    refused("a: b: c\n", "c.yaml:1: found ':' at column 5: mapping values are not allowed in this context");
    refused("a: {b: 1}}\n", ":1: found '}' at column 10: ");
    refused("a: 1\n  b: 2\n", ":2: found ':' at column 4: mapping values are not allowed in this context");
    refused("a: 1\n---\nb: 2\n", ":2: found a second document at column 1; expected one");
    refused("%TAG ! tag:x,2000:\n---\na: 1\n", "c.yaml:1: found a directive (%) at column 1; expected none");
    refused("a: !!set {x}\n", ":1: found the tag \"tag:yaml.org,2002:set\" at column 4");
    refused("a: !!python/object:os.system x\n", ":1: found the tag \"tag:yaml.org,2002:python/object:os.system\"");
    refused("a: !mine 3", ":1: found the tag \"!mine\" at column 4");
    refused("a: !!int x", "found the tag \"tag:yaml.org,2002:int\" at column 4");
    refused("? [a]\n: 1\n", ":1: found a key that is no text at column 3");
    refused("&a k: 1", "found a key with an anchor or a tag");
    refused("seed: 010", "c.yaml:1: found 010 at column 7: octal or text in YAML 1.1, a decimal number in 1.2");
    refused("seed: 08", "found 08 at column 7: octal or text");
    refused("seed: 1:30", "found 1:30 at column 7: a number of base 60 in YAML 1.1");
    refused("lr: 1e309", "found 1e309 at column 5: a number too large for a double");
    refused("a: \"x\\0y\"", "found a NUL character at column 4");
    refused("a: b\nb: \x01", "c.yaml:2: found byte 0x01 at column 4; expected valid UTF-8 text");
    refused("a: \xC3\xA4\nb: \xC3\xA4 \xE4x", "c.yaml:2: found byte 0xE4 at column 6; expected valid UTF-8 text");
    refused_bytes("a: x\0y", 6, "c.yaml:1: found byte 0x00 at column 5");
}

TEST_MAIN(cmocka_unit_test(test_yaml_scalars), cmocka_unit_test(test_yaml_infinite_numbers),
          cmocka_unit_test(test_yaml_keeps_lines_and_words), cmocka_unit_test(test_yaml_anchors_and_merge_keys),
          cmocka_unit_test(test_yaml_is_bounded), cmocka_unit_test(test_yaml_refuses_with_line_and_column))
