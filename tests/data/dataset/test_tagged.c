// token classification data: words with tags and texts with entities to labelled tokens; truncation; what is refused.
#include "dataset_fixture.h"

static Bench tagged_bench(bool add_bos) {
    Bench b = bench_new(add_bos);
    b.o.classification = true;
    b.o.problem = PROBLEM_TOKENS;
    return b;
}

// Every sample as "tokens=labels|", a labelled token in [[]].
static void check_tags(const Dataset *d, const Bench *b, const char *want) {
    AUTO_STR StrBuf out = {0};
    assert_int_equal(d->problem, PROBLEM_TOKENS);
    for (int64_t i = 0; i < d->count; i++) {
        Sample s = dataset_sample(d, i);
        sample_show(&out, &s, b->t, "[", "]");
        str_puts(&out, "=");
        assert_int_equal(s.supervised_count, s.n_labels);
        for (int64_t k = 0; k < s.n_labels; k++)
            str_printf(&out, "%s%s", k ? "," : "", d->labels->names[dataset_label(d, &s, k)]);
        str_puts(&out, "|");
    }
    assert_string_equal(out.data, want);
}

#define WORDS                                                                                                          \
    "{\"tokens\":[\"ab\",\"c\"],\"ner_tags\":[\"B-X\",\"O\"]}\n{\"words\":[\"d\",\"ef\",\"g\"],\"tags\":[\"O\",-100,"  \
    "\"O\"],\"id\":7}\n"

static void test_tagged_labels_the_first_token_of_a_word(void **state) {
    (void)state;
    static char *names[] = {"O", "B-X", "I-X"};
    static const LabelList named = {names, 3, 3};
    Bench b = tagged_bench(true);
    for (int run = 0; run < 2; run++) {
        Dataset *d = open_text(&b, WORDS);
        assert_true(d->from_cache == run);
        check_tags(d, &b, "<s>[a]b[c]=B-X,O|<s>[d]ef[g]=O,O|");
        assert_int_equal(d->stats.supervised, 4);
        assert_int_equal(d->label_counts[1], 3); // O
        RowPlan *p = row_plan_new(d, NULL, d->count, 64, true);
        Row row = {0};
        row_fill_several(&row, d, p, (int64_t[]){0}, 1, 0);
        assert_int_equal(row.scored, 4);
        assert_memory_equal(row.position, ((const int32_t[]){1, 4, 6, 8}), 4 * sizeof(int32_t));
        assert_memory_equal(row.target, ((const int32_t[]){1, 1, 0, 1}), 4 * sizeof(int32_t));
        row_clear(&row);
        row_plan_free(p);
        dataset_close(d);
    }
    b.o.named = &named;
    Dataset *d = open_text(&b, "{\"tokens\":[\"ab\",\"c\"],\"labels\":[1,0]}\n");
    check_tags(d, &b, "<s>[a]b[c]=B-X,O|");
    assert_string_equal(d->labels->names[2], "I-X"); // all names, in their order
    dataset_close(d);
    bench_free(&b);
}

static void test_tagged_labels_every_token_of_a_text(void **state) {
    (void)state;
    Bench b = tagged_bench(false);
    Dataset *d = open_text(&b, "{\"text\":\"a bc \xC3\xA9\",\"entities\":[{\"start\":2,\"end\":4,\"label\":\"X\"},"
                               "{\"start\":5,\"end\":6,\"label\":\"X\"}]}\n{\"text\":\"a\",\"entities\":[]}\n");
    // a space covers nothing; both bytes of the last character are of the second entity
    check_tags(d, &b, "[a bc \xC3\xA9]=O,O,B-X,I-X,O,B-X,I-X|[a]=O|");
    dataset_close(d);
    bench_free(&b);
}

// Labels that truncation removes are counted, and the records named.
static void test_tagged_counts_lost_labels(void **state) {
    (void)state;
    Bench b = tagged_bench(true);
    b.o.max_seq_length = 4;
    b.o.truncation = TRUNCATION_TRUNCATE;
    Dataset *d = open_text(&b, "{\"tokens\":[\"a\",\"bc\",\"d\"],\"tags\":[\"O\",\"B-X\",\"O\"]}\n"
                               "{\"tokens\":[\"a\",\"bcd\"],\"tags\":[\"O\",\"B-X\"]}\n");
    check_tags(d, &b, "<s>[ab]c=O,B-X|<s>[ab]c=O,B-X|");
    assert_int_equal(d->stats.truncated, 2);
    assert_int_equal(d->stats.answers_cut, 1);
    assert_int_equal(d->stats.first_cut[0], 1);
    dataset_close(d);
    b.o.truncation = TRUNCATION_DROP;
    d = open_text(&b, "{\"tokens\":[\"a\",\"bc\",\"d\"],\"tags\":[\"O\",\"B-X\",\"O\"]}\n"
                      "{\"tokens\":[\"a\",\"b\"],\"tags\":[\"O\",\"B-X\"]}\n{\"tokens\":[],\"tags\":[]}\n");
    check_tags(d, &b, "<s>[ab]=O,B-X|");
    assert_int_equal(d->stats.dropped_long, 1);
    assert_int_equal(d->stats.skipped_unsupervised, 1);
    dataset_close(d);
    bench_free(&b);
}

static void test_tagged_refuses_by_file_and_line(void **state) {
    (void)state;
    static const struct {
        const char *second, *message;
    } cases[] = {
        {"{\"tokens\":[\"a\",\"b\"],\"tags\":[\"O\"]}", "d.jsonl:2: tags: found 1 tag for 2 words; expected one for"},
        {"{\"tokens\":[\"a\",\"\"],\"tags\":[\"O\",\"B-X\"]}",
         "d.jsonl:2: tags: element 1 is of a word without a token"},
        {"{\"tokens\":[\"\",\"a\"],\"tags\":[\"B-X\",\"O\"]}",
         "d.jsonl:2: tags: element 0 is of a word without a token"},
        {"{\"tokens\":[\"a\"],\"tags\":[-1]}", "d.jsonl:2: tags: element 0 is -1; expected a text or an integer"},
        {"{\"tokens\":[\"a\",\"b\"],\"tags\":[\"O\",1]}", "d.jsonl:2: tags: element 1 is an integer; expected a text"},
        {"{\"tokens\":[\"a\"],\"tags\":[3]}", "d.jsonl:2: label: found the integer 3; expected text"},
        {"{\"tokens\":[\"a\"],\"tags\":[\"\"]}", "d.jsonl:2: tags: found a text of 0 bytes"},
        {"{\"tokens\":[1],\"tags\":[\"O\"]}", "d.jsonl:2: tokens: element 0 is an integer; expected a text"},
        {"{\"tokens\":\"a\",\"tags\":[\"O\"]}", "d.jsonl:2: tokens: found a string; expected a list of words"},
        {"{\"tokens\":[\"a\"]}", "d.jsonl:2: found a record with the keys {tokens}; expected tokens + tags"},
        {"{\"text\":\"ab\",\"entities\":[{\"start\":0,\"end\":3,\"label\":\"X\"}]}",
         "d.jsonl:2: entities: element 0 is characters 0 to 3; expected a part of the text"},
        {"{\"text\":\"ab\",\"entities\":[{\"start\":1,\"end\":1,\"label\":\"X\"}]}", "element 0 is characters 1 to 1"},
        {"{\"text\":\"ab\",\"entities\":[{\"start\":0,\"end\":1}]}",
         "d.jsonl:2: entities: label of element 0 is nothing"},
        {"{\"text\":\"ab\",\"entities\":[{\"start\":-1,\"end\":1,\"label\":\"X\"}]}",
         "start of element 0 is an integer"},
        {"{\"text\":\"ab\",\"entities\":[{\"start\":0,\"end\":2,\"label\":\"X\"},{\"start\":1,\"end\":2,\"label\":"
         "\"Y\"}]}",
         "d.jsonl:2: entities: elements 0 and 1 overlap"},
        {"{\"text\":\"a b\",\"entities\":[{\"start\":1,\"end\":2,\"label\":\"X\"}]}", "element 0 has no token"},
        {"[1]", "d.jsonl:2: found an array; expected a record"},
    };
    Bench b = tagged_bench(false);
    Dataset *d;
    Err err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_FREE char *text = mem_printf("{\"tokens\":[\"a\",\"b\"],\"tags\":[\"O\",\"B-X\"]}\n%s\n", cases[i].second);
        put_text("d.jsonl", text);
        ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err, cases[i].message);
    }
    put_text("d.jsonl", "{\"tokens\":[\"a\"],\"tags\":[\"O\"]}\n");
    ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err, "d.jsonl: found only the label \"O\"");
    bench_free(&b);
}

TEST_MAIN(SCRATCH_TEST(test_tagged_labels_the_first_token_of_a_word),
          SCRATCH_TEST(test_tagged_labels_every_token_of_a_text), SCRATCH_TEST(test_tagged_counts_lost_labels),
          SCRATCH_TEST(test_tagged_refuses_by_file_and_line))
