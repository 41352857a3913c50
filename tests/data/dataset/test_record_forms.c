// Forms of records that other tools write: texts with labels.
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
    ASSERT_OK(prompt_cases_load(&cases, &n, 0, &b.o, b.t, NULL, &err), &err);
    assert_int_equal(n, 1);
    assert_string_equal(cases[0].reference, "bc");
    assert_string_equal(cases[0].prompt, "qa w");
    assert_int_equal(cases[0].count, 7);
    prompt_cases_free(cases, n);
    bench_free(&b);
}

TEST_MAIN(SCRATCH_TEST(test_segments_are_learnt_by_label), SCRATCH_TEST(test_segments_are_tokenised_alone),
          SCRATCH_TEST(test_segments_that_cannot_stop_are_counted), SCRATCH_TEST(test_segments_refuses),
          SCRATCH_TEST(test_segments_as_prompts))
