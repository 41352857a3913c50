// What is written next to an adapter for PEFT users: the tokenizer's files of a Hugging Face base and the chat
// template; files that were changed since are not replaced.
#include <string.h>

#include "export.h"
#include "family_fixture.h"
#include "fileio.h"
#include "path.h"
#include "scratch.h"
#include "test.h"

typedef struct Case {
    Family family;
    Backend *backend;
    Model *m;
    Adapter *a;
} Case;

static const char OF_BASE[] = "{% for m in messages %}{{ m.content }}{% endfor %}";

static void put_in(const char *dir, const char *name, const char *text) {
    char *path = path_join(dir, name);
    scratch_put(path, text, strlen(text));
    mem_free(path);
}

static void open_case(Case *c, FamilyFile kind) {
    Err err;
    *c = (Case){0};
    family_open(&c->family, "qwen2", kind);
    if (kind == FAMILY_HF) {
        put_in(c->family.path, "chat_template.jinja", OF_BASE);
        put_in(c->family.path, "tokenizer_config.json", "{\"eos_token\": \"</s>\"}");
        put_in(c->family.path, "notes.txt", "not a tokenizer");
    }
    ASSERT_OK(backend_open(&c->backend, "cpu", 1, &err), &err);
    ASSERT_OK(model_load(&c->m, c->family.path, c->backend, &(ModelOptions){.max_positions = 24}, &err), &err);
    c->a = family_adapter(&c->family, c->m);
    ASSERT_OK(dir_make_parents("out", &err), &err);
}

static void close_case(Case *c) {
    adapter_free(c->a);
    model_free(c->m);
    backend_close(c->backend);
    family_close(&c->family);
}

static int export(const Case *c, Err *err) { return adapter_export(c->a, c->m, "out", "demo", NULL, err); }

static void check_same(const Case *c, const char *name) {
    char *from = path_join(c->family.path, name), *to = path_join("out/adapter", name), *want, *got;
    size_t want_size, got_size;
    Err err;
    ASSERT_OK(file_read(&want, &want_size, from, 1 << 20, &err), &err);
    ASSERT_OK(file_read(&got, &got_size, to, 1 << 20, &err), &err);
    assert_int_equal(got_size, want_size);
    assert_memory_equal(got, want, want_size);
    mem_free(from);
    mem_free(to);
    mem_free(want);
    mem_free(got);
}

static void test_files_of_the_tokenizer(void **state) {
    (void)state;
    Case c;
    Adapter *back;
    Err err;
    open_case(&c, FAMILY_HF);
    ASSERT_OK(export(&c, &err), &err);
    check_same(&c, "tokenizer.json");
    check_same(&c, "tokenizer_config.json");
    check_same(&c, "chat_template.jinja");
    assert_false(path_exists("out/adapter/notes.txt") || path_exists("out/adapter/config.json"));
    ASSERT_OK(adapter_load(&back, c.m, "out/adapter", false, &err), &err);
    assert_null(back->chat_template); // the base's own
    adapter_free(back);
    ASSERT_OK(export(&c, &err), &err); // replaces what lorac wrote
    adapter_set_chat_template(c.a, "{{ other }}");
    ASSERT_OK(export(&c, &err), &err);
    ASSERT_OK(adapter_load(&back, c.m, "out/adapter", false, &err), &err);
    assert_string_equal(back->chat_template, "{{ other }}");
    adapter_free(back);
    ASSERT_OK(adapter_save_peft(c.a, c.m, "plain", NULL, &err), &err);
    assert_false(path_exists("plain/tokenizer.json"));
    close_case(&c);
}

static void test_files_that_were_changed_stay(void **state) {
    (void)state;
    Case c;
    Err err;
    open_case(&c, FAMILY_HF);
    ASSERT_OK(export(&c, &err), &err);
    scratch_put("out/adapter/tokenizer.json", "{}", 2);
    ASSERT_REFUSED(export(&c, &err), &err, "tokenizer.json: found what lorac did not write");
    assert_true(path_exists("out/adapter/tokenizer.json"));
    assert_int_equal(unlink("out/adapter/tokenizer.json"), 0);
    scratch_put("out/adapter/vocab.json", "{}", 2); // of another tool
    ASSERT_REFUSED(export(&c, &err), &err, "vocab.json");
    assert_int_equal(unlink("out/adapter/vocab.json"), 0);
    ASSERT_OK(export(&c, &err), &err);
    close_case(&c);
}

static void test_files_of_a_gguf_base(void **state) {
    (void)state;
    Case c;
    Adapter *back;
    Err err;
    open_case(&c, FAMILY_GGUF);
    c.m->tokenizer->chat_template = mem_strdup(OF_BASE);
    ASSERT_OK(export(&c, &err), &err);
    char *text;
    size_t size;
    ASSERT_OK(file_read(&text, &size, "out/adapter/chat_template.jinja", 1 << 20, &err), &err);
    assert_string_equal(text, OF_BASE);
    assert_false(path_exists("out/adapter/tokenizer.json"));
    ASSERT_OK(adapter_load(&back, c.m, "out/adapter", false, &err), &err);
    assert_null(back->chat_template);
    adapter_free(back);
    mem_free(text);
    close_case(&c);
}

TEST_MAIN(SCRATCH_TEST(test_files_of_the_tokenizer), SCRATCH_TEST(test_files_that_were_changed_stay),
          SCRATCH_TEST(test_files_of_a_gguf_base))
