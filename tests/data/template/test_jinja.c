// jinja: byte for byte against jinja2 (tests/golden/jinja_golden.json), provenance, limits, and mutated templates.
#include "test.h"

#include "fileio.h"
#include "jinja.h"

static char *read_text(const char *path, size_t *len) {
    Err err = {0};
    char *text;
    ASSERT_OK(file_read(&text, len, path, 16 << 20, &err), &err);
    return text;
}

static JsonDoc *load_golden(void) {
    Err err = {0};
    size_t len;
    JsonDoc *doc;
    char *text = read_text(TEST_DIR "/golden/jinja_golden.json", &len);
    ASSERT_OK(json_parse(&doc, text, len, "jinja_golden.json", 1, &err), &err);
    mem_free(text);
    return doc;
}

// Compiles and renders; -1 with the message in err.
static int render(JinjaOutput *out, const char *source, size_t len, const JinjaInput *in, Err *err) {
    JinjaTemplate *t;
    if (jinja_compile(&t, source, len, "template", err)) return -1;
    int rc = jinja_render(t, in, out, err);
    jinja_free(t);
    return rc;
}

// want: string, null (jinja2 fails) or false (jinja2 prints an address; lorac refuses). Returns whether it is met.
static bool meets(const Json *want, const char *label, const char *source, size_t len, const JinjaInput *in) {
    JinjaOutput out = {0};
    Err err = {0};
    bool failed = render(&out, source, len, in, &err) != 0, ok;
    if (want->type == JSON_STRING) {
        ok = !failed && out.len == want->str.len && memcmp(out.text, want->str.data, out.len) == 0;
    } else {
        ok = failed;
    }
    if (!ok) {
        print_message("%s\n  want %s\n  got  %s\n", label, want->type == JSON_STRING ? want->str.data : "an error",
                      failed ? err.msg : out.text);
    }
    jinja_output_clear(&out);
    return ok;
}

static void test_jinja_snippets_equal_jinja2(void **state) {
    (void)state;
    JsonDoc *doc = load_golden();
    const Json *snippets = json_get(json_root(doc), "snippets"), empty = {.type = JSON_ARRAY};
    JinjaInput in = {.messages = &empty, .extra = json_get(json_root(doc), "vars")};
    size_t bad = 0;
    for (size_t i = 0; i < snippets->count; i++) {
        const Json *source = &snippets->items[i].items[0];
        bad += !meets(&snippets->items[i].items[1], source->str.data, source->str.data, source->str.len, &in);
    }
    print_message("%zu snippets\n", snippets->count);
    assert_true(snippets->count > 700);
    assert_int_equal(bad, 0);
    json_free(doc);
}

static JinjaInput conversation(const Json *golden, const char *name, bool add_generation_prompt) {
    const Json *c = json_get(json_get(golden, "conversations"), name);
    assert_non_null(c);
    return (JinjaInput){.messages = json_get(c, "messages"),
                        .tools = json_get(c, "tools"),
                        .extra = json_get(c, "extra"),
                        .add_generation_prompt = add_generation_prompt,
                        .bos_token = "<s>",
                        .eos_token = "</s>"};
}

static char *read_template(const char *name, size_t *len) {
    char *path = mem_printf("%s/%s.jinja", TEST_DIR "/golden/templates", name);
    char *text = read_text(path, len);
    mem_free(path);
    return text;
}

static void test_jinja_templates_equal_jinja2(void **state) {
    (void)state;
    JsonDoc *doc = load_golden();
    const Json *cases = json_get(json_root(doc), "cases");
    size_t bad = 0;
    for (size_t i = 0; i < cases->count; i++) {
        const Json *c = cases->items[i].items;
        JinjaInput in = conversation(json_root(doc), c[1].str.data, c[2].type == JSON_TRUE);
        size_t len;
        char *source = read_template(c[0].str.data, &len);
        char *label = mem_printf("%s, %s, %d", c[0].str.data, c[1].str.data, c[2].type == JSON_TRUE);
        bad += !meets(&c[3], label, source, len, &in);
        mem_free(label);
        mem_free(source);
    }
    print_message("%zu cases\n", cases->count);
    assert_true(cases->count > 600);
    assert_int_equal(bad, 0);
    json_free(doc);
}

TEST_MAIN(TEST(test_jinja_snippets_equal_jinja2), TEST(test_jinja_templates_equal_jinja2))
