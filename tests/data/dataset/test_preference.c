// Preference data: forms of records, masks, lengths, the token cache, rows.
#include "dataset_fixture.h"
#include "prompt_cases.h"

static Bench pairs_bench(bool add_bos) {
    Bench b = bench_new(add_bos);
    b.o.preference = PREFERENCE_PAIRS;
    return b;
}

static void check(Bench *b, const char *record, const char *want) {
    Dataset *d;
    d = open_text(b, record);
    char *got = shown(d, b->t);
    if (strcmp(got, want) != 0) fail_msg("%s: got\n%s\nexpected\n%s", record, got, want);
    mem_free(got);
    dataset_close(d);
}

static void check_refused(Bench *b, const char *record, const char *part) {
    Dataset *d;
    Err err = {0};
    put_text("d.jsonl", record);
    ASSERT_REFUSED(bench_open(&d, b, true, &err), &err, part);
}

#define PAIR(prompt, chosen, rejected) "{\"prompt\":" prompt ",\"chosen\":" chosen ",\"rejected\":" rejected "}"
#define LABELLED(prompt, answer, label) "{\"prompt\":" prompt ",\"completion\":" answer ",\"label\":" label "}"
#define MESSAGE(role, text) "{\"role\":\"" role "\",\"content\":\"" text "\"}"
#define MESSAGE_BUT(role, text, more) "{\"role\":\"" role "\",\"content\":\"" text "\"," more "}"
#define TURN(from, text) "{\"from\":\"" from "\",\"value\":\"" text "\"}"
#define IM(role, text) "<|im_start|>" role "\n" text "<|im_end|>\n"
#define USER MESSAGE("user", "Q")
#define YES MESSAGE("assistant", "yes")
#define NO MESSAGE("assistant", "no")
#define SIMPLE PAIR("\"Q\"", "\"a\"", "\"b\"")
#define TALK IM("system", "S") IM("user", "Q") IM("assistant", "A") IM("user", "R") "<|im_start|>assistant\n"
#define ASKED IM("user", "Q") "<|im_start|>assistant\n"
#define CHAT_PAIR ASKED "[[yes<|im_end|>\n]]\n--- rejected\n" ASKED "[[no<|im_end|>\n]]|"

// ---- forms ----

static void test_preference_texts_are_raw(void **state) {
    (void)state;
    Bench b = pairs_bench(true);
    check(&b, PAIR("\"Q: \"", "\"yes\"", "\"no</s>\""), "<s>Q: [[yes</s>]]\n--- rejected\n<s>Q: [[no</s>]]|");
    check(&b, "{\"system\":\"S\",\"question\":\"Q\",\"chosen\":\"a\",\"rejected\":\"b\"}",
          "<s>S\nQ[[a</s>]]\n--- rejected\n<s>S\nQ[[b</s>]]|");
    check(
        &b,
        "{\"chosen\":\"\\n\\nHuman: Q\\n\\nAssistant: I think so\",\"rejected\":\"\\n\\nHuman: Q\\n\\nAssistant: I do "
        "not\"}",
        "<s>\n\nHuman: Q\n\nAssistant: I[[ think so</s>]]\n--- rejected\n<s>\n\nHuman: Q\n\nAssistant: I[[ do "
        "not</s>]]|");
    check(&b, PAIR("\"Q\"", "\"[1]\"", "\"{\\\"from\\\":\\\"a\\\",\\\"value\\\":\\\"b\\\"}\""),
          "<s>Q[[[1]</s>]]\n--- rejected\n<s>Q[[{\"from\":\"a\",\"value\":\"b\"}</s>]]|");
    // the difference is in the second byte of a character
    check(&b, "{\"chosen\":\"a\\u00e9\",\"rejected\":\"a\\u00e8\"}",
          "<s>a[[\xC3\xA9</s>]]\n--- rejected\n<s>a[[\xC3\xA8</s>]]|");
    check(&b, "{\"chosen\":\"ab\",\"rejected\":\"abc\"}", "<s>a[[b</s>]]\n--- rejected\n<s>a[[bc</s>]]|");
    bench_free(&b);
}

static void test_preference_messages(void **state) {
    (void)state;
    Bench b = pairs_bench(false);
    static const char *const records[] = {
        PAIR("[" MESSAGE("user", "Q") "]", "[" MESSAGE("assistant", "yes") "]", "[" MESSAGE("assistant", "no") "]"),
        PAIR("\"Q\"", "[" MESSAGE("assistant", "yes") "]", MESSAGE("assistant", "no")),
        PAIR("\"Q\"", "[" MESSAGE("user", "Q") "," MESSAGE("assistant", "yes") "]",
             "[" MESSAGE("user", "Q") "," MESSAGE("assistant", "no") "]"),
        "{\"chosen\":[" MESSAGE("user", "Q") "," MESSAGE("assistant", "yes") "],\"rejected\":[" MESSAGE(
            "user", "Q") "," MESSAGE("assistant", "no") "]}",
        "{\"conversations\":[" TURN("human", "Q") "],\"chosen\":" TURN("gpt", "yes") ",\"rejected\":" TURN("gpt",
                                                                                                           "no") "}",
        "{\"messages\":[" MESSAGE("user", "Q") "],\"chosen\":" MESSAGE("assistant", "yes") ",\"rejected\":" MESSAGE(
            "assistant", "no") "}",
        "{\"instruction\":\"Q\",\"input\":\"\",\"chosen\":\"yes\",\"rejected\":\"no\"}",
        "{\"instruction\":\"Q\",\"output\":\"unread\",\"chosen\":\"yes\",\"rejected\":\"no\",\"score_chosen\":1}",
        PAIR("\"Q\"", "\"[{\\\"role\\\":\\\"assistant\\\",\\\"content\\\":\\\"yes\\\"}]\"",
             "\"[{\\\"role\\\":\\\"assistant\\\",\\\"content\\\":\\\"no\\\"}]\""),
    };
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) check(&b, records[i], CHAT_PAIR);
    check(&b,
          "{\"system\":\"S\",\"prompt\":[" MESSAGE("user", "Q") "," MESSAGE("assistant", "A") "," MESSAGE(
              "user", "R") "],"
                           "\"chosen\":[" MESSAGE("assistant", "a") "," MESSAGE("user", "b") "," MESSAGE(
                               "assistant", "c") "],"
                                                 "\"rejected\":[" MESSAGE("assistant", "d") "]}",
          TALK "[[a<|im_end|>\n" IM("user", "b") IM("assistant", "c") "]]\n--- rejected\n" TALK "[[d<|im_end|>\n]]|");
    bench_free(&b);
}

// As extract_prompt of TRL: the last message that both have is an answer's where one ends with it.
static void test_preference_finds_the_prompt_in_conversations(void **state) {
    (void)state;
    Bench b = pairs_bench(false);
    check(&b, "{\"chosen\":[" USER "," YES "],\"rejected\":[" USER "," YES "," MESSAGE("user", "R") "," NO "]}",
          ASKED "[[yes<|im_end|>\n]]\n--- rejected\n" ASKED "[[yes<|im_end|>\n" IM("user", "R")
              IM("assistant", "no") "]]|");
    check(&b, PAIR(USER, "[" MESSAGE_BUT("assistant", "a", "\"train\":false") "," YES "]", NO),
          ASKED "a<|im_end|>[[\n" IM("assistant", "yes") "]]\n--- rejected\n" ASKED "[[no<|im_end|>\n]]|");
    Dataset *d; // a prompt that is not in the conversation is not read
    d = open_text(&b, PAIR("\"other\"", "[" USER "," YES "]", "[" USER "," NO "]"));
    assert_int_equal(d->unread.count, 1);
    assert_string_equal(d->unread.names[0], "prompt");
    dataset_close(d);
    bench_free(&b);
}

static void test_preference_learns_the_prompt_of_the_chosen(void **state) {
    (void)state;
    Bench b = pairs_bench(true);
    b.o.learn_chosen_prompt = true;
    check(&b, SIMPLE, "<s>[[Q]][[a</s>]]\n--- rejected\n<s>Q[[b</s>]]|");
    Dataset *d;
    d = open_text(&b, SIMPLE);
    Sample s = dataset_sample(d, 0);
    static const uint8_t want[] = {0, LEARNT_PROMPT, 1, 1, 0, 0, 1, 1};
    assert_int_equal(s.count, 8);
    assert_int_equal(s.second, 4);
    assert_int_equal(s.supervised_count, 5);
    assert_int_equal(dataset_size(d, 0).supervised, 5);
    assert_memory_equal(s.supervised, want, sizeof want);
    dataset_close(d);
    bench_free(&b);
}

static void test_preference_refuses_by_name(void **state) {
    (void)state;
    Bench b = pairs_bench(false);
    static const struct {
        const char *record, *part;
    } bad[] = {
        {SIMPLE "\n" PAIR("\"p\"", "\"a\"", "\"a\""), "d.jsonl:2: found chosen and rejected that are equal"},
        {PAIR(USER, "[" YES "]", YES), "d.jsonl:1: found chosen and rejected that are equal"},
        {PAIR("\"p\"", "\"a\"", "null"), "d.jsonl:1: rejected: found null; expected a string or a list of messages"},
        {"{\"prompt\":\"p\",\"chosen\":\"a\"}", "rejected: found nothing"},
        {"{\"prompt\":\"p\",\"completion\":\"a\"}", "keys {prompt, completion}; expected prompt, chosen and rejected"},
        {PAIR("\"p\"", "\" \"", "\"b\""), "chosen: found an empty answer"},
        {PAIR("\"p\"", "\"a\"", "\"\""), "rejected: found an empty answer"},
        {PAIR("\"p\"", "[" YES "]", MESSAGE("assistant", "")), "rejected: found an empty answer"},
        {PAIR("\"p\"", "[]", "[" NO "]"), "chosen: found an empty list"},
        {PAIR("\"p\"", "\"a\"", "[" NO "]"), "found a list of messages in rejected and a string in chosen"},
        {PAIR("[" USER "]", "\"a\"", "\"b\""), "prompt: found an array; expected a string"},
        {PAIR("[" USER "]", "[" USER "," YES "]", "[" USER "," NO "]"),
         "chosen: found a first message of another role"},
        {PAIR("4", YES, NO), "prompt: found an integer"},
        {"{\"chosen\":\"a\",\"rejected\":\"b\"}", "without a prompt that begin differently"},
        {"{\"chosen\":" YES ",\"rejected\":" NO "}", "without a prompt"},
        {"{\"chosen\":[" USER "],\"rejected\":[" MESSAGE("user", "q") "]}", "begin with different messages"},
        {"{\"chosen\":[" USER "," MESSAGE("user", "q") "],\"rejected\":[" USER "," NO "]}",
         "chosen: found no message of an assistant"},
        {"{\"messages\":[" USER "],\"chosen\":\"a\",\"rejected\":\"b\"}", "as messages has them"},
        {"[1]", "found an integer; expected a record"},
        {PAIR("\"p\"", MESSAGE("poet", "a"), NO), "chosen[0]: found the role \"poet\""},
        {PAIR("\"p\"", "[" YES "," MESSAGE("poet", "a") "]", NO), "chosen[1]: found the role \"poet\""},
        {PAIR("\"p\"", "[7]", "[8]"), "chosen[0]: found an integer"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) check_refused(&b, bad[i].record, bad[i].part);
    bench_free(&b);
}

static void test_preference_refuses_other_options(void **state) {
    (void)state;
    Bench b = pairs_bench(false);
    b.o.train_on_inputs = true;
    check_refused(&b, SIMPLE, "train_on_inputs: preference data is trained on its answers");
    b.o.train_on_inputs = false;
    b.o.learnt.last_only = true;
    check_refused(&b, SIMPLE, "mask_history");
    b.o.learnt.last_only = false;
    b.o.format = FORMAT_ALPACA;
    check_refused(&b, SIMPLE, "\"alpaca\", but the task is preference");
    b.o.preference = PREFERENCE_NONE;
    b.o.format = FORMAT_PREFERENCE;
    check_refused(&b, SIMPLE, "\"preference\", but the task is causal_lm");
    b.o.format = FORMAT_AUTO;
    check_refused(&b, SIMPLE, "expected task: \"preference\"");
    bench_free(&b);
}

// Keys and roles of another name, also in the answers: OpenAI's form.
static void test_preference_has_columns(void **state) {
    (void)state;
    Bench b = pairs_bench(false);
    FileRule rule = {0};
    rule.columns[COLUMN_PROMPT] = mem_strdup("input.messages");
    rule.columns[COLUMN_CHOSEN] = mem_strdup("preferred_output");
    rule.columns[COLUMN_REJECTED] = mem_strdup("non_preferred_output");
    rule.columns[COLUMN_CONTENT] = mem_strdup("words");
    file_rule_add_role(&rule, "clerk", TARGET_ASSISTANT);
    b.o.rules = &rule;
    check(&b,
          "{\"input\":{\"messages\":[{\"role\":\"user\",\"words\":\"Q\"}]},\"preferred_output\":[{\"role\":\"clerk\","
          "\"words\":\"yes\"}],\"non_preferred_output\":{\"role\":\"clerk\",\"words\":\"no\"}}",
          CHAT_PAIR);
    check_refused(&b, SIMPLE, "columns: prompt: found no \"input.messages\"");
    file_rule_clear(&rule);
    bench_free(&b);
}

// The chosen and the desirable answers are those to compare with.
static void test_preference_prompt_cases(void **state) {
    (void)state;
    static const char labels[] = LABELLED("\"P\"", "\"1\"", "false") "\n" LABELLED("\"Q\"", "\"2\"", "true");
    PromptCase *cases;
    int64_t n;
    Err err;
    Bench b = pairs_bench(false);
    for (int i = 0; i < 3; i++) {
        if (i == 2) b.o.preference = PREFERENCE_LABELS;
        put_text("d.jsonl", i == 0 ? PAIR(USER, YES, NO) : i == 1 ? PAIR("\"Q\"", "\"yes\"", "\"no\"") : labels);
        b.o.files = b.files;
        ASSERT_OK(prompt_cases_load(&cases, &n, &(CaseChoice){0}, &b.o, b.t, b.chat, &err), &err);
        assert_int_equal(n, 1);
        assert_string_equal(cases[0].prompt, "Q");
        assert_string_equal(cases[0].reference, i == 2 ? "2" : "yes");
        assert_int_equal(cases[0].count, i == 0 ? strlen("|user\nQ|\n|assistant\n") : 1);
        prompt_cases_free(cases, n);
    }
    bench_free(&b);
}

// ---- lengths ----

// Each sequence counts alone, and each record once.
static void test_preference_counts_each_sequence(void **state) {
    (void)state;
    static const char records[] = PAIR("\"Q\"", "\"12345\"", "\"6\"") "\n" // 7 and 3 tokens
        PAIR("\"Q\"", "\"1\"", "\"234567\"") "\n"                          // 3 and 8
        PAIR("\"Q234567\"", "\"1\"", "\"2\"");                             // 9 and 9; the prompt alone fills 7
    Bench b = pairs_bench(false);
    Dataset *d;
    d = open_text(&b, records);
    assert_int_equal(d->count, 3);
    assert_int_equal(d->stats.longest, 9);
    assert_int_equal(d->stats.tokens, 7 + 3 + 3 + 8 + 9 + 9);
    dataset_close(d);
    b.o.max_seq_length = 7;
    d = open_text(&b, records);
    assert_int_equal(d->count, 1);
    assert_int_equal(d->stats.records, 3);
    assert_int_equal(d->stats.dropped_long, 2);
    assert_int_equal(d->stats.dropped_tokens, 3 + 8 + 9 + 9);
    assert_int_equal(d->stats.first_dropped[0], 2);
    dataset_close(d);
    b.o.truncation = TRUNCATION_TRUNCATE;
    d = open_text(&b, records);
    assert_int_equal(d->count, 2);
    assert_int_equal(d->stats.skipped_unsupervised, 1);
    assert_int_equal(d->stats.truncated, 1);
    assert_int_equal(d->stats.truncated_tokens, 1);
    assert_int_equal(d->stats.answers_cut, 1);
    char *got = shown(d, b.t);
    assert_string_equal(got, "Q[[12345</s>]]\n--- rejected\nQ[[6</s>]]|Q[[1</s>]]\n--- rejected\nQ[[234567]]|");
    mem_free(got);
    dataset_close(d);
    b.o.truncation = TRUNCATION_ERROR;
    check_refused(&b, records, "d.jsonl:2: found a sample of 8 tokens; expected at most 7");
    bench_free(&b);
}

// ---- cache and rows ----

static void test_preference_is_in_the_cache(void **state) {
    (void)state;
    Bench b = pairs_bench(true);
    Dataset *d, *again, *learnt;
    d = open_text(&b, SIMPLE);
    again = open_text(&b, SIMPLE);
    assert_true(again->from_cache && again->preference == PREFERENCE_PAIRS);
    assert_int_equal(dataset_sample(again, 0).second, 4);
    b.o.learn_chosen_prompt = true;
    learnt = open_text(&b, SIMPLE);
    assert_string_not_equal(learnt->fingerprint, d->fingerprint);
    dataset_close(d);
    dataset_close(again);
    dataset_close(learnt);
    bench_free(&b);
}

static void test_preference_rows_hold_both_sequences(void **state) {
    (void)state;
    Bench b = pairs_bench(false);
    b.o.learn_chosen_prompt = true;
    b.o.max_seq_length = 6;
    Dataset *d;
    // 5 and 4, 3 and 3, 4 and 6 tokens
    d = open_text(&b, PAIR("\"PQ\"", "\"ab\"", "\"c\"") "\n" PAIR("\"R\"", "\"d\"",
                                                                  "\"e\"") "\n" PAIR("\"S\"", "\"fg\"", "\"hijk\""));
    RowPlan *p = row_plan_new(d, NULL, d->count, row_max_tokens(d, b.o.max_seq_length), true);
    assert_int_equal(p->count, 3);
    assert_int_equal(p->most.samples, 2);
    assert_int_equal(p->most.longest_sample, 6);
    row_plan_free(p);
    p = row_plan_new(d, NULL, d->count, 15, true); // the last one alone, the first with the second
    assert_int_equal(p->count, 2);
    assert_int_equal(p->most.samples, 4);
    assert_int_equal(row_plan_chosen(d, p, 1), 4 + 2);
    Row row = {0};
    row_fill(&row, d, p, 1);
    static const int32_t start[] = {0, 5, 9, 12, 15}, pos[] = {0, 1, 2, 3, 4, 0, 1, 2, 3, 0, 1, 2, 0, 1, 2};
    static const int32_t position[] = {0, 1, 2, 3, 6, 7, 9, 10, 12, 13}, answer[] = {0, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    assert_int_equal(row.samples, 4);
    assert_memory_equal(row.start, start, sizeof start);
    assert_memory_equal(row.pos, pos, sizeof pos);
    assert_int_equal(row.scored, 10);
    assert_memory_equal(row.position, position, sizeof position);
    assert_memory_equal(row.answer, answer, sizeof answer);
    for (int64_t i = 0; i < row.scored; i++) assert_int_equal(row.target[i], row.ids[row.position[i] + 1]);
    for (int64_t i = 0; i < row.tokens; i++) assert_int_equal(row.type[i], 0);
    assert_null(row.label);
    row_clear(&row);
    row_plan_free(p);
    dataset_close(d);
    bench_free(&b);
}

// ---- answers with labels ----

static Bench labels_bench(int64_t group) {
    Bench b = bench_new(false);
    b.o.preference = PREFERENCE_LABELS;
    b.o.kl_group = group;
    return b;
}

// Each prompt with the answer of the record before it; in a group of one, its own.
static void test_preference_labels_exchange_answers(void **state) {
    (void)state;
    static const char records[] = LABELLED("\"P\"", "\"1\"", "true") "\n" LABELLED(
        "\"Q\"", "\"2\"", "false") "\n" LABELLED("\"R\"", "\"345678\"", "1") "\n" LABELLED("\"S\"", "\"9\"", "0");
    Bench b = labels_bench(2);
    check(&b, records,
          "P[[1</s>]]\n--- with another answer\nP[[2</s>]]|Q[[2</s>]]\n--- with another answer\nQ[[1</s>]]|"
          "R[[345678</s>]]\n--- with another answer\nR[[9</s>]]|S[[9</s>]]\n--- with another answer\nS[[345678</s>]]|");
    b.o.max_seq_length = 5; // dropped records are in no group
    check(&b, records,
          "P[[1</s>]]\n--- with another answer\nP[[2</s>]]|Q[[2</s>]]\n--- with another answer\nQ[[1</s>]]|"
          "S[[9</s>]]\n--- with another answer\nS[[9</s>]]|");
    b.o.kl_group = 3;
    Dataset *d;
    d = open_text(&b, records);
    assert_int_equal(d->count, 3);
    assert_int_equal(d->stats.records, 4);
    assert_int_equal(d->stats.dropped_long, 1);
    Sample s = dataset_sample(d, 2);
    assert_int_equal(s.record, 3);
    assert_false(s.desirable);
    assert_true(dataset_sample(d, 0).desirable);
    dataset_close(d);
    d = open_text(&b, records);
    assert_true(d->from_cache && d->preference == PREFERENCE_LABELS && dataset_sample(d, 0).desirable);
    RowPlan *p = row_plan_new(d, NULL, d->count, row_max_tokens(d, 9), true);
    Row row = {0};
    assert_int_equal(p->count, 1);
    static const int32_t labels[] = {1, 0, 0}, start[] = {0, 3, 6, 9};
    static const int64_t first = 0;
    assert_int_equal(row_plan_desirable(d, p, 0), 1);
    for (int mismatched = 0; mismatched < 2; mismatched++) {
        if (mismatched)
            row_fill_mismatched(&row, d, p, &first, 1);
        else
            row_fill_several(&row, d, p, &first, 1, 0);
        assert_int_equal(row.samples, 3);
        assert_memory_equal(row.label, labels, sizeof labels);
        assert_memory_equal(row.start, start, sizeof start);
        for (int64_t i = 0; i < row.scored; i++) assert_int_equal(row.answer[i], 1);
        for (int64_t i = 0; i < 9; i++) {
            Sample own = dataset_sample(d, i / 3);
            assert_int_equal(row.ids[i], own.ids[i % 3 + (mismatched ? own.second : 0)]);
        }
    }
    row_clear(&row);
    row_plan_free(p);
    dataset_close(d);
    bench_free(&b);
}

static void test_preference_labels_have_forms(void **state) {
    (void)state;
    Bench b = labels_bench(1);
    static const char *const records[] = {
        LABELLED("[" USER "]", "[" YES "]", "true"),
        LABELLED("\"Q\"", YES, "\"False\""),
        "{\"question\":\"Q\",\"answer\":[" YES "],\"kto_tag\":false}",
        "{\"messages\":[" USER "," YES "],\"label\":false}",
        "{\"conversations\":[" TURN("human", "Q") "," TURN("gpt", "yes") "],\"kto_tag\":true}",
        "{\"instruction\":\"Q\",\"output\":\"yes\",\"kto_tag\":true}",
    };
    for (size_t i = 0; i < sizeof records / sizeof *records; i++)
        check(&b, records[i], ASKED "[[yes<|im_end|>\n]]\n--- with another answer\n" ASKED "[[yes<|im_end|>\n]]|");
    check(&b, "{\"system\":\"S\",\"prompt\":\"Q\",\"response\":\"a\",\"label\":true}",
          "S\nQ[[a</s>]]\n--- with another answer\nS\nQ[[a</s>]]|");
    static const struct {
        const char *record, *part;
    } bad[] = {
        {LABELLED("\"p\"", "\"a\"", "true") "\n" LABELLED("\"p\"", "\"a\"", "2"),
         "d.jsonl:2: label: found an integer; expected true or false"},
        {LABELLED("\"p\"", "\"a\"", "\"good\""), "label: found a string; expected true or false"},
        {"{\"prompt\":\"p\",\"completion\":\"a\"}", "label: found nothing; expected true or false"},
        {LABELLED("\"p\"", "\" \"", "false"), "completion: found an empty answer"},
        {LABELLED("\"p\"", "null", "false"), "completion: found null"},
        {LABELLED("[" USER "]", "\"a\"", "false"), "prompt: found an array; expected a string"},
        {LABELLED("[" USER "]", "[" USER "]", "false"), "completion: found a first message of another role"},
        {SIMPLE, "keys {prompt, chosen, rejected}; expected prompt, completion and label, or their names in columns; "
                 "preference_loss dpo takes"},
        {"{\"messages\":[" YES "," USER "],\"label\":true}", "messages: found no answer of an assistant at the end"},
        {"{\"messages\":\"x\",\"label\":true}", "messages: found a string; expected a list of messages"},
        {"{\"text\":\"x\",\"label\":true}", "expected prompt, completion and label"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) check_refused(&b, bad[i].record, bad[i].part);
    bench_free(&b);
}

TEST_MAIN(SCRATCH_TEST(test_preference_labels_exchange_answers), SCRATCH_TEST(test_preference_labels_have_forms),
          SCRATCH_TEST(test_preference_texts_are_raw), SCRATCH_TEST(test_preference_messages),
          SCRATCH_TEST(test_preference_finds_the_prompt_in_conversations),
          SCRATCH_TEST(test_preference_learns_the_prompt_of_the_chosen), SCRATCH_TEST(test_preference_refuses_by_name),
          SCRATCH_TEST(test_preference_refuses_other_options), SCRATCH_TEST(test_preference_has_columns),
          SCRATCH_TEST(test_preference_prompt_cases), SCRATCH_TEST(test_preference_counts_each_sequence),
          SCRATCH_TEST(test_preference_is_in_the_cache), SCRATCH_TEST(test_preference_rows_hold_both_sequences))
