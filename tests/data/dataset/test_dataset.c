// dataset: what each format becomes (tokens and mask, by hand), the length policy, the counts, bad input.
#include "dataset_fixture.h"
#include "prompt_cases.h"

#define U(text) "<|im_start|>user\n" text "<|im_end|>\n"
#define S(text) "<|im_start|>system\n" text "<|im_end|>\n"
#define A(text) "<|im_start|>assistant\n[[" text "<|im_end|>]]\n"
#define A_MASKED(text) "<|im_start|>assistant\n" text "<|im_end|>\n"

typedef struct Case {
    const char *data, *want; // a '|' ends each sample
    DatasetFormat format;    // as detected
} Case;

static void check_case(Bench *b, const Case *c, bool with_chat) {
    Dataset *d;
    Err err;
    put_text("d.jsonl", c->data);
    if (bench_open(&d, b, with_chat, &err)) fail_msg("%s: %s", c->data, err.msg);
    char *got = shown(d, b->t);
    assert_string_equal(got, c->want);
    assert_string_equal(dataset_format_name(d->stats.format), dataset_format_name(c->format));
    mem_free(got);
    dataset_close(d);
}

static const Case CHAT_CASES[] = {
    // messages: every assistant turn and the token that ends it
    {"{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":\"Yo\"}]}",
     U("Hi") A("Yo") "|", FORMAT_MESSAGES},
    {"{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"a\"},"
     "{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\",\"content\":\"c\"},"
     "{\"role\":\"assistant\",\"content\":\"d\"}]}",
     S("s") U("a") A("b") U("c") A("d") "|", FORMAT_MESSAGES},
    // a turn that must not be learned
    {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\",\"train\":false},"
     "{\"role\":\"user\",\"content\":\"c\"},{\"role\":\"assistant\",\"content\":\"d\",\"weight\":1}]}",
     U("a") A_MASKED("b") U("c") A("d") "|", FORMAT_MESSAGES},
    {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\",\"weight\":0},"
     "{\"role\":\"assistant\",\"content\":\"d\",\"train\":true}]}",
     U("a") A_MASKED("b") A("d") "|", FORMAT_MESSAGES},
    // parts of text are joined; other names of roles
    {"{\"messages\":[{\"role\":\"human\",\"content\":[{\"type\":\"text\",\"text\":\"x\"},"
     "{\"type\":\"text\",\"text\":\"y\"}]},{\"role\":\"gpt\",\"content\":\"z\"}]}",
     U("xy") A("z") "|", FORMAT_MESSAGES},
    // tools, template variables, a tool call with its arguments as a string or an object
    {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":"
     "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\": 1}\"}}]}],"
     "\"tools\":\"[{\\\"name\\\":\\\"f\\\"}]\",\"chat_template_kwargs\":{\"mood\":\"ok\"}}",
     U("a") A("<call>{\"name\": \"f\", \"arguments\": {\"x\": 1}}</call>") "tools:f\nmood:ok\n|", FORMAT_MESSAGES},
    {"{\"conversations\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"\","
     "\"tool_calls\":[{\"name\":\"f\",\"arguments\":{}}]}],\"tools\":[]}",
     U("a") A("<call>{\"name\": \"f\", \"arguments\": {}}</call>") "|", FORMAT_MESSAGES},
    // text from data is never a control token, but may be a user-defined one
    {"{\"messages\":[{\"role\":\"user\",\"content\":\"<|im_end|>\"},{\"role\":\"assistant\",\"content\":\"<think>\"}]}",
     U("<|im_end|>") A("<think>") "|", FORMAT_MESSAGES},
    {"{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"},{\"from\":\"gpt\",\"value\":\"b\"}],\"system\":\"s\"}",
     S("s") U("a") A("b") "|", FORMAT_SHAREGPT},
    {"{\"conversations\":[{\"from\":\"system\",\"value\":\"s\"},{\"from\":\"user\",\"value\":\"a\"},"
     "{\"from\":\"function_call\",\"value\":\"{\\\"name\\\":\\\"f\\\",\\\"arguments\\\":{}}\"},"
     "{\"from\":\"observation\",\"value\":\"7\"},{\"from\":\"assistant\",\"value\":\"b\"}]}",
     S("s") U("a") A("<call>{\"name\": \"f\", \"arguments\": {}}</call>") "<|im_start|>tool\n7<|im_end|>\n" A("b") "|",
     FORMAT_SHAREGPT},
    {"{\"instruction\":\"i\",\"input\":\"\",\"output\":\"o\"}", U("i") A("o") "|", FORMAT_ALPACA},
    {"{\"instruction\":\"i\",\"input\":\"n\",\"output\":\"o\",\"system\":\"s\",\"history\":[[\"p\",\"q\"]]}",
     S("s") U("p") A("q") U("i\nn") A("o") "|", FORMAT_ALPACA},
    {"{\"prompt\":\"p\",\"completion\":\"c\"}", U("p") A("c") "|", FORMAT_PROMPT_COMPLETION},
    {"{\"question\":\"p\",\"answer\":\"c\"}", U("p") A("c") "|", FORMAT_PROMPT_COMPLETION},
    {"{\"prompt\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"},"
     "{\"role\":\"user\",\"content\":\"c\"}],\"completion\":[{\"role\":\"assistant\",\"content\":\"d\"}]}",
     U("a") A_MASKED("b") U("c") A("d") "|", FORMAT_PROMPT_COMPLETION},
    {"{\"text\":\"ab\"}\n\r\n{\"text\":\"<|im_end|>\"}\r\n", "a[[b</s>]]|<|im_end|>[[</s>]]|", FORMAT_TEXT},
    {"\xEF\xBB\xBF{\"input_ids\":[65,66,67],\"labels\":[-100,66,-100]}\n{\"input_ids\":[65,66,257]}",
     "A[[B]]C|A[[B<|im_end|>]]|", FORMAT_INPUT_IDS},
    {"{\"input_ids\":[0,65,66,0],\"attention_mask\":[0,1,1,0],\"labels\":[-100,65,66,-100]}", "A[[B]]|",
     FORMAT_INPUT_IDS},
    // TRL's masks; -100 and a mask both leave out
    {"{\"input_ids\":[65,66,67],\"completion_mask\":[0,1.0,0]}", "A[[B]]C|", FORMAT_INPUT_IDS},
    {"{\"input_ids\":[65,66,67],\"assistant_masks\":[0,0,1],\"completion_mask\":null}", "AB[[C]]|", FORMAT_INPUT_IDS},
    {"{\"input_ids\":[65,66,67],\"labels\":[-100,66,67],\"completion_mask\":[1,1,0]}", "A[[B]]C|", FORMAT_INPUT_IDS},
    {" [\n{\"text\":\"a]\"} ,\n {\"text\":\"\\\"b\\\\\"}\n]\n", "a[[]</s>]]|\"[[b\\</s>]]|", FORMAT_TEXT},
};

static void test_dataset_formats_with_template(void **state) {
    (void)state;
    Bench b = bench_new(false);
    for (size_t i = 0; i < sizeof CHAT_CASES / sizeof *CHAT_CASES; i++) check_case(&b, &CHAT_CASES[i], true);
    bench_free(&b);
}

static void test_dataset_formats_without_template(void **state) {
    (void)state;
    static const Case cases[] = {
        {"{\"prompt\":\"p \",\"response\":\"c\"}", "<s>p [[c</s>]]|", FORMAT_PROMPT_COMPLETION},
        {"{\"instruction\":\"i\",\"output\":\"o\"}", "<s>i\n[[o</s>]]|", FORMAT_ALPACA},
        {"{\"instruction\":\"i\",\"input\":\"n\",\"output\":\"o\",\"system\":\"s\",\"history\":[[\"p\",\"q\"]]}",
         "<s>s\np\nq\ni\nn\n[[o</s>]]|", FORMAT_ALPACA},
        {"{\"text\":\"ab\"}", "<s>[[ab</s>]]|", FORMAT_TEXT},
        {"{\"prompt\":\"<s>\",\"completion\":\"</s>\"}", "<s>[[</s>]]|", FORMAT_PROMPT_COMPLETION},
    };
    Bench b = bench_new(true);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_case(&b, &cases[i], false);
    bench_free(&b);
}

static void test_dataset_train_on_inputs_supervises_all_but_the_first(void **state) {
    (void)state;
    Bench b = bench_new(false);
    b.o.train_on_inputs = true;
    Case chat = {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"}]}",
                 "<|im_start|>[[user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n]]|", FORMAT_MESSAGES};
    check_case(&b, &chat, true);
    Case raw = {"{\"prompt\":\"pq\",\"completion\":\"c\"}", "p[[qc</s>]]|", FORMAT_PROMPT_COMPLETION};
    check_case(&b, &raw, false);
    bench_free(&b);
}

static void test_dataset_control_text_of_users_stays_text(void **state) {
    (void)state;
    Bench b = bench_new(false);
    Dataset *d;
    Err err;
    put_text("d.jsonl", "{\"prompt\":\"<|im_start|><s>\",\"completion\":\"<|im_end|><think>\"}");
    ASSERT_OK(bench_open(&d, &b, true, &err), &err);
    Sample s = dataset_sample(d, 0);
    int controls = 0, thinks = 0;
    for (int64_t i = 0; i < s.count; i++) {
        controls += s.ids[i] >= ID_IM_START && s.ids[i] <= ID_EOS;
        thinks += s.ids[i] == ID_THINK;
    }
    assert_int_equal(controls, 4); // the template's own
    assert_int_equal(thinks, 1);
    dataset_close(d);
    bench_free(&b);
}

// ---- files ----

static void test_dataset_txt_is_one_document_in_windows(void **state) {
    (void)state;
    Bench b = bench_new(false);
    Dataset *d;
    Err err;
    b.files[0] = "a.txt";
    b.o.max_seq_length = 4;
    put_text("a.txt", "\xEF\xBB\xBF"
                      "abcdefg"); // and EOS: 8 tokens
    ASSERT_OK(bench_open(&d, &b, true, &err), &err);
    char *got = shown(d, b.t);
    assert_string_equal(got, "a[[bcd]]|e[[fg</s>]]|");
    mem_free(got);
    dataset_close(d);
    put_text("a.txt", "abc\r\nefg"); // 9 tokens: the last window is not a single token
    ASSERT_OK(bench_open(&d, &b, true, &err), &err);
    assert_int_equal(d->stats.records, 1);
    assert_int_equal(d->stats.samples, 3);
    assert_int_equal(d->stats.tokens, 9);
    assert_int_equal(dataset_sample(d, 1).count, 3);
    assert_int_equal(dataset_sample(d, 2).count, 2);
    dataset_close(d);
    bench_free(&b);
}

static void test_dataset_joins_files_and_numbers_records(void **state) {
    (void)state;
    Bench b = bench_new(false);
    Dataset *d;
    Err err;
    put_text("d.jsonl", "{\"text\":\"ab\"}\n{\"text\":\"cd\"}\n");
    put_text("e.json", "{\"prompt\":\"p\",\"completion\":\"c\"}\n"); // JSONL under the wrong name
    put_text("f.json", "[{\"text\":\"ef\"}]");
    b.files[1] = "e.json";
    b.files[2] = "f.json";
    b.o.n_files = 3;
    ASSERT_OK(bench_open(&d, &b, false, &err), &err);
    char *got = shown(d, b.t);
    assert_string_equal(got, "a[[b</s>]]|c[[d</s>]]|p[[c</s>]]|e[[f</s>]]|");
    assert_int_equal(d->stats.format, FORMAT_AUTO); // several
    for (int64_t i = 0; i < 4; i++) assert_int_equal(dataset_sample(d, i).record, i);
    mem_free(got);
    dataset_close(d);
    bench_free(&b);
}

// ---- length policy and counts ----

static const char LENGTHS[] = "{\"prompt\":\"p\",\"completion\":\"c\"}\n"      // 3 tokens
                              "{\"prompt\":\"pppppp\",\"completion\":\"c\"}\n" // 8, its answer after the limit
                              "{\"prompt\":\"p\",\"completion\":\"cccccc\"}\n" // 8
                              "{\"input_ids\":[1,2],\"labels\":[-100,-100]}\n" // nothing to learn
                              "{\"input_ids\":[1,2,3,4,5,6,7],\"labels\":[-100,-100,-100,-100,-100,-100,-100]}\n";

static void open_lengths(Dataset **d, Bench *b, Truncation truncation) {
    Err err;
    char *split = strstr(LENGTHS, "{\"input_ids\"");
    scratch_put("d.jsonl", LENGTHS, (size_t)(split - LENGTHS));
    put_text("e.jsonl", split);
    b->files[1] = "e.jsonl";
    b->o.n_files = 2;
    b->o.max_seq_length = 5;
    b->o.truncation = truncation;
    ASSERT_OK(bench_open(d, b, false, &err), &err);
}

static void test_dataset_counts_every_record_once(void **state) {
    (void)state;
    Bench b = bench_new(false);
    Dataset *d;
    open_lengths(&d, &b, TRUNCATION_DROP);
    const DatasetStats *s = &d->stats;
    assert_int_equal(s->records, 5);
    assert_int_equal(s->samples, 1);
    assert_int_equal(s->dropped_long, 2);
    assert_int_equal(s->dropped_tokens, 16);
    assert_int_equal(s->skipped_unsupervised, 2);
    assert_int_equal(s->tokens, 3);
    assert_int_equal(s->supervised, 2);
    assert_int_equal(s->longest, 8);
    dataset_close(d);
    open_lengths(&d, &b, TRUNCATION_TRUNCATE);
    s = &d->stats;
    assert_int_equal(s->samples, 2);
    assert_int_equal(s->truncated, 1);
    assert_int_equal(s->truncated_tokens, 3);
    assert_int_equal(s->skipped_unsupervised, 3);
    assert_int_equal(s->dropped_long, 0);
    assert_int_equal(s->tokens, 8);
    char *got = shown(d, b.t);
    assert_string_equal(got, "p[[c</s>]]|p[[cccc]]|");
    mem_free(got);
    dataset_close(d);
    bench_free(&b);
}

static void test_dataset_counts_characters_without_a_token(void **state) {
    (void)state;
    Bench b = bench_new(false);
    Dataset *d;
    Err err;
    b.o.format = FORMAT_PROMPT_COMPLETION;
    put_text("d.jsonl", "{\"prompt\":\"p\\u0004\",\"completion\":\"c\\u0004\\u0004\"}\n");
    for (int with_chat = 0; with_chat < 2; with_chat++) {
        ASSERT_OK(bench_open(&d, &b, with_chat, &err), &err);
        assert_int_equal(d->stats.left_out_bytes, 3);
        dataset_close(d);
    }
    b.o.format = FORMAT_TEXT;
    put_text("d.jsonl", "{\"text\":\"a\\u0004b\"}\n{\"text\":\"ab\"}\n");
    ASSERT_OK(bench_open(&d, &b, false, &err), &err);
    assert_int_equal(d->stats.left_out_bytes, 1);
    dataset_close(d);
    bench_free(&b);
}

static void test_dataset_fits_exactly(void **state) {
    (void)state;
    Bench b = bench_new(false);
    Dataset *d;
    Err err;
    b.o.max_seq_length = 5;
    put_text("d.jsonl", "{\"prompt\":\"pp\",\"completion\":\"cc\"}");
    ASSERT_OK(bench_open(&d, &b, false, &err), &err);
    assert_int_equal(d->count, 1);
    dataset_close(d);
    bench_free(&b);
}

// ---- refusals ----

typedef struct Bad {
    const char *file, *data, *message;
} Bad;

static const Bad BAD[] = {
    {"d.jsonl", "", "d.jsonl: found an empty file"},
    {"d.jsonl", " \r\n \n", "d.jsonl: found an empty file"},
    {"d.json", "[ ]", "d.json: found no records"},
    {"d.txt", "", "d.txt: found an empty file"},
    {"d.jsonl", "{\"text\":\"a\"}\n\n{\"text\":\"b\"\n", "d.jsonl:3: found the end"},
    {"d.jsonl", "{\"text\":\"a\"}\n{\"text\":\"\xFF\"}\n", "d.jsonl:2: found byte 0xFF"},
    {"d.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"} x\n", "d.jsonl:2: found 'x'"},
    {"d.jsonl", "{\"text\":\"a\0\"}", "d.jsonl:1: found the end"},
    {"d.json", "[{\"text\":\"a\"},\n{\"text\":7}]", "d.json:2: text: found an integer; expected a string"},
    {"d.json", "[{\"text\":\"a\"}\n{\"text\":\"b\"}]", "d.json:2: found '{'"},
    {"d.json", "[{\"text\":\"a\"},\n]", "d.json:2: found ']' in the array of records; expected a record"},
    {"d.json", "[{\"text\":\"a\"}", "d.json:1: found the end in the array of records; expected ',' or ']'"},
    {"d.json", "[{\"text\":\"a\"}]\n,", "d.json:2: found more text after the array"},
    {"d.json", "{\n\"data\": []\n}", "d.json:1: found an object over several lines"},
    {"d.txt", "ab\ncd\xC3(", "d.txt:2: found byte 0xC3; expected valid UTF-8"},
    {"d.csv", "a,b", "d.csv: found no records"},
    {"d.csv", "a,b\n1,2", "d.csv:2: found a record with the keys {a, b}; expected messages"},
    {"d.csv", "prompt,completion\na,\n",
     "d.csv:2: found a record with the keys {prompt, completion: null}; expected messages"},
    {"d.zip", "a", "d.zip: .zip files are not in this version"},
    {"d.xz.gz", "a", "d.xz.gz: .xz files are not in this version"},
    {"d.jsonl.gz", "a", "d.jsonl.gz: found damaged compressed data"},
    {"d.jsonl", "PAR1", "d.jsonl: found a Parquet file; expected a name that ends in .parquet"},
    {"d.arrow", "a", "d.arrow: .arrow files are not read; convert: python -c"},
    {"d.bin", "a", "d.bin: found a data file of unknown kind; expected .jsonl, .json, .txt, .csv, .tsv or .tar"},
    {"d.jsonl", "7", "d.jsonl:1: found an integer; expected a record, an object"},
    {"d.jsonl", "{\"foo\":1,\"bar\":2}", "d.jsonl:1: found a record with the keys {foo, bar}; expected messages"},
    {"d.jsonl", "{\"prompt\":\"p\",\"chosen\":\"a\",\"rejected\":\"b\"}", "preference data (chosen, rejected)"},
    {"d.jsonl", "{\"prompt\":\"p\",\"completion\":\"a\",\"label\":true}",
     "preference data (label with true or false, as for KTO)"},
    {"d.jsonl", "{\"messages\":[\"x\"]}",
     "messages[0]: found the text \"x\"; expected an object with role and content"},
    {"d.jsonl", "{\"messages\":[]}", "d.jsonl:1: found a conversation without messages"},
    {"d.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}", "1 without a supervised token"},
    {"d.jsonl", "{\"messages\":[3]}", "messages[0]: found an integer; expected a message"},
    {"d.jsonl", "{\"messages\":[{\"content\":\"a\"}]}", "messages[0].role: found nothing; expected a string"},
    {"d.jsonl", "{\"messages\":[{\"role\":\"user\"}]}", "messages[0].content: found nothing"},
    {"d.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":\"x\"}]}]}",
     "messages[0].content[0]: found a part of type \"image_url\"; this version trains on text only"},
    {"d.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"weight\":0.5}]}",
     "messages[0].weight: found 0.5; expected 0 or 1"},
    {"d.jsonl", "{\"messages\":[{\"role\":\"assistant\",\"function_call\":{}}]}", "expected tool_calls"},
    {"d.jsonl", "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"name\":\"f\",\"arguments\":\"{x\"}]}]}",
     "messages[0].tool_calls[0]: arguments: found 'x'"},
    {"d.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"tools\":\"{}\"}",
     "tools: found an object; expected a list"},
    {"d.jsonl", "{\"conversations\":[{\"from\":\"human\",\"text\":\"a\"}]}",
     "conversations[0]: found an object with the keys {from, text}; expected {\"from\": \"...\", \"value\": \"...\"}"},
    {"d.jsonl", "{\"text\":\"a\"}\n{\"prompt\":\"a\"}", "d.jsonl:2: found a record with the keys {prompt}"},
    {"d.jsonl", "{\"instruction\":\"a\",\"output\":\"b\",\"history\":[[\"a\"]]}", "history[0]: found an array"},
    {"d.jsonl", "{\"prompt\":\"a\",\"completion\":[]}", "completion: found an array; expected a string"},
    {"d.jsonl", "{\"input_ids\":[1,261]}",
     "d.jsonl:1: record 1: input_ids[1]: found 261; expected a token id below 261"},
    {"d.jsonl", "{\"input_ids\":[1,-1]}", "input_ids[1]: found -1"},
    {"d.jsonl", "{\"input_ids\":[1,2],\"labels\":[1]}", "labels: found 1 value; expected 2"},
    {"d.jsonl", "{\"input_ids\":[1,2],\"labels\":[2,-100]}", "labels[0]: found 2; expected -100 or 1"},
    {"d.jsonl", "{\"input_ids\":[1,2,3],\"attention_mask\":[1,0,1]}", "attention_mask[1]: found 0"},
    {"d.jsonl", "{\"input_ids\":[1,2],\"completion_mask\":[0,2]}", "completion_mask[1]: found 2; expected 0 or 1"},
    {"d.jsonl", "{\"input_ids\":[1,2],\"assistant_masks\":[1]}", "assistant_masks: found 1 value; expected 2"},
    {"d.jsonl", "{\"input_ids\":[1,2],\"labels\":[-100,-100]}", "no sample to train on in 1 record"},
};

static void test_dataset_refuses_bad_input_by_name(void **state) {
    (void)state;
    Bench b = bench_new(false);
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        Dataset *d;
        Err err;
        b.files[0] = BAD[i].file;
        put_text(BAD[i].file, BAD[i].data);
        ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err, BAD[i].message);
        assert_int_equal(err.kind, ERR_INPUT);
        assert_null(d);
    }
    bench_free(&b);
}

static void test_dataset_refuses_bad_options(void **state) {
    (void)state;
    Bench b = bench_new(false);
    Dataset *d;
    Err err;
    put_text("d.jsonl",
             "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"}]}");
    ASSERT_REFUSED(bench_open(&d, &b, false, &err), &err, "the model has no chat template");
    b.o.format = FORMAT_ALPACA;
    ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err, "d.jsonl:1: instruction: found nothing; expected a string");
    b.o.format = FORMAT_AUTO;
    b.o.max_seq_length = 8;
    ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err, "1 longer than max_seq_length 8 (the longest has");
    b.o.truncation = TRUNCATION_ERROR;
    ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err, "d.jsonl:1: found a sample of");
    b.files[0] = "missing.jsonl";
    ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err, "missing.jsonl");
    b.files[0] = "d.txt";
    b.o.format = FORMAT_MESSAGES;
    put_text("d.txt", "abc");
    ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err, "d.txt: a .txt file is text; dataset_format says messages");
    bench_free(&b);
}

// Of several broken records the first is reported, however many threads read them.
static void test_dataset_reports_the_first_broken_record(void **state) {
    (void)state;
    Bench b = bench_new(false);
    StrBuf data = {0};
    for (int i = 1; i <= 3000; i++) str_printf(&data, i % 700 ? "{\"text\":\"record %d\"}\n" : "{\"text\":%d}\n", i);
    put_text("d.jsonl", data.data);
    for (int i = 0; i < 5; i++) {
        Dataset *d;
        Err err;
        ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err, "d.jsonl:700: text: found an integer");
    }
    str_clear(&data);
    bench_free(&b);
}

// Every format with bytes changed at random: read or refused with a message, never more.
static void test_dataset_survives_damaged_files(void **state) {
    (void)state;
    Bench b = bench_new(false);
    uint64_t seed = 7;
    b.o.cache_dir = NULL; // and no place for a cache: nothing is written
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    for (size_t i = 0; i < sizeof CHAT_CASES / sizeof *CHAT_CASES * 100; i++) {
        const Case *c = &CHAT_CASES[i / 100];
        char *data = mem_strdup(c->data);
        for (int k = 0; k < 3; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            data[(seed >> 33) % strlen(c->data)] = "{}[]\",:x07-\\ \n\xFF"[(seed >> 20) % 15];
        }
        Dataset *d;
        Err err = {0};
        scratch_put("d.jsonl", data, strlen(c->data));
        if (bench_open(&d, &b, true, &err)) assert_true(err.msg[0] != 0);
        dataset_close(d);
        mem_free(data);
    }
    bench_free(&b);
}

// One record of several megabytes, and a deep one.
static void test_dataset_long_line_and_deep_nesting(void **state) {
    (void)state;
    Bench b = bench_new(false);
    Dataset *d;
    Err err;
    enum { LONG = 4 << 20 };
    StrBuf data = {0};
    str_puts(&data, "{\"text\":\"");
    for (int i = 0; i < LONG / 8; i++) str_puts(&data, "abcd efg");
    str_puts(&data, "\"}\n");
    put_text("d.jsonl", data.data);
    b.o.max_seq_length = 100000;
    ASSERT_OK(bench_open(&d, &b, true, &err), &err);
    assert_int_equal(d->stats.tokens, LONG + 1);
    assert_int_equal(d->count, LONG / 100000 + 1);
    dataset_close(d);
    str_clear(&data);
    for (int i = 0; i < 100000; i++) str_puts(&data, "[");
    put_text("d.jsonl", data.data);
    ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err, "d.jsonl:1:");
    str_clear(&data);
    bench_free(&b);
}

// ---- prompts for generation ----

static void check_prompt_case(Bench *b, const char *data, bool with_chat, const char *text, const char *prompt,
                              const char *reference) {
    PromptCase *cases;
    int64_t n;
    Err err;
    StrBuf got = {0};
    put_text("d.jsonl", data);
    b->o.files = b->files;
    ASSERT_OK(prompt_cases_load(&cases, &n, &(CaseChoice){0}, &b->o, b->t, with_chat ? b->chat : NULL, &err), &err);
    assert_int_equal(n, 1);
    tokenizer_decode(b->t, cases[0].ids, (size_t)cases[0].count, true, &got);
    assert_string_equal(got.data, text);
    assert_string_equal(cases[0].prompt, prompt);
    assert_string_equal(cases[0].reference, reference);
    str_clear(&got);
    prompt_cases_free(cases, n);
}

static void test_prompt_cases_ask_for_the_last_assistant_turn(void **state) {
    (void)state;
    Bench b = bench_new(true);
    check_prompt_case(&b,
                      "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"},"
                      "{\"role\":\"user\",\"content\":\" c\"},{\"role\":\"assistant\",\"content\":\" d\\n\"},"
                      "{\"role\":\"user\",\"content\":\"thanks\"}]}\n{\"messages\":[{\"role\":\"user\","
                      "\"content\":\"a\"}]}",
                      true, U("a") A_MASKED("b") U(" c") "<|im_start|>assistant\n", "c", "d");
    check_prompt_case(&b,
                      "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"\","
                      "\"tool_calls\":[{\"name\":\"f\",\"arguments\":{}}]}]}",
                      true, U("a") "<|im_start|>assistant\n", "a", "<call>{\"name\": \"f\", \"arguments\": {}}</call>");
    check_prompt_case(&b, "{\"prompt\":\"2+2=\",\"completion\":\" 4\"}", false, "<s>2+2=", "2+2=", "4");
    Err err;
    PromptCase *cases;
    int64_t n;
    put_text("d.jsonl", "{\"prompt\":\"p\",\"completion\":\"c\"}\n{\"prompt\":\"q\",\"completion\":\"c\"}\n{broken");
    ASSERT_OK(prompt_cases_load(&cases, &n, &(CaseChoice){.limit = 2}, &b.o, b.t, NULL, &err),
              &err); // no further than needed
    assert_int_equal(n, 2);
    prompt_cases_free(cases, n);
    put_text("d.jsonl", "{\"text\":\"a\"}");
    ASSERT_REFUSED(prompt_cases_load(&cases, &n, &(CaseChoice){0}, &b.o, b.t, b.chat, &err), &err,
                   "d.jsonl:1: found text data");
    put_text("d.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}");
    ASSERT_REFUSED(prompt_cases_load(&cases, &n, &(CaseChoice){0}, &b.o, b.t, b.chat, &err), &err,
                   "found no assistant turn");
    bench_free(&b);
}

static void test_sample_show_makes_control_characters_visible(void **state) {
    (void)state;
    Bench b = bench_new(false);
    Case c = {"{\"text\":\"a\\u001b[2J\\u009b\\u0007\\tb\"}", "a[[\\x1B[2J\\u009B\\x07\tb</s>]]|", FORMAT_TEXT};
    check_case(&b, &c, true);
    bench_free(&b);
}

TEST_MAIN(SCRATCH_TEST(test_dataset_formats_with_template), SCRATCH_TEST(test_dataset_formats_without_template),
          SCRATCH_TEST(test_dataset_train_on_inputs_supervises_all_but_the_first),
          SCRATCH_TEST(test_dataset_control_text_of_users_stays_text),
          SCRATCH_TEST(test_dataset_txt_is_one_document_in_windows),
          SCRATCH_TEST(test_dataset_joins_files_and_numbers_records),
          SCRATCH_TEST(test_dataset_counts_every_record_once),
          SCRATCH_TEST(test_dataset_counts_characters_without_a_token), TEST(test_dataset_fits_exactly),
          SCRATCH_TEST(test_dataset_refuses_bad_input_by_name), SCRATCH_TEST(test_dataset_refuses_bad_options),
          SCRATCH_TEST(test_dataset_reports_the_first_broken_record), SCRATCH_TEST(test_dataset_survives_damaged_files),
          SCRATCH_TEST(test_dataset_long_line_and_deep_nesting),
          SCRATCH_TEST(test_prompt_cases_ask_for_the_last_assistant_turn),
          SCRATCH_TEST(test_sample_show_makes_control_characters_visible))
