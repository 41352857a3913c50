// chat: what is supervised, written as text with [[ ]] around it, over a tokenizer of single bytes and control tokens,
// and over SmolLM2's own. Templates: tests/golden/templates.
#include "test.h"

#include "byte_tokenizer.h"
#include "fileio.h"
#include "model_file.h"
#include "path.h"
#include "tokenizer_files.h"

static char *template_text(const char *name) {
    char *path = mem_printf(TEST_DIR "/golden/templates/%s.jinja", name), *text;
    size_t len;
    Err err = {0};
    ASSERT_OK(file_read(&text, &len, path, 1 << 20, &err), &err);
    mem_free(path);
    return text;
}

static void check_inputs(const Tokenizer *t, const char *source, const char *record, bool all, const char *want) {
    Err err = {0};
    JsonDoc *doc;
    ChatTemplate *c;
    ChatTokens ct = {0};
    ASSERT_OK(json_parse(&doc, record, strlen(record), "record", 0, &err), &err);
    ASSERT_OK(chat_template_new(&c, t, source, &err), &err);
    const Json *r = json_root(doc);
    ChatInput in = {json_get(r, "messages"), json_get(r, "tools"), json_get(r, "extra"), .train_on_inputs = all};
    ASSERT_OK(chat_tokenize(&ct, c, t, &in, &err), &err);
    char *got = marked(&ct, t);
    assert_string_equal(got, want);
    size_t count = 0;
    for (size_t i = 0; i < ct.count; i++) count += ct.supervised[i];
    assert_int_equal(ct.supervised_count, count);
    mem_free(got);
    chat_tokens_clear(&ct);
    chat_template_free(c);
    json_free(doc);
}

static void check_with(const Tokenizer *t, const char *source, const char *record, const char *want) {
    check_inputs(t, source, record, false, want);
}

// As check_with, with the byte tokenizer and the template of that name.
static void check(const char *name, const char *record, const char *want) {
    Tokenizer *t = byte_tokenizer(NULL, 0);
    char *source = template_text(name);
    check_with(t, source, record, want);
    mem_free(source);
    tokenizer_free(t);
}

#define SYSTEM "{\"role\":\"system\",\"content\":\"Be kind\"}"
#define USER(text) "{\"role\":\"user\",\"content\":\"" text "\"}"
#define ASSISTANT(text) "{\"role\":\"assistant\",\"content\":\"" text "\"}"
#define CALL                                                                                                           \
    "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"123456789\",\"type\":\"function\","            \
    "\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1}}}]}"
#define RESULT "{\"role\":\"tool\",\"content\":\"7\",\"tool_call_id\":\"123456789\"}"
#define RECORD(messages) "{\"messages\":[" messages "]}"

static void test_chat_supervises_every_assistant_turn(void **state) {
    (void)state;
    check(
        "chatml", RECORD(SYSTEM "," USER("a") "," ASSISTANT("b") "," USER("c") "," ASSISTANT("d")),
        "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>]]\n"
        "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[[d<|im_end|>]]\n");
    check("llama-3", RECORD(USER("a") "," ASSISTANT("b")),
          "<s><|start_header_id|>user<|end_header_id|>\n\na<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
          "[[b<|eot_id|>]]");
    check("gemma-3", RECORD(SYSTEM "," USER("a") "," ASSISTANT("b")),
          "<s><start_of_turn>user\nBe kind\n\na<end_of_turn>\n<start_of_turn>model\n[[b<end_of_turn>]]\n");
    check("zephyr", RECORD(USER("a") "," ASSISTANT("b")), "<|user|>\na</s>\n<|assistant|>\n[[b</s>]]\n");
    check("mistral-v1", RECORD(USER("a") "," ASSISTANT("b") "," USER("c") "," ASSISTANT("d")),
          "<s>[INST] a [/INST][[b</s>]] [INST] c [/INST][[d</s>]] ");
}

// '<|' + role + '|>' makes a control token although the role is data; without add_generation_prompt these two write an
// end-of-text token, which is not the turn's.
static void test_chat_forms_control_tokens_from_roles(void **state) {
    (void)state;
    check("phi-4-mini", RECORD(USER("a") "," ASSISTANT("b")), "<|user|>a<|end|><|assistant|>[[b<|end|>]]</s>");
    check("phi-3", RECORD(USER("a") "," ASSISTANT("b")), "<|user|>\na<|end|>\n<|assistant|>\n[[b<|end|>]]\n</s>");
    // a role that is no role stays text
    Tokenizer *t = byte_tokenizer(NULL, 0);
    check_with(t, "{% for m in messages %}{{ '<|' + m.role + '|>' }}{% endfor %}",
               "{\"messages\":[{\"role\":\"im_end\"}]}", "<|im_end|>");
    Err err = {0};
    JsonDoc *doc;
    ChatTemplate *c;
    ChatTokens ct = {0};
    const char *record = "[{\"role\":\"im_end\"},{\"role\":\"user\"}]";
    ASSERT_OK(json_parse(&doc, record, strlen(record), "record", 0, &err), &err);
    ASSERT_OK(chat_template_new(&c, t, "{% for m in messages %}{{ '<|' + m.role + '|>' }}{% endfor %}", &err), &err);
    ASSERT_OK(chat_tokenize(&ct, c, t, &(ChatInput){.messages = json_root(doc)}, &err), &err);
    assert_int_equal(ct.count, strlen("<|im_end|>") + 1);
    assert_int_equal(ct.ids[ct.count - 1], tokenizer_find(t, "<|user|>"));
    chat_tokens_clear(&ct);
    chat_template_free(c);
    json_free(doc);
    tokenizer_free(t);
}

static void test_chat_supervises_what_the_template_writes_into_a_call(void **state) {
    (void)state;
    check("qwen2.5", RECORD(SYSTEM "," USER("a") "," CALL "," RESULT "," ASSISTANT("b")),
          "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
          "[[<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call><|im_end|>]]\n"
          "<|im_start|>user\n<tool_response>\n7\n</tool_response><|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>]]\n");
    check(
        "llama-3.1",
        "{\"messages\":[" SYSTEM
        "," USER("a") ",{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{"
                      "\"name\":\"f\",\"arguments\":{\"x\":1}}}]}],\"extra\":{\"date_string\":\"D\"}}",
        "<s><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday Date: D\n\n"
        "Be kind<|eot_id|><|start_header_id|>user<|end_header_id|>\n\na<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n[[{\"name\": \"f\", \"parameters\": {\"x\": 1}}<|eot_id|>]]");
    check("mistral-v3-tools", RECORD(USER("a") "," CALL "," RESULT "," ASSISTANT("b")),
          "<s>[INST] a[/INST][[[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"x\": 1}, \"id\": \"123456789\"}]</s>]]"
          "[TOOL_RESULTS] {\"content\": 7, \"call_id\": \"123456789\"}[/TOOL_RESULTS][[ b</s>]]");
}

// Qwen 3 drops the thoughts of earlier turns and writes an empty one into the last.
static void test_chat_follows_templates_that_rewrite(void **state) {
    (void)state;
    check("qwen3", RECORD(USER("a") "," ASSISTANT("<think>\\nT\\n</think>\\n\\nb") "," USER("c") "," ASSISTANT("d")),
          "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>]]\n<|im_start|>user\nc<|im_end|>\n"
          "<|im_start|>assistant\n[[<think>\n\n</think>\n\nd<|im_end|>]]\n");
    check("qwen3", RECORD(USER("a") "," ASSISTANT("<think>\\nT\\n</think>\\n\\nb")),
          "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[<think>\nT\n</think>\n\nb<|im_end|>]]\n");
    // without thinking the empty thought is part of the generation prompt
    check("qwen3", "{\"messages\":[" USER("a") "," ASSISTANT("b") "],\"extra\":{\"enable_thinking\":false}}",
          "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n[[b<|im_end|>]]\n");
}

static void test_chat_text_of_data_is_never_a_control_token(void **state) {
    (void)state;
    Tokenizer *t = byte_tokenizer(NULL, 0);
    char *source = template_text("chatml");
    const char *record = "[" USER("<|im_end|><think>") "," ASSISTANT("x<|im_end|>y</think>") "]";
    Err err = {0};
    JsonDoc *doc;
    ChatTemplate *c;
    ChatTokens ct = {0};
    ASSERT_OK(json_parse(&doc, record, strlen(record), "record", 0, &err), &err);
    ASSERT_OK(chat_template_new(&c, t, source, &err), &err);
    ASSERT_OK(chat_tokenize(&ct, c, t, &(ChatInput){.messages = json_root(doc)}, &err), &err);
    int32_t im_end = tokenizer_find(t, "<|im_end|>");
    assert_int_equal(chat_template_end_of_turn(c), im_end);
    size_t controls = 0, thoughts = 0;
    for (size_t i = 0; i < ct.count; i++) {
        controls += ct.ids[i] == im_end;
        thoughts += ct.ids[i] == tokenizer_find(t, "<think>") || ct.ids[i] == tokenizer_find(t, "</think>");
    }
    assert_int_equal(controls, 2);
    assert_int_equal(thoughts, 2);
    char *got = marked(&ct, t);
    assert_string_equal(got, "<|im_start|>user\n<|im_end|><think><|im_end|>\n<|im_start|>assistant\n"
                             "[[x<|im_end|>y</think><|im_end|>]]\n");
    mem_free(got);
    chat_tokens_clear(&ct);
    chat_template_free(c);
    json_free(doc);
    mem_free(source);
    tokenizer_free(t);
}

static void test_chat_leaves_out_untrained_messages(void **state) {
    (void)state;
    check("chatml",
          RECORD(USER("a") ",{\"role\":\"assistant\",\"content\":\"b\",\"train\":false}," USER(
              "c") ",{\"role\":\"assistant\",\"content\":\"d\",\"weight\":0}," USER("e") ",{\"role\":\"assistant\","
                                                                                         "\"content\":\"f\",\"weight\":"
                                                                                         "1}"),
          "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n"
          "<|im_start|>assistant\nd<|im_end|>\n<|im_start|>user\ne<|im_end|>\n<|im_start|>assistant\n"
          "[[f<|im_end|>]]\n");
    check("generation",
          RECORD(USER("a") ",{\"role\":\"assistant\",\"content\":\"b\",\"train\":false}," USER("c") "," ASSISTANT("d")),
          "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n"
          "<|im_start|>assistant\n[[d<|im_end|>\n]]");
}

#define SAYS(key, value, text) "{\"role\":\"assistant\",\"content\":\"" text "\",\"" key "\":" value "}"

// Every spelling of it, with the answer that it leaves out and the one that it does not.
static void test_chat_reads_the_masks_of_other_trainers(void **state) {
    (void)state;
    static const struct {
        const char *key, *out, *in;
    } keys[] = {{"train", "false", "true"},  {"training", "false", "true"}, {"trainable", "0", "1"},
                {"weight", "0.0", "1.0"},    {"loss", "false", "true"},     {"loss_mask", "0", "1"},
                {"masked", "true", "false"}, {"mask", "true", "false"}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char *record = mem_printf(
            "{\"messages\":[" USER("a") "," SAYS("%s", "%s", "b") "," USER("c") "," SAYS("%s", "%s", "d") "]}",
            keys[i].key, keys[i].out, keys[i].key, keys[i].in);
        check("chatml", record,
              "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n"
              "<|im_start|>assistant\n[[d<|im_end|>]]\n");
        mem_free(record);
    }
    check("chatml", RECORD(USER("a") ",{\"role\":\"assistant\",\"content\":\"b\",\"train\":true,\"masked\":true}"),
          "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n");
}

// train_on_inputs trains on all roles, but not on what a message excludes.
static void test_chat_masks_hold_with_train_on_inputs(void **state) {
    (void)state;
    Tokenizer *t = byte_tokenizer(NULL, 0);
    char *source = template_text("chatml");
    check_inputs(t, source,
                 RECORD("{\"role\":\"user\",\"content\":\"a\",\"train\":false}," SAYS("weight", "0", "b") "," USER(
                     "c") "," ASSISTANT("d")),
                 true,
                 "[[<|im_start|>user\n]]a[[<|im_end|>\n<|im_start|>assistant\n]]b<|im_end|>[[\n<|im_start|>user\nc"
                 "<|im_end|>\n<|im_start|>assistant\nd<|im_end|>\n]]");
    mem_free(source);
    tokenizer_free(t);
}

static void test_chat_empty_answers_end_their_turn(void **state) {
    (void)state;
    check("chatml", RECORD(USER("a") "," ASSISTANT("") "," USER("b") "," ASSISTANT("")),
          "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[<|im_end|>]]\n<|im_start|>user\nb<|im_end|>\n"
          "<|im_start|>assistant\n[[<|im_end|>]]\n");
    check("mistral-v1", RECORD(USER("a") "," ASSISTANT("") "," USER("c") "," ASSISTANT("d")),
          "<s>[INST] a [/INST][[</s>]] [INST] c [/INST][[d</s>]] ");
    check("llama-3", RECORD(USER("a") "," ASSISTANT("  ") "," USER("b") "," ASSISTANT("c")),
          "<s><|start_header_id|>user<|end_header_id|>\n\na<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
          "[[<|eot_id|>]]<|start_header_id|>user<|end_header_id|>\n\nb<|eot_id|>"
          "<|start_header_id|>assistant<|end_header_id|>\n\n[[c<|eot_id|>]]");
}

static void test_chat_dropped_messages_supervise_nothing(void **state) {
    (void)state;
    Tokenizer *t = byte_tokenizer(NULL, 0);
    check_with(t,
               "{% for m in messages %}{% if m.role == 'user' %}{{ '<|im_start|>user\n' + m.content + '<|im_end|>\n' }}"
               "{% endif %}{% endfor %}",
               RECORD(USER("a") "," ASSISTANT("b") "," USER("c")),
               "<|im_start|>user\na<|im_end|>\n<|im_start|>user\nc<|im_end|>\n");
    tokenizer_free(t);
}

static void test_chat_generation_spans_decide(void **state) {
    (void)state;
    check("generation", RECORD(SYSTEM "," USER("a") "," CALL),
          "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
          "[[<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call><|im_end|>\n]]");
}

// One token for the header's line end and the answer's: it has text of the answer in it, so it is supervised.
static void test_chat_token_over_the_border_is_supervised(void **state) {
    (void)state;
    static const char *const merges[] = {"\xC4\x8A \xC4\x8A", "\xC4\x8A\xC4\x8A"}; // two line ends
    Tokenizer *t = byte_tokenizer(merges, 2);
    char *source = template_text("chatml");
    check_with(t, source, RECORD(USER("a") "," ASSISTANT("\\n\\nb")),
               "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant[[\n\n\nb<|im_end|>]]\n");
    mem_free(source);
    tokenizer_free(t);
}

static void test_chat_trains_on_inputs(void **state) {
    (void)state;
    Tokenizer *t = byte_tokenizer(NULL, 0);
    char *source = template_text("chatml");
    const char *record = "[" USER("a") "]";
    Err err = {0};
    JsonDoc *doc;
    ChatTemplate *c;
    ChatTokens ct = {0};
    ASSERT_OK(json_parse(&doc, record, strlen(record), "record", 0, &err), &err);
    ASSERT_OK(chat_template_new(&c, t, source, &err), &err);
    ASSERT_OK(
        chat_tokenize(&ct, c, t,
                      &(ChatInput){.messages = json_root(doc), .add_generation_prompt = true, .train_on_inputs = true},
                      &err),
        &err);
    char *got = marked(&ct, t);
    assert_string_equal(got, "[[<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n]]");
    assert_int_equal(ct.supervised_count, ct.count);
    mem_free(got);
    ASSERT_OK(chat_tokenize(&ct, c, t, &(ChatInput){.messages = json_root(doc), .add_generation_prompt = true}, &err),
              &err);
    assert_int_equal(ct.supervised_count, 0);
    chat_tokens_clear(&ct);
    chat_template_free(c);
    json_free(doc);
    mem_free(source);
    assert_int_equal(chat_template_new(&c, t, NULL, &err), -1); // the tokenizer has no template
    assert_non_null(strstr(err.msg, "no chat template"));
    tokenizer_free(t);
}

static void test_chat_smollm2(void **state) {
    (void)state;
    const char *path = model_file();
    if (!path) skip();
    Gguf *g;
    Tokenizer *t;
    Err err = {0};
    ASSERT_OK(gguf_open(&g, path, &err), &err);
    ASSERT_OK(tokenizer_from_gguf(&t, g, &err), &err);
    check_with(t, NULL, RECORD(USER("Hi <|im_end|>") "," ASSISTANT("Hello!") "," USER("Bye") "," ASSISTANT("")),
               "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
               "<|im_start|>user\nHi <|im_end|><|im_end|>\n<|im_start|>assistant\n[[Hello!<|im_end|>]]\n"
               "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n[[<|im_end|>]]\n");
    tokenizer_free(t);
    gguf_close(g);
}

TEST_MAIN(TEST(test_chat_supervises_every_assistant_turn), TEST(test_chat_forms_control_tokens_from_roles),
          TEST(test_chat_supervises_what_the_template_writes_into_a_call),
          TEST(test_chat_follows_templates_that_rewrite), TEST(test_chat_text_of_data_is_never_a_control_token),
          TEST(test_chat_leaves_out_untrained_messages), TEST(test_chat_reads_the_masks_of_other_trainers),
          TEST(test_chat_masks_hold_with_train_on_inputs), TEST(test_chat_empty_answers_end_their_turn),
          TEST(test_chat_dropped_messages_supervise_nothing), TEST(test_chat_generation_spans_decide),
          TEST(test_chat_token_over_the_border_is_supervised), TEST(test_chat_trains_on_inputs),
          TEST(test_chat_smollm2))
