// Rules of files: other names of columns, the first records only, a format for one file, pairs as raw text.
#include "dataset_fixture.h"
#include "record_slice.h"

static void check_samples(Bench *b, const FileRule *rules, const char *const *want, size_t n) {
    Dataset *d;
    Err err;
    b->o.rules = rules;
    if (bench_open(&d, b, true, &err)) fail_msg("%s", err.msg);
    assert_int_equal(d->count, n);
    for (size_t i = 0; i < n; i++) {
        Sample s = dataset_sample(d, (int64_t)i);
        StrBuf text = {0};
        sample_show(&text, &s, b->t, "[[", "]]");
        if (strcmp(text.data, want[i]) != 0) fail_msg("sample %zu: got %s; expected %s", i, text.data, want[i]);
        str_clear(&text);
    }
    dataset_close(d);
}

static void check_sample(Bench *b, const FileRule *rule, const char *record, const char *want) {
    put_text("d.jsonl", record);
    b->files[0] = "d.jsonl";
    check_samples(b, rule, &want, 1);
}

static void test_file_rule_columns(void **state) {
    (void)state;
    Bench b = bench_new(false);
    check_sample(
        &b, &(FileRule){.columns = {[COLUMN_MESSAGES] = "dialogue", [COLUMN_ROLE] = "who", [COLUMN_CONTENT] = "said"}},
        "{\"dialogue\":[{\"who\":\"human\",\"said\":\"a\"},{\"who\":\"gpt\",\"said\":\"b\"}]}",
        "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>]]\n");
    check_sample(&b, &(FileRule){.columns = {[COLUMN_PROMPT] = "in.question", [COLUMN_COMPLETION] = "in.out.best"}},
                 "{\"in\":{\"question\":\"a\",\"out\":{\"best\":\"b\"}}}",
                 "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>]]\n");
    check_sample(&b, &(FileRule){.columns = {[COLUMN_INSTRUCTION] = "q", [COLUMN_OUTPUT] = "a.b"}},
                 "{\"q\":\"a\",\"a.b\":\"b\"}",
                 "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>]]\n");
    check_sample(&b, &(FileRule){.columns = {[COLUMN_TEXT] = "body"}}, "{\"body\":\"abc\"}", "a[[bc</s>]]");
    check_sample(&b, &(FileRule){.columns = {[COLUMN_INSTRUCTION] = "question", [COLUMN_OUTPUT] = "answers.best"}},
                 "{\"question\":\"a\",\"answers\":{\"best\":\"b\"}}",
                 "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>]]\n");
    check_sample(&b, &(FileRule){.columns = {[COLUMN_ROLE] = "by.who", [COLUMN_CONTENT] = "said"}},
                 "{\"messages\":\"[{\\\"by\\\":{\\\"who\\\":\\\"human\\\"},\\\"said\\\":\\\"a\\\"},"
                 "{\\\"by\\\":{\\\"who\\\":\\\"gpt\\\"},\\\"said\\\":\\\"b\\\"}]\"}",
                 "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>]]\n"); // a list as JSON text
    check_sample(
        &b, &(FileRule){.columns = {[COLUMN_REASONING] = "cot"}},
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\",\"cot\":\"\"}"
        "]}",
        "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>]]\n");
    check_sample(&b, NULL, "{\"instruction\":\"a\",\"response\":\"b\"}",
                 "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>]]\n");
    put_text("d.jsonl", "{\"text\":\"x\",\"body\":\"abc\"}");
    FileRule rule = {.columns = {[COLUMN_TEXT] = "body"}};
    b.o.rules = &rule;
    Dataset *d;
    Err err;
    ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err,
                   "d.jsonl:1: found a record with both \"text\" and \"body\", which columns names text");
    bench_free(&b);
}

// Of an object from which one member is read, the others are listed, not the object.
static void test_file_rule_lists_unread_members(void **state) {
    (void)state;
    static const FileRule rule = {.columns = {[COLUMN_PROMPT] = "in.q", [COLUMN_COMPLETION] = "in.out.best"}};
    static const struct {
        const char *record, *want;
    } cases[] = {
        {"{\"in\":{\"q\":\"a\",\"out\":{\"best\":\"b\"}}}", ""},
        {"{\"in\":{\"q\":\"a\",\"out\":{\"best\":\"b\",\"worst\":\"c\",\"none\":null},\"id\":1},\"in.x\":2}",
         "in.out.worst (1 record), in.id (1), in.x (1)"},
        {"{\"in.q\":\"a\",\"in\":{\"q\":\"x\",\"out\":{\"best\":\"b\"}}}", "in.q (1 record)"},
    };
    Bench b = bench_new(false);
    b.o.rules = &rule;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        StrBuf unread = {0};
        Dataset *d;
        Err err;
        str_puts(&unread, "");
        put_text("d.jsonl", cases[i].record);
        if (bench_open(&d, &b, true, &err)) fail_msg("%s", err.msg);
        key_counts_show(&unread, &d->unread);
        assert_string_equal(unread.data, cases[i].want);
        dataset_close(d);
        str_clear(&unread);
    }
    bench_free(&b);
}

// A name that the first record has not; keys that records may lack are only warned of.
static void test_file_rule_unknown_columns(void **state) {
    (void)state;
    static const struct {
        FileRule rule;
        const char *record, *part;
    } cases[] = {
        {{.columns = {[COLUMN_PROMPT] = "q", [COLUMN_COMPLETION] = "a"}},
         "{\"q\":\"1\",\"answer\":\"2\",\"id\":3}",
         "d.jsonl:1: columns: completion: found no \"a\" in the first record; its keys are {q, answer, id}"},
        {{.columns = {[COLUMN_OUTPUT] = "a.b.c"}},
         "{\"instruction\":\"1\",\"a\":{\"b\":{}}}",
         "columns: output: found no \"a.b.c\" in the first record; its keys are {instruction, a}"},
        {{.columns = {[COLUMN_MESSAGES] = "chat", [COLUMN_CONTENT] = "said"}},
         "{\"chat\":[{\"role\":\"user\",\"text\":\"a\"}]}",
         "columns: content: found no \"said\" in the first message; its keys are {role, text}"},
        {{.format = FORMAT_TEXT, .columns = {[COLUMN_TEXT] = "body"}},
         "{\"text\":\"a\"}",
         "columns: text: found no \"body\" in the first record; its keys are {text}"},
    };
    Bench b = bench_new(false);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Dataset *d;
        Err err = {0};
        put_text("d.jsonl", cases[i].record);
        b.o.rules = &cases[i].rule;
        ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err, cases[i].part);
    }
    check_sample(&b, &(FileRule){.columns = {[COLUMN_SYSTEM] = "rules", [COLUMN_TOOLS] = "functions"}},
                 "{\"prompt\":\"a\",\"completion\":\"b\"}",
                 "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>]]\n");
    FileRule own = {.columns = {[COLUMN_PROMPT] = mem_strdup("p")}},
             all = {.columns = {[COLUMN_PROMPT] = "x", [COLUMN_TEXT] = "body"}};
    file_rule_add_columns(&own, &all);
    assert_string_equal(own.columns[COLUMN_PROMPT], "p");
    assert_string_equal(own.columns[COLUMN_TEXT], "body");
    file_rule_clear(&own);
    bench_free(&b);
}

#define TASK "Below is an instruction that describes a task"
#define ANSWER ". Write a response that appropriately completes the request.\n\n### Instruction:\n"

static void test_file_rule_alpaca_prompt(void **state) {
    (void)state;
    Bench b = bench_new(true);
    FileRule rule = {.format = FORMAT_ALPACA_PROMPT};
    check_sample(&b, &rule, "{\"instruction\":\"do\",\"input\":\"\",\"output\":\"ok\"}",
                 "<s>" TASK ANSWER "do\n\n### Response:\n[[ok</s>]]");
    check_sample(&b, &rule, "{\"instruction\":\"do\",\"input\":\"it\",\"output\":\"ok\"}",
                 "<s>" TASK ", paired with an input that provides further context" ANSWER
                 "do\n\n### Input:\nit\n\n### Response:\n[[ok</s>]]");
    bench_free(&b);
}

// Axolotl's type with a format: what its prompt strategy user_defined writes, with Python's str.format.
static void test_file_rule_prompt_format(void **state) {
    (void)state;
    Bench b = bench_new(true);
    FileRule rule = {.format = FORMAT_ALPACA_PROMPT,
                     .prompt = {{[PROMPT_SYSTEM] = "be {kind}",
                                 [PROMPT_SYSTEM_FORMAT] = "<<{system}>>",
                                 [PROMPT_WITH_INPUT] = "[{{{instruction}}}|{input}|{instruction}]",
                                 [PROMPT_NO_INPUT] = "[{instruction}]"}},
                     .columns = {[COLUMN_INSTRUCTION] = "q", [COLUMN_INPUT] = "with"}};
    check_sample(&b, &rule, "{\"q\":\"do {x}\",\"with\":\"it\",\"output\":\"ok\"}",
                 "<s><<be {kind}>>[{do {x}}|it|do {x}][[ok</s>]]");
    check_sample(&b, &rule, "{\"q\":\"do\",\"with\":\"\",\"output\":\"ok\"}", "<s><<be {kind}>>[do][[ok</s>]]");
    check_sample(&b, &rule, "{\"q\":\"do\",\"with\":\"\",\"output\":\"ok\",\"system\":\"own\"}",
                 "<s><<own>>[do][[ok</s>]]");
    check_sample(&b, &rule, "{\"q\":\"do\",\"with\":\"\",\"output\":\"ok\",\"system\":null}", "<s>[do][[ok</s>]]");
    rule.columns[COLUMN_INPUT] = NULL;
    rule.prompt = (PromptFormat){{[PROMPT_SYSTEM] = "s"}}; // the other parts as in Axolotl without them
    check_sample(&b, &rule, "{\"q\":\"do\",\"input\":\"it\",\"output\":\"ok\"}", "<s>sdo it [[ok</s>]]");
    check_sample(&b, &rule, "{\"q\":\"do\",\"output\":\"ok\"}", "<s>sdo [[ok</s>]]");
    bench_free(&b);
}

// Roles under names that mean nothing, or something else, without the rule.
static void test_file_rule_roles(void **state) {
    (void)state;
    static const char want[] = "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>]]\n";
    static RoleName names[] = {{"ask", TARGET_USER}, {"tell", TARGET_ASSISTANT}, {"user", TARGET_ASSISTANT}};
    Bench b = bench_new(false);
    FileRule rule = {.role_names = names, .n_role_names = 3};
    check_sample(&b, &rule,
                 "{\"messages\":[{\"role\":\"ask\",\"content\":\"a\"},{\"role\":\"tell\",\"content\":\"b\"}]}", want);
    check_sample(&b, &rule,
                 "{\"conversation\":[{\"from\":\"ask\",\"value\":\"a\"},{\"from\":\"user\",\"value\":\"b\"}]}", want);
    check_sample(&b, &rule, "[{\"role\":\"ask\",\"content\":\"a\"},{\"role\":\"tell\",\"content\":\"b\"}]", want);
    bench_free(&b);
}

// A call of a tool as a turn of its own, in messages as in sharegpt.
static void test_file_rule_function_calls(void **state) {
    (void)state;
    static RoleName names[] = {{"act", TARGET_FUNCTION_CALL}};
    static const char call[] = "{\\\"name\\\":\\\"f\\\",\\\"arguments\\\":{\\\"x\\\":1}}";
    Bench b = bench_new(false);
    FileRule plain = {0}, rule = {.role_names = names, .n_role_names = 1};
    static const char *const records[] = {
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"function_call\",\"content\":\"%s\"}]}",
        "{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"},{\"from\":\"function_call\",\"value\":\"%s\"}]}",
        "{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"},{\"from\":\"act\",\"value\":\"%s\"}]}"};
    for (int i = 0; i < 3; i++) {
        char *record = mem_printf(records[i], call);
        check_sample(&b, i == 2 ? &rule : &plain, record,
                     "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[<call>{\"name\": \"f\", \"arguments\": "
                     "{\"x\": 1}}</call><|im_end|>]]\n");
        mem_free(record);
    }
    put_text("d.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"function_call\",\"content\":"
                        "[]}]}");
    Dataset *d;
    Err err;
    b.o.rules = &plain;
    ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err,
                   "messages[1].content: found an array; expected a function call as JSON text");
    bench_free(&b);
}

// Only the last answer is learnt, and of a last answer that is masked nothing.
static void test_file_rule_mask_history(void **state) {
    (void)state;
    Bench b = bench_new(false);
    b.o.learnt.last_only = true;
#define TURNS(last)                                                                                                    \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\",\"train\":true},"  \
    "{\"role\":\"user\",\"content\":\"c\"},{\"role\":\"assistant\",\"content\":\"d\"" last "}]}"
    check_sample(&b, NULL, TURNS(""),
                 "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
                 "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[[d<|im_end|>]]\n");
    put_text("d.jsonl", TURNS(",\"train\":false"));
    Dataset *d;
    Err err;
    ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err, "found no sample to train on");
    b.o.learnt.last_only = false;
    check_sample(&b, NULL, TURNS(""), // not from the cache of the other mask
                 "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>]]\n"
                 "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[[d<|im_end|>]]\n");
    bench_free(&b);
}

static void test_file_rule_first_records(void **state) {
    (void)state;
    static const char *const want[] = {"a[[1</s>]]", "a[[2</s>]]", "a[[3</s>]]",
                                       "a[[4</s>]]", "a[[5</s>]]", "b[[1</s>]]"};
    Bench b = bench_new(false);
    StrBuf ten = {0};
    for (int i = 1; i <= 10; i++) str_printf(&ten, "{\"text\":\"a%d\"}\n", i % 10);
    str_puts(&ten, "broken");
    put_text("a.jsonl", ten.data);
    b.files[0] = "a.jsonl";
    check_samples(&b, &(FileRule){.limit = 3}, want, 3);
    check_samples(&b, &(FileRule){.limit = 0.45}, want, 5); // of 11 lines
    b.o.rules = &(FileRule){.limit = 0.01};
    Dataset *d;
    Err err;
    ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err, "found 11 records, of which max_samples 0.01 are none");
    str_clear(&ten);
    bench_free(&b);
}

// As datasets.load_dataset(split=...) has it, which rounds with Python's round().
static void test_file_rule_slices(void **state) {
    (void)state;
    static const struct {
        const char *split;
        int64_t n, from, to;
    } cases[] = {
        {"train", 10, 0, 10},
        {"train[:90%]", 11, 0, 10},
        {"train[10%:20%]", 25, 2, 5},
        {"train[50%:]", 5, 2, 5},
        {"train[:150]", 100, 0, 100},
        {"train[20:30]", 100, 20, 30},
        {"train[-20:]", 100, 80, 100},
        {"train[-20:-5]", 10, 0, 5},
        {"train[-10%:]", 100, 90, 100},
        {"train[:]", 7, 0, 7},
        {"train[33%:67%]", 100, 33, 67},
        {"train[:50%]", 7, 0, 4},
        {"train[100:50]", 200, 100, 50},
    };
    static const char *const bad[] = {"",
                                      "[:5]",
                                      "train[5]",
                                      "train[",
                                      "train[:5",
                                      "train[:5]x",
                                      "train[5:20%]",
                                      "train[5%:20]",
                                      "train[:101%]",
                                      "train[-:5]",
                                      "train+test",
                                      "a/b[:5]",
                                      "train[0x1:]",
                                      "train[:9999999999999999]"};
    RecordSlice s;
    size_t len;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t from, to;
        assert_int_equal(record_slice_parse(&s, cases[i].split, &len), 0);
        assert_int_equal(len, 5);
        record_slice_bounds(&s, cases[i].n, &from, &to);
        if (from != cases[i].from || to != cases[i].to)
            fail_msg("%s of %ld: %ld, %ld", cases[i].split, cases[i].n, from, to);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (record_slice_parse(&s, bad[i], &len) == 0) fail_msg("%s: read", bad[i]);
}

static void test_file_rule_reads_a_slice(void **state) {
    (void)state;
    static const char *const want[] = {"a[[3</s>]]", "a[[4</s>]]", "a[[5</s>]]"};
    Bench b = bench_new(false);
    Dataset *d;
    Err err;
    StrBuf ten = {0};
    for (int i = 1; i <= 10; i++) str_printf(&ten, "{\"text\":\"a%d\"}\n", i % 10);
    put_text("a.jsonl", ten.data);
    b.files[0] = "a.jsonl";
    check_samples(&b, &(FileRule){.split = "train[20%:50%]"}, want, 3);
    check_samples(&b, &(FileRule){.split = "train[2:5]"}, want, 3);
    check_samples(&b, &(FileRule){.split = "train[-8:-5]"}, want, 3);
    check_samples(&b, &(FileRule){.split = "train[2:]", .limit = 3}, want, 3);
    check_samples(&b, &(FileRule){.split = "train[20%:]", .limit = 0.375}, want, 3);
    b.o.rules = &(FileRule){.split = "train[20:30]"};
    ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err,
                   "a.jsonl: split train[20:30]: found 10 records in the file, none of them in the slice");
    b.o.rules = &(FileRule){.split = "train[-3:-5]"};
    ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err,
                   "a.jsonl: split train[-3:-5]: found 10 records in the file, none of them in the slice");
    str_clear(&ten);
    bench_free(&b);
}

// completion_only and raw_pairs of all files.
static void test_file_rule_pairs(void **state) {
    (void)state;
    Bench b = bench_new(true);
    static const char pair[] = "{\"prompt\":\"ab\",\"completion\":\"c\"}";
    b.o.raw_pairs = true;
    check_sample(&b, NULL, pair, "<s>ab[[c</s>]]");
    b.o.train_on_inputs = true;
    check_sample(&b, NULL, pair, "<s>[[abc</s>]]");
    b.o.completion_only = true;
    check_sample(&b, NULL, pair, "<s>ab[[c</s>]]");
    check_sample(&b, NULL,
                 "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"}]}",
                 "<|im_start|>[[user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n]]");
    check_sample(&b, NULL,
                 "{\"prompt\":[{\"role\":\"user\",\"content\":\"a\"}],\"completion\":[{\"role\":\"assistant\","
                 "\"content\":\"b\"}]}",
                 "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>]]\n");
    b.o.raw_pairs = false;
    check_sample(&b, NULL, pair, "<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\n[[c<|im_end|>]]\n");
    bench_free(&b);
}

// roles_to_train, train_on_eos and the name of the key that masks a turn, for one file.
static void test_file_rule_learnt_turns(void **state) {
    (void)state;
    Bench b = bench_new(false);
    static const char record[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
                                 "\"content\":\"b\"},{\"role\":\"user\",\"content\":\"c\"},{\"role\":\"assistant\","
                                 "\"content\":\"d\",\"learn\":true}]}";
    FileRule rule = {.roles = LEARN_BY_FLAG, .columns = {[COLUMN_TRAIN] = "learn"}};
    check_sample(&b, &rule, record,
                 "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
                 "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[[d<|im_end|>]]\n");
    rule = (FileRule){.roles = 1u << ROLE_USER, .has_eos = true, .eos = EOS_NONE};
    check_sample(&b, &rule, record,
                 "<|im_start|>user\n[[a]]<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
                 "<|im_start|>user\n[[c]]<|im_end|>\n<|im_start|>assistant\nd<|im_end|>\n");
    b.o.learnt = (LearntTurns){.roles = rule.roles, .eos = EOS_LAST};
    check_sample(&b, NULL, record,
                 "<|im_start|>user\n[[a]]<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
                 "<|im_start|>user\n[[c<|im_end|>]]\n<|im_start|>assistant\nd<|im_end|>\n");
    bench_free(&b);
}

TEST_MAIN(SCRATCH_TEST(test_file_rule_columns), SCRATCH_TEST(test_file_rule_lists_unread_members),
          SCRATCH_TEST(test_file_rule_unknown_columns), SCRATCH_TEST(test_file_rule_learnt_turns),
          SCRATCH_TEST(test_file_rule_alpaca_prompt), SCRATCH_TEST(test_file_rule_prompt_format),
          SCRATCH_TEST(test_file_rule_roles), SCRATCH_TEST(test_file_rule_function_calls),
          SCRATCH_TEST(test_file_rule_mask_history), TEST(test_file_rule_slices),
          SCRATCH_TEST(test_file_rule_reads_a_slice), SCRATCH_TEST(test_file_rule_first_records),
          SCRATCH_TEST(test_file_rule_pairs))
