// chat: masks and forms against transformers (golden/make_chat_golden.py), for templates of many families.
#include "test.h"

#include "byte_tokenizer.h"
#include "dialog.h"
#include "fileio.h"

typedef struct Golden {
    JsonDoc *doc;
    Tokenizer *t;
} Golden;

static Golden golden_open(void) {
    Golden g;
    char *text;
    size_t len;
    Err err = {0};
    ASSERT_OK(file_read(&text, &len, TEST_DIR "/golden/chat_golden.json", 1 << 24, &err), &err);
    ASSERT_OK(json_parse(&g.doc, text, len, "chat_golden.json", 1, &err), &err);
    mem_free(text);
    g.t = byte_tokenizer(NULL, 0);
    return g;
}

static void golden_close(Golden *g) {
    json_free(g->doc);
    tokenizer_free(g->t);
}

static const char *text_of(const Json *object, const char *key) { return json_get(object, key)->str.data; }

// A record as the trainer reads it, rendered with a template's source.
static void encode(ChatTokens *out, const Golden *g, const char *source, const Json *record, LearntTurns learnt,
                   const char *name) {
    Err err = {0};
    ChatTemplate *c;
    Dialog d = {0};
    ASSERT_OK(chat_template_new(&c, g->t, source, &err), &err);
    int rc = dialog_read(&d, record, FORMAT_MESSAGES, true, false, &err);
    ChatInput in = {&d.messages, d.tools, .extra = d.extra, .learnt = learnt};
    if (!rc) rc = chat_tokenize(out, c, g->t, &in, &err);
    if (rc) fail_msg("%s: %s", name, err.msg);
    dialog_clear(&d);
    chat_template_free(c);
}

static void test_chat_masks_are_those_of_generation_tags(void **state) {
    (void)state;
    Golden g = golden_open();
    const Json *masks = json_get(json_root(g.doc), "masks");
    int bad = 0;
    for (size_t i = 0; i < masks->count; i++) {
        const Json *m = &masks->items[i];
        ChatTokens tokens = {0};
        encode(&tokens, &g, text_of(m, "template"), json_get(m, "record"), (LearntTurns){0}, text_of(m, "name"));
        char *got = marked(&tokens, g.t);
        if (strcmp(got, text_of(m, "marked")) != 0 && ++bad)
            print_error("%s: found\n%s\nexpected\n%s\n", text_of(m, "name"), got, text_of(m, "marked"));
        mem_free(got);
        chat_tokens_clear(&tokens);
    }
    assert_int_equal(bad, 0);
    assert_true(masks->count >= 30);
    golden_close(&g);
}

static LearntTurns learnt_of(const Json *c) {
    const Json *roles = json_get(c, "roles_to_train");
    LearntTurns l = {.roles = roles->count ? 0 : LEARN_BY_FLAG};
    for (size_t i = 0; i < roles->count; i++)
        for (int k = 0; k < ROLE_COUNT; k++)
            if (json_is_string(&roles->items[i], ENUM_WORDS(LEARNT_ROLES)[k].word)) l.roles |= 1u << k;
    while (strcmp(ENUM_WORDS(TRAIN_ON_EOS)[l.eos].word, text_of(c, "train_on_eos")) != 0) l.eos++;
    return l;
}

static void test_chat_roles_and_end_tokens_are_those_of_axolotl(void **state) {
    (void)state;
    Golden g = golden_open();
    const Json *learnt = json_get(json_root(g.doc), "learnt");
    int bad = 0;
    for (size_t i = 0; i < learnt->count; i++) {
        const Json *l = &learnt->items[i], *cases = json_get(l, "cases");
        for (size_t k = 0; k < cases->count; k++) {
            const Json *c = &cases->items[k];
            ChatTokens tokens = {0};
            encode(&tokens, &g, text_of(l, "template"), json_get(l, "record"), learnt_of(c), text_of(l, "name"));
            char *got = marked(&tokens, g.t);
            if (strcmp(got, text_of(c, "marked")) != 0 && ++bad)
                print_error("%s, %s: found\n%s\nexpected\n%s\n", text_of(l, "name"), text_of(c, "train_on_eos"), got,
                            text_of(c, "marked"));
            mem_free(got);
            chat_tokens_clear(&tokens);
        }
    }
    assert_int_equal(bad, 0);
    assert_int_equal(learnt->count, 8);
    golden_close(&g);
}

static void test_chat_forms_are_those_that_the_template_reads(void **state) {
    (void)state;
    Golden g = golden_open();
    const Json *forms = json_get(json_root(g.doc), "forms");
    int bad = 0;
    for (size_t i = 0; i < forms->count; i++) {
        const Json *f = &forms->items[i], *records = json_get(f, "records");
        for (size_t k = 0; k < records->count; k++) {
            ChatTokens tokens = {0};
            encode(&tokens, &g, text_of(f, "template"), &records->items[k], (LearntTurns){0}, text_of(f, "name"));
            if (strcmp(tokens.text, text_of(f, "text")) != 0 && ++bad)
                print_error("%s, record %zu: found\n%s\nexpected\n%s\n", text_of(f, "name"), k, tokens.text,
                            text_of(f, "text"));
            chat_tokens_clear(&tokens);
        }
    }
    assert_int_equal(bad, 0);
    assert_true(forms->count >= 20);
    golden_close(&g);
}

TEST_MAIN(TEST(test_chat_masks_are_those_of_generation_tags), TEST(test_chat_roles_and_end_tokens_are_those_of_axolotl),
          TEST(test_chat_forms_are_those_that_the_template_reads))
