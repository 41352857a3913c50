// Preference data: tokens and masks against TRL (golden/make_preference_data_golden.py).
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

typedef struct Line {
    Tokenizer *t;
    ChatTemplate *chat;
    Dataset *d;
} Line;

// The records of a line as a data set.
static Line open_line(const Json *line, DatasetOptions o) {
    const Json *template = json_given(line, "template"), *records = json_given(line, "records");
    Line l = {.t = open_tokenizer(text_of(line, "tokenizer"))};
    const char *file = "d.jsonl";
    AUTO_STR StrBuf text = {0};
    Err err;
    if (template) l.chat = open_template(l.t, template);
    for (size_t i = 0; i < (records ? records->count : 1); i++) {
        json_print(&text, records ? &records->items[i] : json_get(line, "record"));
        str_puts(&text, "\n");
    }
    put_text(file, text.data);
    o.files = &file;
    o.n_files = 1;
    o.cache_dir = "cache";
    if (dataset_open(&l.d, &o, l.t, l.chat, &err)) fail_msg("%s: %s", text.data, err.msg);
    return l;
}

static void close_line(Line *l) {
    dataset_close(l->d);
    chat_template_free(l->chat);
    tokenizer_free(l->t);
}

static void check_pair(const Json *line) {
    Line l = open_line(line, (DatasetOptions){.max_seq_length = 4096, .preference = PREFERENCE_PAIRS});
    Sample s = dataset_sample(l.d, 0);
    check_sequence(line, s.ids, s.supervised, s.second, "chosen");
    check_sequence(line, s.ids + s.second, s.supervised + s.second, s.count - s.second, "rejected");
    close_line(&l);
}

static void check_labelled(const Json *line) {
    const Json *samples = json_get(line, "samples");
    Line l = open_line(line, (DatasetOptions){.max_seq_length = json_get(line, "max_length")->integer,
                                              .truncation = TRUNCATION_TRUNCATE,
                                              .preference = PREFERENCE_LABELS,
                                              .kl_group = json_get(line, "group")->integer});
    assert_int_equal(l.d->count, samples->count);
    for (size_t i = 0; i < samples->count; i++) {
        Sample s = dataset_sample(l.d, (int64_t)i);
        check_sequence(&samples->items[i], s.ids, s.supervised, s.second, "own");
        check_sequence(&samples->items[i], s.ids + s.second, s.supervised + s.second, s.count - s.second, "other");
        assert_int_equal(s.desirable, json_get(&samples->items[i], "label")->type == JSON_TRUE);
    }
    close_line(&l);
}

static void test_preference_tokens_are_those_of_trl(void **state) {
    (void)state;
    char *text;
    size_t len;
    Err err;
    int n = 0;
    ASSERT_OK(file_read(&text, &len, TEST_DIR "/golden/preference_data.jsonl", 1 << 24, &err), &err);
    for (char *line = text, *end; *line; line = end + 1, n++) {
        JsonDoc *doc;
        assert_non_null(end = strchr(line, '\n'));
        ASSERT_OK(json_parse(&doc, line, (size_t)(end - line), "preference_data.jsonl", 1, &err), &err);
        const Json *root = json_root(doc);
        print_message("line %d\n", n + 1);
        (json_get(root, "records") ? check_labelled : check_pair)(root);
        json_free(doc);
    }
    assert_true(n > 40);
    mem_free(text);
}

TEST_MAIN(SCRATCH_TEST(test_preference_tokens_are_those_of_trl))
