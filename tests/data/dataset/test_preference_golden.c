// Preference data: tokens and masks against TRL (golden/make_preference_golden.py).
#include "dataset_fixture.h"

#include "fileio.h"

static const char *text_of(const Json *object, const char *key) { return json_get(object, key)->str.data; }

// A tokenizer of tests/golden/tokenizer, as the script makes it.
static Tokenizer *open_tokenizer(const char *name) {
    Tokenizer *t = golden_tokenizer(name);
    t->bos = tokenizer_find(t, "<|endoftext|>");
    t->eos = tokenizer_find(t, "<|im_end|>");
    t->add_bos = strcmp(name, "llama-bpe") == 0;
    return t;
}

static ChatTemplate *open_template(const Tokenizer *t, const Json *name) {
    AUTO_FREE char *path = mem_printf(TEST_DIR "/golden/templates/%s.jinja", name->str.data);
    AUTO_FREE char *source = NULL;
    ChatTemplate *c;
    Err err;
    size_t len;
    ASSERT_OK(file_read(&source, &len, path, 1 << 20, &err), &err);
    ASSERT_OK(chat_template_new(&c, t, source, &err), &err);
    return c;
}

// ids[0, n) are those of the list, and the mask begins at `prompt`.
static void check_sequence(const Json *want, const int32_t *ids, const uint8_t *mask, int64_t n, const char *name) {
    int64_t prompt = json_get(want, "prompt")->integer;
    const Json *list = json_get(want, name);
    if ((int64_t)list->count != n) fail_msg("%s: found %ld tokens; expected %zu", name, n, list->count);
    for (int64_t i = 0; i < n; i++) {
        if (ids[i] != list->items[i].integer)
            fail_msg("%s: token %ld: found %d; expected %ld", name, i, ids[i], list->items[i].integer);
        if (mask[i] != (i >= prompt && i > 0)) fail_msg("%s: token %ld: mask %d", name, i, mask[i]);
    }
}

static void check_line(const Json *line) {
    Tokenizer *t = open_tokenizer(text_of(line, "tokenizer"));
    const Json *template = json_given(line, "template");
    ChatTemplate *chat = template ? open_template(t, template) : NULL;
    const char *file = "d.jsonl";
    DatasetOptions o = {
        .files = &file, .n_files = 1, .max_seq_length = 4096, .preference = PREFERENCE_PAIRS, .cache_dir = "cache"};
    AUTO_STR StrBuf record = {0};
    Dataset *d;
    Err err;
    json_print(&record, json_get(line, "record"));
    put_text(file, record.data);
    print_message("%.200s\n", record.data);
    if (dataset_open(&d, &o, t, chat, &err)) fail_msg("%s", err.msg);
    Sample s = dataset_sample(d, 0);
    check_sequence(line, s.ids, s.supervised, s.second, "chosen");
    check_sequence(line, s.ids + s.second, s.supervised + s.second, s.count - s.second, "rejected");
    dataset_close(d);
    chat_template_free(chat);
    tokenizer_free(t);
}

static void test_preference_tokens_are_those_of_trl(void **state) {
    (void)state;
    char *text;
    size_t len;
    Err err;
    int n = 0;
    ASSERT_OK(file_read(&text, &len, TEST_DIR "/golden/preference.jsonl", 1 << 24, &err), &err);
    for (char *line = text, *end; *line; line = end + 1, n++) {
        JsonDoc *doc;
        assert_non_null(end = strchr(line, '\n'));
        ASSERT_OK(json_parse(&doc, line, (size_t)(end - line), "preference.jsonl", 1, &err), &err);
        check_line(json_root(doc));
        json_free(doc);
    }
    assert_true(n > 30);
    mem_free(text);
}

TEST_MAIN(SCRATCH_TEST(test_preference_tokens_are_those_of_trl))
