// classification data: records to tokens, labels, token types and rows; shortening; what is refused.
#include "dataset_fixture.h"
#include "rows.h"
#include "tokenizer_files.h"

static Bench classify_bench(bool add_bos) {
    Bench b = bench_new(add_bos);
    b.o.classification = true;
    return b;
}

// Every sample as "tokens=label name/index of the second text".
static void check_samples(const Dataset *d, const Bench *b, const char *want) {
    StrBuf out = {0};
    for (int64_t i = 0; i < d->count; i++) {
        Sample s = dataset_sample(d, i);
        sample_show(&out, &s, b->t, "[[", "]]");
        str_printf(&out, "=%s/%d|", d->labels->names[s.label], (int)s.second);
        assert_int_equal(s.supervised_count, 1);
        assert_int_equal(dataset_size(d, i).supervised, 1);
        assert_int_equal(dataset_size(d, i).count, s.count);
    }
    assert_string_equal(out.data, want);
    str_clear(&out);
}

static void test_classify_reads_the_names_of_glue(void **state) {
    (void)state;
    Bench b = classify_bench(false);
    Dataset *d = open_text(
        &b,
        "{\"text\":\"ab\",\"label\":1,\"label_text\":\"x\"}\n{\"sentence\":\"c\",\"label\":0}\n"
        "{\"content\":\"d\",\"label\":2}\n{\"text\":\"e\",\"text_pair\":\"f\",\"label\":0}\n"
        "{\"text\":\"e\",\"text_pair\":null,\"label\":0}\n"
        "{\"sentence1\":\"g\",\"sentence2\":\"h\",\"label\":1}\n{\"premise\":\"i\",\"hypothesis\":\"j\",\"label\":1}\n"
        "{\"question1\":\"k\",\"question2\":\"l\",\"label\":1}\n{\"question\":\"m\",\"sentence\":\"n\",\"label\":1}\n"
        "{\"question\":\"o\",\"passage\":\"<s>\",\"label\":1}\n");
    check_samples(d, &b, "ab=1/2|c=0/1|d=2/1|ef=0/1|e=0/1|gh=1/1|ij=1/1|kl=1/1|mn=1/1|o<s>=1/1|");
    assert_string_equal(dataset_format_name(d->stats.format), "classification");
    assert_int_equal(d->stats.supervised, 10);
    assert_int_equal(d->label_counts[0], 3);
    assert_int_equal(d->label_counts[1], 6);
    assert_int_equal(d->label_counts[2], 1);
    dataset_close(d);
    bench_free(&b);
}

static void test_classify_sorts_labels(void **state) {
    (void)state;
    Bench b = classify_bench(true);
    Dataset *d = open_text(&b, "{\"text\":\"a\",\"label\":\"spam\"}\n{\"text\":\"b\",\"label\":\"ham\"}\n"
                               "{\"text\":\"c\",\"label\":\"\xC3\xA9\"}\n{\"text\":\"d\",\"label\":\"Z\"}\n");
    check_samples(d, &b, "<s>a=spam/2|<s>b=ham/2|<s>c=\xC3\xA9/2|<s>d=Z/2|");
    static const char *const want[] = {"Z", "ham", "spam", "\xC3\xA9"};
    for (size_t i = 0; i < 4; i++) assert_string_equal(d->labels->names[i], want[i]);
    assert_int_equal(dataset_sample(d, 0).label, 2);
    dataset_close(d);
    StrBuf text = {0};
    for (int i = 11; i >= 0; i--) str_printf(&text, "{\"text\":\"a\",\"label\":%d}\n", i);
    d = open_text(&b, text.data); // by value, not "0", "1", "10", "11", "2"
    for (int i = 0; i < 12; i++) assert_int_equal(dataset_sample(d, i).label, 11 - i);
    dataset_close(d);
    str_clear(&text);
    d = open_text(&b,
                  "{\"text\":\"a\",\"label\":true}\n{\"text\":\"b\",\"label\":false}\n{\"text\":\"b\",\"label\":1}\n");
    check_samples(d, &b, "<s>a=1/2|<s>b=0/2|<s>b=1/2|");
    dataset_close(d);
    bench_free(&b);
}

// Integers that are not 0 to n-1, star ratings: their digits are names, in numeric order.
static void test_classify_names_other_integers(void **state) {
    (void)state;
    Bench b = classify_bench(false);
    StrBuf text = {0};
    for (int i = 12; i > 0; i--) str_printf(&text, "{\"text\":\"a\",\"label\":%d}\n", i);
    Dataset *d = open_text(&b, text.data);
    int64_t missing;
    assert_int_equal(d->labels->count, 12);
    assert_string_equal(d->labels->names[9], "10");
    for (int i = 0; i < 12; i++) assert_int_equal(dataset_sample(d, i).label, 11 - i);
    assert_true(label_list_renumbers(d->labels, &missing));
    assert_int_equal(missing, -1);
    dataset_close(d);
    d = open_text(&b, "{\"text\":\"a\",\"label\":7}\n{\"text\":\"b\",\"label\":0}\n{\"text\":\"b\",\"label\":1}\n");
    assert_int_equal(dataset_sample(d, 0).label, 2);
    assert_string_equal(d->labels->names[2], "7");
    assert_true(label_list_renumbers(d->labels, &missing));
    assert_int_equal(missing, 2);
    dataset_close(d);
    d = open_text(&b, "{\"text\":\"a\",\"label\":1}\n{\"text\":\"b\",\"label\":0}\n");
    assert_false(label_list_renumbers(d->labels, &missing));
    dataset_close(d);
    str_clear(&text);
    bench_free(&b);
}

// A validation file: the labels of the training data and no other, in their order, whichever of them occur.
static void test_classify_takes_given_labels(void **state) {
    (void)state;
    static char *names[] = {"yes", "no", "maybe"};
    LabelList labels = {.names = names, .count = 3};
    Bench b = classify_bench(false);
    Err err;
    b.o.labels = &labels;
    Dataset *d = open_text(&b, "{\"text\":\"a\",\"label\":\"no\"}\n{\"text\":\"b\",\"label\":\"no\"}\n");
    assert_int_equal(dataset_sample(d, 0).label, 1);
    assert_int_equal(d->labels->count, 3);
    dataset_close(d);
    d = open_text(&b, "{\"text\":\"a\",\"label\":\"no\"}\n{\"text\":\"b\",\"label\":\"no\"}\n");
    assert_true(d->from_cache);
    dataset_close(d);
    labels.count = 2; // other labels, other ids
    d = open_text(&b, "{\"text\":\"a\",\"label\":\"no\"}\n{\"text\":\"b\",\"label\":\"no\"}\n");
    assert_false(d->from_cache);
    dataset_close(d);
    put_text("d.jsonl", "{\"text\":\"a\",\"label\":\"no\"}\n{\"text\":\"b\",\"label\":\"never\"}\n");
    ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err,
                   "d.jsonl:2: label: found \"never\"; expected a label of the training data: yes, no");
    bench_free(&b);
}

static void test_classify_refuses_by_file_and_line(void **state) {
    (void)state;
    static const struct {
        const char *second, *message;
    } cases[] = {
        {"{\"text\":\"a\"}", "d.jsonl:2: label: found nothing; expected an integer from 0"},
        {"{\"text\":\"a\",\"label\":null}", "d.jsonl:2: label: found null"},
        {"{\"text\":\"a\",\"label\":-1}", "d.jsonl:2: label: found -1, which marks a record without a label"},
        {"{\"text\":\"a\",\"label\":0.5}", "d.jsonl:2: label: found a float"},
        {"{\"text\":\"a\",\"label\":[1]}", "d.jsonl:2: label: found an array"},
        {"{\"text\":\"a\",\"label\":\"x\"}",
         "d.jsonl:2: label: found the text \"x\"; expected an integer, as the labels before"},
        {"{\"text\":\"a\",\"label\":\"\"}", "d.jsonl:2: label: found a text of 0 bytes"},
        {"{\"text\":\"a\",\"label\":\"\\u001b[2J\"}", "d.jsonl:2: label: found a text of 4 bytes"},
        {"{\"text\":\"a\",\"label\":\"\\u009b\"}", "d.jsonl:2: label: found a text of 2 bytes"},
        {"{\"text\":\"a\",\"label\":\"a\\u0000\"}", "d.jsonl:2: label: found a text of 2 bytes"},
        {"{\"text\":\"a\",\"label\":0}", "d.jsonl: found only the label \"0\"; expected at least two"},
        {"{\"text\":7,\"label\":1}", "d.jsonl:2: text: found an integer; expected a string"},
        {"{\"sentence1\":\"a\",\"sentence2\":1,\"label\":1}", "d.jsonl:2: sentence2: found an integer"},
        {"{\"foo\":\"a\",\"label\":1}", "d.jsonl:2: found a record with the keys {foo, label}; expected label and"},
        {"[1]", "d.jsonl:2: found an array; expected a record"},
    };
    Bench b = classify_bench(false);
    Dataset *d;
    Err err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = mem_printf("{\"text\":\"a\",\"label\":0}\n%s\n", cases[i].second);
        put_text("d.jsonl", text);
        ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err, cases[i].message);
        mem_free(text);
    }
    b.o.format = FORMAT_TEXT;
    ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err, "dataset_format: found \"text\", but the task is classif");
    b.o.format = FORMAT_AUTO;
    b.files[0] = "d.txt";
    put_text("d.txt", "abc");
    ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err, "d.txt: found plain text; expected records with text and");
    bench_free(&b);
}

// ---- several labels, and numbers ----

// Every sample as "its labels or numbers|".
static void check_lists(const Dataset *d, Problem problem, const char *want) {
    AUTO_STR StrBuf out = {0};
    assert_int_equal(d->problem, problem);
    for (int64_t i = 0; i < d->count; i++) {
        Sample s = dataset_sample(d, i);
        assert_int_equal(s.label, -1);
        assert_int_equal(dataset_size(d, i).supervised, 1);
        for (int64_t k = 0; k < s.n_labels; k++)
            if (s.labels)
                str_printf(&out, "%s%s", k ? "," : "", d->labels->names[dataset_label(d, &s, k)]);
            else
                str_printf(&out, "%s%g", k ? "," : "", (double)s.values[k]);
        str_puts(&out, "|");
    }
    assert_string_equal(out.data, want);
}

// A row has 1 for the labels of each sample, in the order of their names.
static void check_row_values(const Dataset *d, const float *want) {
    RowPlan *p = row_plan_new(d, NULL, d->count, 64, true);
    Row row = {0};
    row_fill_several(&row, d, p, (int64_t[]){0}, 1, 0);
    assert_int_equal(row.scored, d->count);
    assert_int_equal(row.width, d->labels->count);
    assert_memory_equal(row.values, want, (size_t)(row.scored * row.width) * sizeof *want);
    row_clear(&row);
    row_plan_free(p);
}

static void test_classify_reads_lists_of_labels(void **state) {
    (void)state;
    static char *names[] = {"zero", "one", "two"};
    static const LabelList named = {names, 3, 3};
    Bench b = classify_bench(false);
    Dataset *d = open_text(&b, "{\"text\":\"ab\",\"labels\":[\"x\",\"a\"]}\n{\"text\":\"c\",\"label\":[]}\n"
                               "{\"text\":\"d\",\"labels\":[\"m\"]}\n");
    check_lists(d, PROBLEM_MULTI_LABEL, "x,a||m|");
    check_row_values(d, (const float[]){1, 0, 1, 0, 0, 0, 0, 1, 0});
    assert_int_equal(d->label_counts[0], 1);
    dataset_close(d);
    d = open_text(&b, "{\"text\":\"ab\",\"labels\":[\"x\",\"a\"]}\n{\"text\":\"c\",\"label\":[]}\n"
                      "{\"text\":\"d\",\"labels\":[\"m\"]}\n");
    assert_true(d->from_cache);
    check_lists(d, PROBLEM_MULTI_LABEL, "x,a||m|");
    dataset_close(d);
    d = open_text(&b, "{\"text\":\"a\",\"labels\":[10,2]}\n{\"text\":\"b\",\"labels\":[3]}\n");
    assert_string_equal(d->labels->names[2], "10");
    dataset_close(d);
    b.o.named = &named;
    d = open_text(&b, "{\"text\":\"a\",\"labels\":[2,0]}\n{\"text\":\"b\",\"labels\":[\"two\"]}\n");
    check_lists(d, PROBLEM_MULTI_LABEL, "two,zero|two|");
    assert_int_equal(d->labels->count, 3); // "one", too, in the order of the names
    assert_string_equal(d->labels->names[1], "one");
    dataset_close(d);
    bench_free(&b);
}

static void test_classify_reads_numbers(void **state) {
    (void)state;
    Bench b = classify_bench(false);
    Dataset *d = open_text(&b, "{\"text\":\"ab\",\"label\":0.5}\n{\"text\":\"c\",\"label\":-3}\n");
    check_lists(d, PROBLEM_REGRESSION, "0.5|-3|");
    check_row_values(d, (const float[]){0.5, -3});
    assert_string_equal(d->labels->names[0], "LABEL_0");
    dataset_close(d);
    b.o.problem = PROBLEM_REGRESSION;
    d = open_text(&b, "{\"text\":\"ab\",\"label\":[1,2]}\n{\"text\":\"c\",\"labels\":[0.5,-1e-3]}\n");
    check_lists(d, PROBLEM_REGRESSION, "1,2|0.5,-0.001|");
    check_row_values(d, (const float[]){1, 2, 0.5, -1e-3f});
    dataset_close(d);
    bench_free(&b);
}

static void test_classify_refuses_lists_by_file_and_line(void **state) {
    (void)state;
    static const struct {
        Problem problem;
        const char *first, *second, *message;
    } cases[] = {
        {PROBLEM_AUTO, "[\"a\"]", "\"a\"", "d.jsonl:2: label: found a string; expected a list of labels"},
        {PROBLEM_AUTO, "[\"a\"]", "[\"b\",\"b\"]", "d.jsonl:2: label: found \"b\" twice in one list; expected the"},
        {PROBLEM_AUTO, "[0,1]", "[1,0,1]", "a list with 0 or 1 for every label is not read"},
        {PROBLEM_AUTO, "[\"a\"]", "[\"b\",1]", "d.jsonl:2: label: element 1 is an integer; expected a text"},
        {PROBLEM_AUTO, "[\"a\"]", "[null]", "d.jsonl:2: label: element 0 is null; expected a text or an integer from"},
        {PROBLEM_AUTO, "[]", "[]", "d.jsonl: found no label; expected at least one"},
        {PROBLEM_AUTO, "[1.0,0.5]", "[1,0]",
         "d.jsonl:1: label: found numbers that may be names of classes; expected pr"},
        {PROBLEM_AUTO, "1.5", "null", "d.jsonl:2: label: found nothing; expected a finite number"},
        {PROBLEM_AUTO, "1.5", "NaN", "d.jsonl:2: label: found NaN; expected a finite number"},
        {PROBLEM_AUTO, "1.5", "1e39", "d.jsonl:2: label: found 1e39; expected a finite number"},
        {PROBLEM_AUTO, "1.5", "\"2\"", "d.jsonl:2: label: found a string; expected a finite number"},
        {PROBLEM_AUTO, "1.5", "[1,2]", "d.jsonl:2: label: found 2 numbers; expected 1, as in the records before it"},
        {PROBLEM_AUTO, "1", "[1]", "d.jsonl:2: label: found an array; expected an integer from 0, a text, true or fal"},
        {PROBLEM_MULTI_LABEL, "1", "[1]", "d.jsonl:1: label: found an integer; expected a list of labels"},
        {PROBLEM_REGRESSION, "[]", "[1]", "d.jsonl:1: label: found an empty list; expected at least one number"},
    };
    Bench b = classify_bench(false);
    Dataset *d;
    Err err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_FREE char *text = mem_printf("{\"text\":\"a\",\"label\":%s}\n{\"text\":\"b\",\"label\":%s}\n",
                                          cases[i].first, cases[i].second);
        put_text("d.jsonl", text);
        b.o.problem = cases[i].problem;
        ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err, cases[i].message);
    }
    bench_free(&b);
}

// ---- length ----

static void check_shortened(Bench *b, const char *first, const char *second, int max, const char *want) {
    b->o.max_seq_length = max;
    b->o.truncation = TRUNCATION_TRUNCATE;
    char *text = second ? mem_printf("{\"text\":\"%s\",\"text_pair\":\"%s\",\"label\":0}\n", first, second)
                        : mem_printf("{\"text\":\"%s\",\"label\":0}\n", first);
    char *both = mem_printf("%s{\"text\":\"q\",\"label\":1}\n", text);
    Dataset *d = open_text(b, both);
    Sample s = dataset_sample(d, 0);
    StrBuf got = {0};
    sample_show(&got, &s, b->t, "[[", "]]");
    str_printf(&got, "/%d", (int)s.second);
    assert_string_equal(got.data, want);
    str_clear(&got);
    mem_free(both);
    mem_free(text);
    dataset_close(d);
}

// Expected: Hugging Face tokenizers 0.23.3, truncation "longest_first", in this test and the next.
static void test_classify_shortens_the_longer_text_first(void **state) {
    (void)state;
    Bench b = classify_bench(true); // <s> first <s> second
    check_shortened(&b, "abcdef", NULL, 4, "<s>abc/4");
    check_shortened(&b, "abcdef", NULL, 7, "<s>abcdef/7");
    check_shortened(&b, "abcdef", "xy", 7, "<s>abc<s>xy/4");
    check_shortened(&b, "ab", "uvwxyz", 7, "<s>ab<s>uvw/3");
    check_shortened(&b, "abcdef", "uvwxyz", 7, "<s>ab<s>uvw/3");
    check_shortened(&b, "abcdefg", "uvwxyz", 7, "<s>abc<s>uv/4");
    check_shortened(&b, "abcd", "uvwxyz", 8, "<s>abc<s>uvw/4");
    check_shortened(&b, "", "uvwxyz", 5, "<s><s>uvw/1");
    check_shortened(&b, "aaaa", "aaaaaa", 8, "<s>aaa<s>aaa/4");
    bench_free(&b);
}

// BERT's form of one and two texts over single letters.
static const char BERT_LIKE[] =
    "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":["
    "{\"id\":26,\"content\":\"[CLS]\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
    "\"special\":true},{\"id\":27,\"content\":\"[SEP]\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
    "\"normalized\":false,\"special\":true}],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\","
    "\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":false},\"post_processor\":{\"type\":"
    "\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_id\":0}},{\"Sequence\":{\"id\":"
    "\"A\","
    "\"type_id\":0}},{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":0}}],\"pair\":[{\"SpecialToken\":{\"id\":\"[CLS]"
    "\","
    "\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":0}},"
    "{\"Sequence\":{\"id\":\"B\",\"type_id\":1}},{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":1}}],"
    "\"special_tokens\":{\"[CLS]\":{\"id\":\"[CLS]\",\"ids\":[26],\"tokens\":[\"[CLS]\"]},\"[SEP]\":{\"id\":\"[SEP]\","
    "\"ids\":[27],\"tokens\":[\"[SEP]\"]}}},\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
    "\"trim_offsets\":true,\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
    "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,"
    "\"ignore_merges\":false,\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"d\":3,\"e\":4,\"f\":5,\"g\":6,\"h\":7,\"i\":8,\"j\":"
    "9,"
    "\"k\":10,\"l\":11,\"m\":12,\"n\":13,\"o\":14,\"p\":15,\"q\":16,\"r\":17,\"s\":18,\"t\":19,\"u\":20,\"v\":21,"
    "\"w\":22,\"x\":23,\"y\":24,\"z\":25,\"[CLS]\":26,\"[SEP]\":27},\"merges\":[]}}";

static void test_classify_keeps_special_tokens_at_the_end(void **state) {
    (void)state;
    Bench b = classify_bench(false);
    Err err;
    tokenizer_free(b.t);
    put_text("tokenizer.json", BERT_LIKE);
    ASSERT_OK(tokenizer_from_hf(&b.t, ".", &err), &err);
    check_shortened(&b, "abcdef", NULL, 5, "[CLS]abc[SEP]/5");
    check_shortened(&b, "abcdef", "xy", 9, "[CLS]abcd[SEP]xy[SEP]/6");
    check_shortened(&b, "abcdef", "uvwxyz", 8, "[CLS]ab[SEP]uvw[SEP]/4");
    check_shortened(&b, "ab", "uvwxyz", 8, "[CLS]ab[SEP]uvw[SEP]/4");
    check_shortened(&b, "abc", "uvw", 4, "[CLS][SEP]u[SEP]/2");
    check_shortened(&b, "abcd", "abcdab", 9, "[CLS]abc[SEP]abc[SEP]/5");
    check_shortened(&b, "abc", "uvw", 3, "[CLS]q[SEP]/3"); // no room for text: dropped, the next one comes first
    bench_free(&b);
}

static void test_classify_counts_what_is_too_long(void **state) {
    (void)state;
    static const char data[] = "{\"text\":\"abcdef\",\"text_pair\":\"abc\",\"label\":0}\n{\"text\":\"q\",\"label\":1}\n"
                               "{\"text\":\"r\",\"label\":0}\n{\"text\":\"\",\"label\":0}\n";
    Bench b = classify_bench(false);
    Dataset *d;
    Err err;
    b.o.max_seq_length = 4;
    d = open_text(&b, data);
    assert_int_equal(d->stats.dropped_long, 1);
    assert_int_equal(d->stats.dropped_tokens, 9);
    assert_int_equal(d->stats.skipped_unsupervised, 1); // no token at all
    assert_int_equal(d->stats.samples, 2);
    assert_int_equal(d->stats.longest, 9);
    dataset_close(d);
    b.o.truncation = TRUNCATION_TRUNCATE;
    d = open_text(&b, data);
    assert_int_equal(d->stats.truncated, 1);
    assert_int_equal(d->stats.truncated_tokens, 5);
    assert_int_equal(d->stats.samples, 3);
    assert_int_equal(d->stats.longest, 9);
    dataset_close(d);
    b.o.truncation = TRUNCATION_ERROR;
    put_text("d.jsonl", data);
    ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err, "d.jsonl:1: found a sample of 9 tokens; expected at most 4");
    bench_free(&b);
}

// ---- rows ----

static void check_rows(bool score_first, const int32_t *position) {
    Bench b = classify_bench(false);
    b.o.score_first = score_first;
    Dataset *d = open_text(&b, "{\"text\":\"ab\",\"label\":1}\n{\"text\":\"cde\",\"text_pair\":\"fg\",\"label\":0}\n"
                               "{\"text\":\"h\",\"label\":2}\n");
    int64_t all[] = {0, 1, 2};
    RowPlan *p = row_plan_new(d, all, 3, 8, true);
    Row row = {0};
    static const int32_t type[] = {0, 0, 0, 1, 1, 0, 0, 0}, label[] = {0, 1, 2}, start[] = {0, 5, 7, 8};
    assert_int_equal(p->count, 1);
    assert_int_equal(row_plan_row(p, 0).supervised, 3);
    row_fill(&row, d, p, 0);
    assert_int_equal(row.samples, 3);
    assert_int_equal(row.scored, 3);
    assert_memory_equal(row.type, type, sizeof type);
    assert_memory_equal(row.target, label, sizeof label);
    assert_memory_equal(row.start, start, sizeof start);
    assert_memory_equal(row.position, position, 3 * sizeof *position);
    row_clear(&row);
    row_plan_free(p);
    dataset_close(d);
    bench_free(&b);
}

static void test_classify_rows_score_one_place_a_sample(void **state) {
    (void)state;
    static const int32_t last[] = {4, 6, 7}, first[] = {0, 5, 7};
    check_rows(false, last);
    check_rows(true, first);
}

TEST_MAIN(SCRATCH_TEST(test_classify_reads_the_names_of_glue), SCRATCH_TEST(test_classify_sorts_labels),
          SCRATCH_TEST(test_classify_names_other_integers), SCRATCH_TEST(test_classify_takes_given_labels),
          SCRATCH_TEST(test_classify_refuses_by_file_and_line), SCRATCH_TEST(test_classify_reads_lists_of_labels),
          SCRATCH_TEST(test_classify_reads_numbers), SCRATCH_TEST(test_classify_refuses_lists_by_file_and_line),
          SCRATCH_TEST(test_classify_shortens_the_longer_text_first),
          SCRATCH_TEST(test_classify_keeps_special_tokens_at_the_end),
          SCRATCH_TEST(test_classify_counts_what_is_too_long),
          SCRATCH_TEST(test_classify_rows_score_one_place_a_sample))
