// named_templates: what each template writes and what is learnt of it, against golden/make_named_templates_golden.py;
// names, missing tokens, BOS before plain text.
#include "test.h"

#include "byte_tokenizer.h"
#include "fileio.h"
#include "named_templates.h"

static void check_case(Tokenizer *t, const Json *c) {
    Err err = {0};
    char *source;
    ChatTemplate *chat;
    ChatTokens tokens = {0};
    const char *name = json_get(c, "name")->str.data;
    int n = named_template_find(name);
    assert_true(n >= 0);
    ASSERT_OK(named_template_source(&source, (NamedTemplate)n, t, &err), &err);
    ASSERT_OK(chat_template_new(&chat, t, source, &err), &err);
    ASSERT_OK(chat_tokenize(&tokens, chat, t, &(ChatInput){.messages = json_get(c, "messages")}, &err), &err);
    char *got = marked(&tokens, t);
    if (strcmp(got, json_get(c, "marked")->str.data) != 0)
        fail_msg("%s: found\n%s\nexpected\n%s", name, got, json_get(c, "marked")->str.data);
    assert_false(tokens.cannot_stop);
    assert_string_equal(tokens.unrendered, "");
    mem_free(got);
    mem_free(source);
    chat_tokens_clear(&tokens);
    chat_template_free(chat);
}

static void test_named_templates_write_the_formats_of_their_families(void **state) {
    (void)state;
    char *text;
    size_t len;
    JsonDoc *doc;
    Err err = {0};
    bool seen[NAMED_TEMPLATE_COUNT] = {0};
    Tokenizer *t = byte_tokenizer(NULL, 0);
    ASSERT_OK(file_read(&text, &len, TEST_DIR "/golden/named_templates.json", 1 << 24, &err), &err);
    ASSERT_OK(json_parse(&doc, text, len, "named_templates.json", 1, &err), &err);
    const Json *cases = json_root(doc);
    for (size_t i = 0; i < cases->count; i++) {
        check_case(t, &cases->items[i]);
        seen[named_template_find(json_get(&cases->items[i], "name")->str.data)] = true;
    }
    for (int n = 0; n < NAMED_TEMPLATE_COUNT; n++)
        if (!seen[n]) fail_msg("%s has no case", ENUM_WORDS(NAMED_TEMPLATES)[n].word);
    json_free(doc);
    mem_free(text);
    tokenizer_free(t);
}

static void test_named_templates_names(void **state) {
    (void)state;
    for (int n = 0; n < NAMED_TEMPLATE_COUNT; n++)
        assert_int_equal(named_template_find(ENUM_WORDS(NAMED_TEMPLATES)[n].word), n);
    assert_int_equal(named_template_find("phi_3"), TEMPLATE_PHI3);
    assert_int_equal(named_template_find("gemma3"), TEMPLATE_GEMMA);
    assert_int_equal(named_template_find("none"), -1);
    assert_int_equal(named_template_find(""), -1);
}

static void test_named_templates_need_their_tokens(void **state) {
    (void)state;
    Err err = {0};
    char *source;
    Tokenizer *t = byte_tokenizer(NULL, 0);
    Tokenizer *other = golden_tokenizer("gpt-2");
    ASSERT_REFUSED(named_template_source(&source, TEMPLATE_LLAMA3, other, &err), &err,
                   "chat template llama3: <|start_header_id|> is not a token of the model");
    t->add_bos = true;
    ASSERT_OK(named_template_source(&source, TEMPLATE_ALPACA, t, &err), &err);
    assert_true(strncmp(source, "{{ bos_token }}{% set system", 28) == 0);
    mem_free(source);
    t->add_bos = false;
    t->eos = -1;
    ASSERT_REFUSED(named_template_source(&source, TEMPLATE_ALPACA, t, &err), &err, "the model has no end token");
    t->bos = -1;
    ASSERT_REFUSED(named_template_source(&source, TEMPLATE_GEMMA, t, &err), &err, "the model has no BOS token");
    tokenizer_free(other);
    tokenizer_free(t);
}

TEST_MAIN(TEST(test_named_templates_write_the_formats_of_their_families), TEST(test_named_templates_names),
          TEST(test_named_templates_need_their_tokens))
