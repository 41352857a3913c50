// jinja: provenance of every byte, messages, limits, and templates that are mutated at random.
#include "test.h"

#include "fileio.h"
#include "jinja.h"

static JsonDoc *parse(const char *text) {
    Err err = {0};
    JsonDoc *doc;
    ASSERT_OK(json_parse(&doc, text, strlen(text), "test", 0, &err), &err);
    return doc;
}

static int render(JinjaOutput *out, const char *source, size_t len, const char *record, Err *err) {
    JinjaTemplate *t;
    JsonDoc *doc = parse(record);
    const Json *r = json_root(doc);
    JinjaInput in = {.messages = json_get(r, "messages"), .tools = json_get(r, "tools"), .extra = json_get(r, "extra")};
    int rc = jinja_compile(&t, source, len, "template", err);
    if (rc == 0) {
        rc = jinja_render(t, &in, out, err);
        jinja_free(t);
    }
    json_free(doc);
    return rc;
}

#define RECORD                                                                                                         \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"AbC \xC3\xA4\"},{\"role\":\"x\",\"content\":\"-\",\"n\":5,"       \
    "\"args\":{\"k\":[1,true,\"v\"]}}],\"tools\":[\"T\"],\"extra\":{\"e\":\"E\"}}"

// want: one letter per byte: '.' template, 'd' data, '0' and '1' the message.
static void check_origin(const char *source, const char *text, const char *want) {
    JinjaOutput out = {0};
    Err err = {0};
    ASSERT_OK(render(&out, source, strlen(source), RECORD, &err), &err);
    assert_string_equal(out.text, text);
    assert_int_equal(out.len, strlen(want));
    for (size_t i = 0; i < out.len; i++) {
        uint32_t expected = want[i] == '.'   ? 0
                            : want[i] == 'd' ? JINJA_ORIGIN_DATA
                                             : JINJA_ORIGIN_MESSAGE | (uint32_t)(want[i] - '0');
        uint32_t places = jinja_place(JINJA_PLACES, JINJA_PLACES);
        if ((out.origin[i] & ~places) != expected) fail_msg("%s: byte %zu has origin %#x", source, i, out.origin[i]);
    }
    jinja_output_clear(&out);
}

static void test_jinja_every_byte_has_its_origin(void **state) {
    (void)state;
    check_origin("<{{ messages[0].content }}>{{ tools[0] ~ e }}", "<AbC \xC3\xA4>TE", ".000000.dd");
    check_origin("{% set c = messages[0].content %}{{ c[:2] + 'x' + c[::-1] }}", "Abx\xC3\xA4 CbA", "00.000000");
    check_origin("{{ messages[0].content | upper }}{{ messages[0].content.lower() }}",
                 "ABC \xC3\x84"
                 "abc \xC3\xA4",
                 "000000000000");
    check_origin("{{ messages[0].content | replace('b', messages[1].content) }}", "A-C \xC3\xA4", "010000");
    check_origin("{{ 'x y'.replace(' ', e) }}{{ [e, 'z'] | join(',') }}", "xEyE,z", ".d.d..");
    check_origin("{{ messages[0].content.split(' ')[0] }}|{{ 'a%sb' % e }}{{ '{}c'.format(e) }}", "AbC|aEbEc",
                 "000..d.d.");
    // what is made of the data is data: marks, numbers and names of a message's object
    check_origin("{{ messages[1].args | tojson }}", "{\"k\": [1, true, \"v\"]}", "111111111111111111111");
    check_origin("{{ {'a': messages[1].n} | tojson }}", "{\"a\": 5}", "......1.");
    check_origin("{{ messages[1].args }}", "{'k': [1, True, 'v']}", "111111111111111111111");
    check_origin("{% for k, v in messages[1].args | items %}{{ k }}={{ v[0] }}{% endfor %}", "k=1", "1.1");
    check_origin("{% macro m(a) %}<{{ a }}>{% endmacro %}{% set b %}{{ m(e) }}{% endset %}{{ b | trim }}", "<E>",
                 ".d.");
    // a known role is a word of the format, another is data
    check_origin("{{ '<' + messages[0].role + messages[1].role + '>' }}", "<userx>", ".....1.");
}

static void test_jinja_generation_marks_bytes(void **state) {
    (void)state;
    JinjaOutput out = {0};
    Err err = {0};
    const char *source = "a{% macro m() %}b{% generation %}c{{ e }}{% endgeneration %}d{% endmacro %}{{ m() | upper }}";
    ASSERT_OK(render(&out, source, strlen(source), RECORD, &err), &err);
    assert_string_equal(out.text, "aBCED");
    assert_memory_equal(out.generation, "\0\0\1\1\0", 5);
    assert_int_equal(out.origin[3], JINJA_ORIGIN_DATA | jinja_place(1, 0));
    source = "a";
    ASSERT_OK(render(&out, source, 1, RECORD, &err), &err);
    assert_null(out.generation);
    jinja_output_clear(&out);
}

static void refused(const char *source, const char *part) {
    JinjaOutput out = {0};
    Err err = {0};
    ASSERT_REFUSED(render(&out, source, strlen(source), RECORD, &err), &err, part);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_null(out.text);
}

static void test_jinja_messages_name_line_and_construct(void **state) {
    (void)state;
    refused("a\n{{ b.c }}", "template line 2: 'b' is undefined");
    refused("a\n\n{{ e | frobnicate }}", "template line 3: no filter named 'frobnicate'");
    refused("{{ e is odder }}", "template line 1: no test named 'odder'");
    refused("\n{% include 'x' %}", "template line 2: tag 'include'");
    refused("{% for x in e recursive %}{% endfor %}", "recursive loops are not supported");
    refused("{{ raise_exception('no ' + e) }}", "refuses the conversation: no E");
    refused("{{ e.swapcase() }}", "attribute 'swapcase' of 'str' is not supported");
    refused("{{ [].append(1) }}", "changing a list is refused");
    refused("{% if 1 %}", "template line 1: the template ends where");
    refused("{{ strftime_now('%\\x00') }}", "strftime_now: unsupported format");
    refused("{{ 'a' + 1 }}", "unsupported operand types for +: 'str' and 'int'");
    refused("\xFF", "not valid UTF-8");
}

// A message shows a string from its first byte to its last, wherever the string lies: a literal, a part of another one,
// a joined one.
static void fails_with_end(const char *source, const char *end) {
    JinjaOutput out = {0};
    Err err = {0};
    ASSERT_REFUSED(render(&out, source, strlen(source), RECORD, &err), &err, end);
    size_t n = strlen(err.msg), m = strlen(end);
    if (n < m || strcmp(err.msg + n - m, end) != 0)
        fail_msg("%s: found \"%s\"; expected it to end with %s", source, err.msg, end);
}

static void test_jinja_messages_end_where_their_string_ends(void **state) {
    (void)state;
    fails_with_end("{{ raise_exception('boom') }}", ": boom");
    fails_with_end("{{ raise_exception('eightbyt') }}", ": eightbyt");
    fails_with_end("{{ raise_exception('sixteen bytes...') }}", ": sixteen bytes...");
    fails_with_end("{{ raise_exception('abcdefghij'[:3]) }}", ": abc");
    fails_with_end("{{ raise_exception(messages[0].content[:2]) }}", ": Ab");
    fails_with_end("{{ raise_exception('xxx' ~ '/' ~ e) }}", ": xxx/E");
    fails_with_end("{{ raise_exception(messages[0].content.split(' ')[0]) }}", ": AbC");
    fails_with_end("{{ messages[0]['abcdefgh'].x }}", "no attribute 'abcdefgh'");
    fails_with_end("{{ messages[0]['abcdefghij'[:4]].x }}", "no attribute 'abcd'");
    fails_with_end("{{ messages | map('abcdefgh'[:3]) | list }}", "no filter named 'abc'");
    fails_with_end("{{ messages | select('abcdefgh'[:3]) | list }}", "no test named 'abc'");
    fails_with_end("{{ namespace(**{'_bcdefgh'[:3]: 1}) }}", "'_bc' of a namespace begins with an underscore");
    fails_with_end("{{ range(**{'abcdefgh'[:3]: 1}) }}", "range takes 1 to 3 numbers");
    fails_with_end("{{ 'x'.split(**{'abcdefgh'[:3]: 1}) }}", "unexpected argument 'abc'");
    fails_with_end("{{ dict(**{'a'[:1]: 1}).abc.d }}", "no attribute 'abc'");
    fails_with_end("{{ ('ab' | safe)['abcdefgh'[:3]] }}",
                   "attribute 'abc' of a string marked as safe is not supported");
    fails_with_end("{% macro m(a) %}{% endmacro %}{{ m(**{'bcdefgh'[:2]: 1}) }}", "no keyword argument 'bc'");
    fails_with_end("{{ dict(a=1, **{'abc'[:1]: 1}) }}", "argument 'a' is given twice");
}

// A long string is cut between characters.
static void test_jinja_messages_cut_at_characters(void **state) {
    (void)state;
    JinjaOutput out = {0};
    Err err = {0};
    const char *source = "{{ raise_exception('x' + '\xC3\xA4' * 400) }}";
    ASSERT_REFUSED(render(&out, source, strlen(source), RECORD, &err), &err, "x\xC3\xA4");
    assert_memory_equal(err.msg + strlen(err.msg) - 2, "\xC3\xA4", 2);
}

static char *repeated(const char *head, const char *body, size_t n, const char *tail) {
    StrBuf s = {0};
    str_puts(&s, head);
    for (size_t i = 0; i < n; i++) str_puts(&s, body);
    str_puts(&s, tail);
    return s.data;
}

static void refused_long(const char *head, const char *body, size_t n, const char *tail, const char *part) {
    char *source = repeated(head, body, n, tail);
    refused(source, part);
    mem_free(source);
}

static void test_jinja_is_bounded(void **state) {
    (void)state;
    refused("{{ 'x' * 99999999999 }}", "longer than");
    refused("{{ [0] * 99999999999 }}", "too long");
    refused("{% for a in range(9999) %}{% for b in range(9999) %}{{ 1 }}{% endfor %}{% endfor %}", "steps");
    refused("{% set s = 'x' * 9999999 %}{% for a in range(9999) %}{{ s | length }}{{ s ~ a }}{% endfor %}",
            "longer than");
    refused("{% set s = 'x' * 9999999 %}{% for a in range(9999) %}{% set t = s ~ a %}{% endfor %}", "steps");
    refused("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested too deep");
    refused("{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}", "nested too deep");
    refused("{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
            "nested too deep");
    refused("{% set ns = namespace(a=[], b=[]) %}{% for i in range(9999) %}{% set ns.a = [ns.a] %}"
            "{% set ns.b = [ns.b] %}{% endfor %}{{ ns.a == ns.b }}",
            "nested too deep");
    refused("{% set ns = namespace(g=[1]) %}{% for i in range(9999) %}{% set ns.g = ns.g | map('string') %}{% endfor %}"
            "{{ ns.g | list }}",
            "nested too deep");
    refused("{{ range(100001) }}", "range is longer");
    refused("{{ 2 ** 63 }}", "64 bits");
    refused("{{ -9223372036854775807 - 2 }}", "64 bits");
    refused_long("{{ ", "(", 5000, "", "nested too deep");
    refused_long("{{ ", "not ", 5000, "1 }}", "nested too deep");
    refused_long("{{ ", "-", 5000, "1 }}", "nested too deep");
    refused_long("{{ 1", "+1", 5000, "}}", "nested too deep");
    refused_long("{{ 1", " if 1 else 1", 5000, "}}", "nested too deep");
    refused_long("", "{% if 1 %}", 5000, "", "nested too deep");
    refused_long("{# ", "x", 1 << 20, "#}", "at most");
    refused_long("{{ ", "9", 30, "}}", "64 bits");
}

// ---- mutated templates ----

static uint64_t next_random(uint64_t *s) {
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static const char *const pieces[] = {"{% endif %}",
                                     "{{",
                                     "}}",
                                     "{%",
                                     "%}",
                                     "|tojson(indent=2)",
                                     "[::-1]",
                                     "**",
                                     " is ",
                                     "(",
                                     ")",
                                     "loop.",
                                     "{% for x in messages %}",
                                     "{% set x = x ~ x %}",
                                     "-1",
                                     "'",
                                     "~",
                                     "|map('upper')|list",
                                     "namespace(",
                                     ".split('')",
                                     " if ",
                                     "not ",
                                     "%s' % ",
                                     "\xC3\xA4",
                                     "{% macro m(a) %}",
                                     "{% endmacro %}",
                                     "m(m)",
                                     "{#",
                                     "-%}",
                                     "|sort",
                                     "messages"};

static char *mutate(const char *source, size_t *len, uint64_t *seed) {
    size_t at = next_random(seed) % (*len + 1), cut = next_random(seed) % 12;
    if (cut > *len - at) cut = *len - at;
    const char *piece = pieces[next_random(seed) % (sizeof pieces / sizeof *pieces)];
    if (next_random(seed) % 3 == 0) piece = "";
    char *out = mem_printf("%.*s%s%s", (int)at, source, piece, source + at + cut);
    *len = strlen(out);
    return out;
}

static void test_jinja_survives_mutated_templates(void **state) {
    (void)state;
    static const char *const names[] = {"qwen3",       "llama-3.1",   "mistral-v3-tools",
                                        "deepseek-r1", "qwen3-coder", "generation"};
    static const char record[] =
        "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"\xE6\x97\xA5 a\"},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"123456789\",\"type\":\"function\","
        "\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1.5,\"y\":[true,null]}}}]},"
        "{\"role\":\"tool\",\"content\":\"r\",\"tool_call_id\":\"123456789\"},{\"role\":\"assistant\",\"content\":"
        "\"b\"}],"
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"properties\":{}}}}],"
        "\"extra\":{}}";
    size_t rendered = 0;
    uint64_t seed = 42;
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        char *path = mem_printf(TEST_DIR "/golden/templates/%s.jinja", names[n]), *source;
        size_t source_len;
        Err err = {0};
        ASSERT_OK(file_read(&source, &source_len, path, 1 << 20, &err), &err);
        mem_free(path);
        for (int i = 0; i < 1000; i++) {
            size_t len = source_len;
            char *text = mem_strdup(source);
            for (uint64_t k = 1 + next_random(&seed) % 3; k > 0; k--) {
                char *changed = mutate(text, &len, &seed);
                mem_free(text);
                text = changed;
            }
            JinjaOutput out = {0};
            err.msg[0] = 0;
            int rc = render(&out, text, len, record, &err);
            rendered += rc == 0;
            assert_true(rc == 0 || err.msg[0]);
            jinja_output_clear(&out);
            mem_free(text);
        }
        mem_free(source);
    }
    print_message("%zu of 6000 mutated templates render\n", rendered);
    assert_true(rendered > 100);
}

TEST_MAIN(TEST(test_jinja_every_byte_has_its_origin), TEST(test_jinja_generation_marks_bytes),
          TEST(test_jinja_messages_name_line_and_construct), TEST(test_jinja_messages_end_where_their_string_ends),
          TEST(test_jinja_messages_cut_at_characters), TEST(test_jinja_is_bounded),
          TEST(test_jinja_survives_mutated_templates))
