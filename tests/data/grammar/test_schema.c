// schema: texts that jsonschema has judged (make_schema_golden.py), the ways to write a value, and what is refused.
#include "fileio.h"
#include "grammar_case.h"
#include "schema.h"

// ---- against jsonschema ----

static void check_line(const Json *line) {
    AUTO_STR StrBuf schema = {0};
    const Json *texts = json_get(line, "texts");
    Constraint *c = NULL;
    Err err = {0};
    json_print(&schema, json_get(line, "schema"));
    bool never = constraint_new(&c, NULL, CONSTRAINT_SCHEMA, (JsonStr){schema.data, schema.len}, &err) != 0;
    if (never && !strstr(err.msg, "no text fits")) fail_msg("%s: %s", schema.data, err.msg);
    for (size_t i = 0; i < texts->count; i++) {
        const Json *text = &texts->items[i].items[0], *valid = &texts->items[i].items[1];
        if (never)
            assert_int_equal(valid->type, JSON_FALSE);
        else
            case_check(c, schema.data, text->str, valid->type == JSON_TRUE);
    }
    constraint_free(c);
}

static void test_schema_agrees_with_jsonschema(void **state) {
    (void)state;
    char *text;
    size_t size, lines = 0;
    Err err;
    ASSERT_OK(file_read(&text, &size, TEST_DIR "/golden/schema_golden.jsonl", 1 << 20, &err), &err);
    for (char *at = text, *end; (end = memchr(at, '\n', size - (size_t)(at - text))); at = end + 1, lines++) {
        JsonDoc *doc;
        ASSERT_OK(json_parse(&doc, at, (size_t)(end - at), "golden", lines + 1, &err), &err);
        check_line(json_root(doc));
        json_free(doc);
    }
    assert_true(lines >= 100);
    mem_free(text);
}

// ---- ways to write ----

static void test_schema_white_space_and_order(void **state) {
    (void)state;
    static const char *const schema =
        "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"integer\"}, \"b\": {\"type\": \"array\"}},"
        " \"required\": [\"a\"], \"additionalProperties\": false}";
    AUTO_STR StrBuf wide = {0};
    case_texts(CONSTRAINT_SCHEMA, schema,
               TEXTS("{\"a\":1}", " { \"a\" : 1 }", "\n\n{\n\t\"b\": [\n    1,\n    {}\n  ],\n  \"a\": 1\n}"),
               TEXTS("{}", "{\"a\":1,}", "{,\"a\":1}", "{\"a\":1 \"b\":[]}", "{\"a\":1}  ", "{\"a\":1,\"a\":1}",
                     "{\"a\":1}x", "{\"\\u0061\":1}", "{\"c\":1,\"a\":1}", "{\"a\":1}\n"));
    str_printf(&wide, "{\n%40s\"a\":1}", "");
    Constraint *c = case_open(CONSTRAINT_SCHEMA, schema);
    case_check(c, schema, (JsonStr){wide.data, wide.len}, true);
    constraint_free(c);
}

static void test_schema_strings(void **state) {
    (void)state;
    case_texts(CONSTRAINT_SCHEMA, "{\"type\": \"string\", \"minLength\": 1, \"maxLength\": 2}",
               TEXTS("\"a\"", "\"éß\"", "\"\\u00e9\\/\"", "\"\\ud83d\\ude00\\n\"", "\"😀x\"", "\"\\\\\\\"\""),
               TEXTS("\"\"", "\"abc\"", "\"\\ud83d\"", "\"\\ude00\"", "\"\\x\"", "\"a\nb\"", "\"\xC3\"",
                     "\"\xED\xA0\x80\"", "\"a"));
    case_texts(CONSTRAINT_SCHEMA, "{\"type\": \"string\", \"format\": \"date-time\"}",
               TEXTS("\"2024-02-28T23:59:59Z\"", "\"0001-12-31T00:00:00.5+01:00\""),
               TEXTS("\"2024-02-30T00:00:00Z\"", "\"2024-13-01T00:00:00Z\"", "\"2024-01-01 00:00:00Z\"",
                     "\"0000-01-01T00:00:00Z\""));
    case_texts(CONSTRAINT_SCHEMA, "{\"const\": {\"k\\n\": [\"\\u0001\\u00e9\", 1.50, null]}}",
               TEXTS("{\"k\\n\":[\"\\u0001é\",1.50,null]}", "{ \"k\\n\" : [\n  \"\\u0001é\", 1.50, null ] }"),
               TEXTS("{\"k\\n\":[\"\\u0001\\u00e9\",1.50,null]}", "{\"k\\n\":[\"\\u0001é\",1.5,null]}"));
    case_texts(CONSTRAINT_SCHEMA, "{\"properties\": {\"ab\": false, \"x\\\"\": {\"const\": 1}}, \"type\": \"object\"}",
               TEXTS("{\"a\":1,\"abc\":2}", "{\"x\\\"\":1}", "{\"x\\\\\":2}"),
               TEXTS("{\"ab\":1}", "{\"x\\\"\":2}", "{\"\\u0061b\":1}"));
}

// Every integer near the bounds, and fractions.
static void test_schema_bounds(void **state) {
    (void)state;
    static const int bounds[][2] = {{0, 150}, {-7, 12}, {-130, -9}, {99, 101}, {0, 0}, {-1, 1}};
    char schema[120], text[40];
    for (size_t b = 0; b < sizeof bounds / sizeof *bounds; b++) {
        snprintf(schema, sizeof schema, "{\"type\": \"integer\", \"minimum\": %d, \"exclusiveMaximum\": %d.5}",
                 bounds[b][0], bounds[b][1]);
        Constraint *c = case_open(CONSTRAINT_SCHEMA, schema);
        for (int i = -1200; i <= 1200; i++) {
            snprintf(text, sizeof text, "%d", i);
            case_check(c, schema, (JsonStr){text, strlen(text)},
                       i >= bounds[b][0] && i < bounds[b][1] + (bounds[b][1] >= 0));
        }
        constraint_free(c);
    }
    case_texts(CONSTRAINT_SCHEMA, "{\"type\": \"number\", \"exclusiveMinimum\": -0.25, \"maximum\": 1e1}",
               TEXTS("0", "-0", "10", "10.0", "9.99", "-0.24", "-0.249999", "0.000"),
               TEXTS("-0.25", "-0.250", "10.01", "11", "100", "-1", "1e1", "01", "1.", "-"));
    case_texts(CONSTRAINT_SCHEMA, "{\"type\": \"integer\", \"minimum\": 0, \"maximum\": 9223372036854775807}",
               TEXTS("0", "999999999999999999"), TEXTS("-1", "9999999999999999999"));
    case_texts(CONSTRAINT_SCHEMA, "{\"type\": \"number\"}", TEXTS("1e5", "-1.5E-07", "0.10"),
               TEXTS("1e", "1e555", ".5", "NaN"));
}

static void test_schema_alternatives(void **state) {
    (void)state;
    case_texts(
        CONSTRAINT_SCHEMA,
        "{\"oneOf\": [{\"$ref\": \"#/$defs/cat\"}, {\"$ref\": \"#/$defs/dog\"}, {\"type\": [\"null\", \"integer\"]}],"
        " \"$defs\": {\"cat\": {\"type\": \"object\", \"properties\": {\"kind\": {\"const\": \"cat\"}}, \"required\": "
        "[\"kind\"]},"
        " \"dog\": {\"type\": \"object\", \"properties\": {\"kind\": {\"const\": \"dog\"}, \"bark\": {\"type\": "
        "\"boolean\"}},"
        " \"required\": [\"kind\", \"bark\"]}}}",
        TEXTS("{\"kind\":\"cat\"}", "{\"bark\":true,\"kind\":\"dog\"}", "null", "7", "{\"kind\":\"cat\",\"bark\":1}"),
        TEXTS("{\"kind\":\"dog\"}", "{\"kind\":\"cow\"}", "true", "{\"bark\":1,\"kind\":\"dog\"}"));
    case_texts(
        CONSTRAINT_SCHEMA,
        "{\"allOf\": [{\"properties\": {\"a\": {\"minimum\": 3}}}, {\"additionalProperties\": {\"maximum\": 5}}],"
        " \"type\": \"object\", \"required\": [\"a\"], \"properties\": {\"a\": {\"type\": \"integer\"}}}",
        TEXTS("{\"a\":3}", "{\"a\":5,\"z\":5}", "{\"z\":\"x\",\"a\":4}"),
        TEXTS("{\"a\":2}", "{\"a\":6}", "{\"a\":4,\"z\":6}"));
    case_texts(CONSTRAINT_SCHEMA, "{\"enum\": [1, \"a\", null], \"type\": [\"string\", \"null\"], \"minimum\": 0}",
               TEXTS("\"a\"", "null"), TEXTS("1", "0"));
}

static void test_schema_recursion(void **state) {
    (void)state;
    static const char *const schema =
        "{\"type\": \"object\", \"properties\": {\"v\": {\"type\": \"integer\"}, \"next\": {\"anyOf\": [{\"$ref\": "
        "\"#\"},"
        " {\"type\": \"null\"}]}}, \"required\": [\"v\", \"next\"], \"additionalProperties\": false}";
    AUTO_STR StrBuf text = {0};
    enum { DEPTH = 5000 };
    for (int i = 0; i < DEPTH; i++) str_puts(&text, "{\"v\":1,\"next\":");
    str_puts(&text, "null");
    for (int i = 0; i < DEPTH; i++) str_puts(&text, "}");
    Constraint *c = case_open(CONSTRAINT_SCHEMA, schema);
    case_check(c, schema, (JsonStr){text.data, text.len}, true);
    case_check(c, schema, (JsonStr){text.data, text.len - 1}, false);
    constraint_free(c);
}

// ---- refusals ----

static void test_schema_refuses_by_name(void **state) {
    (void)state;
    static const struct {
        const char *schema, *why;
    } cases[] = {
        {"{\n\"type\": \"array\",\n\"uniqueItems\": true}", "schema:3: \"uniqueItems\" is not supported"},
        {"{\"minProperties\": 1}", "\"minProperties\" is not supported"},
        {"{\"patternProperties\": {}}", "\"patternProperties\" is not supported"},
        {"{\"not\": {}}", "\"not\" is not supported"},
        {"{\"if\": {}}", "\"if\" is not supported"},
        {"{\"multipleOf\": 2}", "\"multipleOf\" is not supported"},
        {"{\"typo\": 2}", "\"typo\" is not supported"},
        {"{\"properties\": {\"a\": {\"contains\": {}}}}", "\"contains\" is not supported"},
        {"{\"type\": \"string\", \"format\": \"hostname\"}", "\"format\" \"hostname\" is not supported"},
        {"{\"type\": \"string\", \"pattern\": \"(?=a)\"}", "\"pattern\": regular expression \"(?=a)\": look-around"},
        {"{\"type\": \"text\"}", "\"type\" is a string; expected names of types"},
        {"{\"type\": 3}", "\"type\" is an integer"},
        {"{\"items\": [{}]}", "\"items\" is an array; expected a schema"},
        {"{\"exclusiveMinimum\": true}", "\"exclusiveMinimum\" is true; expected a number"},
        {"{\"required\": [1]}", "expected a list of strings"},
        {"{\"minLength\": -1}", "expected a whole number"},
        {"{\"enum\": []}", "expected a list that is not empty"},
        {"{\"enum\": [\"abc\"], \"minLength\": 2}", "\"minLength\" together with enum"},
        {"{\"$ref\": \"other.json#/a\"}", "expected one within the schema"},
        {"{\"$ref\": \"#/$defs/a\"}", "names nothing"},
        {"{\"$ref\": \"#/title\", \"title\": \"x\"}", "names a string"},
        {"{\"$ref\": \"#\", \"anyOf\": [{\"$ref\": \"#\"}]}", "leads to itself"},
        {"{\"oneOf\": [{\"type\": \"integer\"}, {\"type\": \"number\"}]}", "alternatives 1 and 2 may both fit"},
        {"{\"properties\": {\"a\": {\"$id\": \"x\"}}}", "\"$id\" inside is not supported"},
        {"{\"type\": \"object\", \"required\": [\"a\"], \"additionalProperties\": false}", "no text fits"},
        {"{\"type\": \"array\", \"minItems\": 3, \"maxItems\": 2}", "no text fits"},
        {"{\"type\": \"string\", \"minLength\": 3, \"maxLength\": 2}", "no text fits"},
        {"{\"allOf\": [{\"type\": \"string\"}, {\"type\": \"null\"}]}", "no text fits"},
        {"{\"const\": 1, \"enum\": [2]}", "no text fits"},
        {"false", "no text fits"},
        {"[1]", "a schema is an array"},
        {"{\"type\": \"string\"", "expected"},
        {"{\"minimum\": 1e999, \"type\": \"number\"}", "schema"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        case_refused(CONSTRAINT_SCHEMA, cases[i].schema, cases[i].why);
}

static void test_schema_grows_no_further_than_its_limits(void **state) {
    (void)state;
    AUTO_STR StrBuf members = {0}, combinations = {0};
    str_puts(&members, "{\"properties\": {");
    for (int i = 0; i < 64; i++) str_printf(&members, "%s\"k%d\": {}", i ? "," : "", i);
    str_puts(&members, "}}");
    case_refused(CONSTRAINT_SCHEMA, members.data, "more than 63 members");
    str_puts(&combinations, "{\"allOf\": [");
    for (int i = 0; i < 24; i++)
        str_printf(&combinations, "%s{\"anyOf\": [{\"minLength\": %d}, {\"maxLength\": %d}]}", i ? "," : "", i, 99 - i);
    str_puts(&combinations, "]}");
    case_refused(CONSTRAINT_SCHEMA, combinations.data, "combinations of schemas");
    case_refused(CONSTRAINT_SCHEMA, "{\"type\": \"string\", \"pattern\": \"^(a|b)*a(a|b){30}$\"}", "too large");
    case_refused(CONSTRAINT_SCHEMA, "{\"type\": \"string\", \"pattern\": \"a\", \"maxLength\": 20000}", "above 10000");
    case_texts(CONSTRAINT_SCHEMA, "{\"type\": \"string\", \"minLength\": 1, \"maxLength\": 9007199254740992}",
               TEXTS("\"a\""), TEXTS("\"\""));
    case_texts(CONSTRAINT_SCHEMA, "{\"type\": \"array\", \"maxItems\": 4000000000}", TEXTS("[1,2]"), TEXTS("[1,]"));
}

TEST_MAIN(TEST(test_schema_agrees_with_jsonschema), TEST(test_schema_white_space_and_order), TEST(test_schema_strings),
          TEST(test_schema_bounds), TEST(test_schema_alternatives), TEST(test_schema_recursion),
          TEST(test_schema_refuses_by_name), TEST(test_schema_grows_no_further_than_its_limits))
