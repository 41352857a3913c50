// Forms of records that other tools write: texts with labels, contents of parts.
#include "dataset_fixture.h"
#include "prompt_cases.h"

static void check_record(Bench *b, const char *record, const char *want) {
    Dataset *d;
    Err err;
    b->files[0] = "d.jsonl";
    put_text("d.jsonl", record);
    if (bench_open(&d, b, true, &err)) fail_msg("%s: %s", record, err.msg);
    char *got = shown(d, b->t);
    if (strcmp(got, want) != 0) fail_msg("%s: got\n%s\nexpected\n%s", record, got, want);
    mem_free(got);
    dataset_close(d);
}

static void check_refused(Bench *b, const char *record, const char *part) {
    Dataset *d;
    Err err = {0};
    b->files[0] = "d.jsonl";
    put_text("d.jsonl", record);
    ASSERT_REFUSED(bench_open(&d, b, true, &err), &err, part);
}

// ---- segments ----

#define SEGMENT(text, label) "{\"text\":\"" text "\",\"label\":" label "}"
#define SEGMENTS(list) "{\"segments\":[" list "]}"

static void test_segments_are_learnt_by_label(void **state) {
    (void)state;
    Bench b = bench_new(true); // nothing is added to the texts
    check_record(&b,
                 SEGMENTS(SEGMENT("<s>ab", "false") "," SEGMENT("cd</s>", "true") "," SEGMENT("e", "false") "," SEGMENT(
                     "", "true") "," SEGMENT("f</s>", "true")),
                 "<s>ab[[cd</s>]]e[[f</s>]]|");
    check_record(&b, SEGMENTS(SEGMENT("ab", "true") "," SEGMENT("c</s>", "true")),
                 "a[[bc</s>]]|"); // not the first token
    b.o.train_on_inputs = true;
    check_record(&b, SEGMENTS(SEGMENT("<s>ab", "false") "," SEGMENT("cd</s>", "true")), "<s>[[abcd</s>]]|");
    b.o.train_on_inputs = false;
    b.o.parse_special = PARSE_SPECIAL_OFF;
    check_record(&b, SEGMENTS(SEGMENT("a", "false") "," SEGMENT("</s>", "true")), "a[[</s>]]|");
    bench_free(&b);
}

// No token is made of two texts, and each text begins as a text of its own.
static void test_segments_are_tokenised_alone(void **state) {
    (void)state;
    Bench b = bench_new(false);
    tokenizer_free(b.t);
    b.t = golden_tokenizer("llama-bpe");
    TokenIds alone = {0};
    Dataset *d;
    Err err;
    tokenizer_encode(b.t, "the", 3, NULL, true, &alone);
    tokenizer_encode(b.t, "re is", 5, NULL, true, &alone);
    put_text("d.jsonl", SEGMENTS(SEGMENT("the", "false") "," SEGMENT("re is", "true")));
    ASSERT_OK(bench_open(&d, &b, false, &err), &err);
    Sample s = dataset_sample(d, 0);
    assert_int_equal(s.count, alone.count);
    assert_memory_equal(s.ids, alone.ids, alone.count * sizeof *alone.ids);
    assert_int_equal(d->stats.cannot_stop, 1);
    token_ids_clear(&alone);
    dataset_close(d);
    bench_free(&b);
}

static void test_segments_that_cannot_stop_are_counted(void **state) {
    (void)state;
    static const struct {
        const char *record;
        int64_t want;
    } cases[] = {{SEGMENTS(SEGMENT("a", "false") "," SEGMENT("b</s>", "true")), 0},
                 {SEGMENTS(SEGMENT("a", "false") "," SEGMENT("b", "true") "," SEGMENT("</s>", "true")), 0},
                 {SEGMENTS(SEGMENT("a", "false") "," SEGMENT("b", "true") "," SEGMENT("</s>", "false")), 1},
                 {SEGMENTS(SEGMENT("a", "false") "," SEGMENT("b", "true")), 1}};
    Bench b = bench_new(false);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Dataset *d;
        Err err;
        put_text("d.jsonl", cases[i].record);
        ASSERT_OK(bench_open(&d, &b, true, &err), &err);
        assert_int_equal(d->stats.format, FORMAT_SEGMENTS);
        assert_int_equal(d->stats.cannot_stop, cases[i].want);
        dataset_close(d);
    }
    bench_free(&b);
}

static void test_segments_refuses(void **state) {
    (void)state;
    Bench b = bench_new(false);
    check_refused(&b, SEGMENTS(SEGMENT("a", "1")),
                  "d.jsonl:1: segments[0].label: found an integer; expected true or false");
    check_refused(&b, SEGMENTS("{\"text\":\"a\"}"), "segments[0].label: found nothing; expected true or false");
    check_refused(&b, SEGMENTS("{\"text\":1,\"label\":true}"), "segments[0].text: found an integer; expected a string");
    check_refused(&b, SEGMENTS("3"), "segments[0].text: found nothing; expected a string");
    check_refused(&b, "{\"segments\":\"a\"}", "segments: ");
    check_refused(&b, "{\"segments\":{}}", "segments: found an object; expected a list");
    check_refused(&b, SEGMENTS(SEGMENT("a", "false")), "found no sample to train on");
    check_refused(&b, SEGMENTS(""), "found no sample to train on");
    bench_free(&b);
}

static void test_segments_as_prompts(void **state) {
    (void)state;
    Bench b = bench_new(false);
    PromptCase *cases;
    int64_t n;
    Err err;
    b.o.files = b.files;
    put_text("d.jsonl",
             SEGMENTS(SEGMENT("<s>q", "false") "," SEGMENT("a</s>", "true") "," SEGMENT(" w ", "false") "," SEGMENT(
                 "b", "true") "," SEGMENT("c</s>", "true")) "\n" SEGMENTS(SEGMENT("a", "true")));
    ASSERT_OK(prompt_cases_load(&cases, &n, &(CaseChoice){0}, &b.o, b.t, NULL, &err), &err);
    assert_int_equal(n, 1);
    assert_string_equal(cases[0].reference, "bc");
    assert_string_equal(cases[0].prompt, "qa w");
    assert_int_equal(cases[0].count, 7);
    prompt_cases_free(cases, n);
    bench_free(&b);
}

// ---- contents of the Gemini API ----

#define TURN(role, parts) "{\"role\":\"" role "\",\"parts\":[" parts "]}"
#define TEXT(text) "{\"text\":\"" text "\"}"
#define CONTENTS(list) "{\"contents\":[" list "]}"
#define USER_A "<|im_start|>user\na<|im_end|>\n"

static void test_gemini_contents_are_messages(void **state) {
    (void)state;
    Bench b = bench_new(false);
    check_record(&b, CONTENTS(TURN("user", TEXT("a")) "," TURN("model", TEXT("b") "," TEXT("c"))),
                 USER_A "<|im_start|>assistant\n[[bc<|im_end|>]]\n|");
    check_record(&b,
                 "{\"systemInstruction\":{\"parts\":[" TEXT("s") "]},\"contents\":[{\"parts\":[" TEXT("a") "]}," TURN(
                     "model", TEXT("b")) "]}",
                 "<|im_start|>system\ns<|im_end|>\n" USER_A "<|im_start|>assistant\n[[b<|im_end|>]]\n|");
    check_record(
        &b, "{\"system_instruction\":\"s\",\"contents\":[" TURN("user", TEXT("a")) "," TURN("model", TEXT("b")) "]}",
        "<|im_start|>system\ns<|im_end|>\n" USER_A "<|im_start|>assistant\n[[b<|im_end|>]]\n|");
    // a turn's other keys mask it, as in messages
    check_record(&b,
                 CONTENTS(TURN("user", TEXT("a")) ",{\"role\":\"model\",\"train\":false,\"parts\":[" TEXT(
                     "b") "]}," TURN("user", TEXT("a")) "," TURN("model", TEXT("d"))),
                 USER_A "<|im_start|>assistant\nb<|im_end|>\n" USER_A "<|im_start|>assistant\n[[d<|im_end|>]]\n|");
    bench_free(&b);
}

// As the same conversation in OpenAI's form.
static void test_gemini_function_calls_are_tool_calls(void **state) {
    (void)state;
    static const char gemini[] =
        "{\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\"}]}],\"contents\":[" TURN("user", TEXT("a")) "," TURN(
            "model",
            TEXT("t") ",{\"functionCall\":{\"name\":\"f\",\"args\":{\"x\":1}}}") "," TURN("user",
                                                                                          "{\"functionResponse\":{"
                                                                                          "\"name\":\"f\","
                                                                                          "\"response\":{\"y\":2}}}"
                                                                                          ",{\"functionResponse\":{"
                                                                                          "\"name\":\"f\","
                                                                                          "\"response\":{\"y\":3}}"
                                                                                          "}") "," TURN("model",
                                                                                                        TEXT("b")) "]}";
    static const char openai[] =
        "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"messages\":[{\"role\":\"user\","
        "\"content\":"
        "\"a\"},{\"role\":\"assistant\",\"content\":\"t\",\"tool_calls\":[{\"type\":\"function\",\"function\":{"
        "\"name\":"
        "\"f\",\"arguments\":{\"x\":1}}}]},{\"role\":\"tool\",\"name\":\"f\",\"content\":{\"y\":2}},{\"role\":\"tool\","
        "\"name\":\"f\",\"content\":{\"y\":3}},{\"role\":\"assistant\",\"content\":\"b\"}]}";
    Bench b = bench_new(false);
    Dataset *d;
    Err err;
    char *text[2];
    b.o.unrendered = UNRENDERED_WARN;
    for (int i = 0; i < 2; i++) {
        put_text("d.jsonl", i ? openai : gemini);
        ASSERT_OK(bench_open(&d, &b, true, &err), &err);
        assert_int_equal(d->stats.format, i ? FORMAT_MESSAGES : FORMAT_GEMINI);
        text[i] = shown(d, b.t);
        dataset_close(d);
    }
    assert_string_equal(text[0], text[1]);
    assert_non_null(strstr(text[0], "<call>{\"name\": \"f\", \"arguments\": {\"x\": 1}}</call>"));
    mem_free(text[0]);
    mem_free(text[1]);
    bench_free(&b);
}

static void test_gemini_refuses(void **state) {
    (void)state;
    Bench b = bench_new(false);
    check_refused(&b, CONTENTS(TURN("user", "{\"inlineData\":{\"mimeType\":\"image/png\"}}")),
                  "d.jsonl:1: contents[0].parts[0]: found a part with inlineData; this version trains on text");
    check_refused(&b, CONTENTS(TURN("bot", TEXT("a"))),
                  "contents[0].role: found bot; expected user, model or function");
    check_refused(&b, CONTENTS(TURN("user", "")), "contents[0].parts: found an empty list; expected a list of parts");
    check_refused(&b, CONTENTS(TURN("user", TEXT("a")) ",{\"role\":\"model\"}"), "contents[1].parts: found nothing");
    check_refused(&b, CONTENTS(TURN("user", "3")), "contents[0].parts[0]: found an integer; expected {\"text\"");
    check_refused(&b, CONTENTS(TURN("user", "{\"text\":3}")), "contents[0].parts[0]: found an integer");
    check_refused(&b, CONTENTS(TURN("user", TEXT("a")) ",3"), "contents[1]: found an integer; expected {\"role\"");
    check_refused(&b, CONTENTS(TURN("user", "{\"functionCall\":{\"name\":\"f\"}}")),
                  "a functionCall in a turn of the user");
    check_refused(&b, CONTENTS(TURN("model", "{\"functionCall\":{}}")), "parts[0].functionCall.name: found nothing");
    check_refused(&b, CONTENTS(TURN("model", "{\"functionCall\":{\"name\":\"f\",\"args\":3}}")),
                  "functionCall.args: found an");
    check_refused(&b, CONTENTS(TURN("user", "{\"functionResponse\":{\"name\":\"f\"}}")),
                  "found no response; expected name");
    check_refused(&b, CONTENTS(TURN("user", TEXT("a") ",{\"functionResponse\":{\"name\":\"f\",\"response\":{}}}")),
                  "found a functionResponse with other parts");
    check_refused(&b,
                  CONTENTS(TURN("user", TEXT("a")) "," TURN("model", "{\"text\":\"t\",\"thought\":true}," TEXT("b"))),
                  "contents[1].reasoning_content: found text that the chat template does not render");
    check_refused(&b, "{\"tools\":[{\"googleSearch\":{}}],\"contents\":[" TURN("user", TEXT("a")) "]}",
                  "tools[0]: found other keys; expected {\"functionDeclarations\"");
    check_refused(&b, CONTENTS(TURN("user", TEXT("a")) "," TURN("model", TEXT(" "))), "found an empty answer");
    bench_free(&b);
}

TEST_MAIN(SCRATCH_TEST(test_segments_are_learnt_by_label), SCRATCH_TEST(test_segments_are_tokenised_alone),
          SCRATCH_TEST(test_segments_that_cannot_stop_are_counted), SCRATCH_TEST(test_segments_refuses),
          SCRATCH_TEST(test_segments_as_prompts), SCRATCH_TEST(test_gemini_contents_are_messages),
          SCRATCH_TEST(test_gemini_function_calls_are_tool_calls), SCRATCH_TEST(test_gemini_refuses))
