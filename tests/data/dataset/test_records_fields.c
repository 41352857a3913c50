// Records: no key is left out silently, null and other spellings of the same value change nothing, labels of answers
// and empty answers are refused, and an error says what a file or a record is instead of what it should be.
#include "dataset_fixture.h"
#include "shards.h"

#define USER "{\"role\":\"user\",\"content\":\"a\"}"
#define ANSWER "{\"role\":\"assistant\",\"content\":\"b\"}"
#define MESSAGES "\"messages\":[" USER "," ANSWER "]"
#define TURNS "\"conversations\":[{\"from\":\"human\",\"value\":\"a\"},{\"from\":\"gpt\",\"value\":\"b\"}]"

static Dataset *open_file(Bench *b, const char *file, const char *text) {
    Dataset *d;
    Err err;
    b->files[0] = file;
    put_text(file, text);
    if (bench_open(&d, b, true, &err)) fail_msg("%s: %s", text, err.msg);
    return d;
}

// ---- keys that nothing reads ----

typedef struct Unread {
    const char *data, *want;
} Unread;

static const Unread UNREAD[] = {
    {"{" MESSAGES "}", ""},
    {"{" MESSAGES ",\"id\":1,\"context\":\"c\"}\n{" MESSAGES ",\"id\":2,\"meta\":{\"x\":1}}",
     "id (2 records), context (1), meta (1)"},
    {"{" MESSAGES ",\"id\":null,\"tools\":null}", ""}, // null is absence
    {"{" MESSAGES ",\"conversations\":[],\"prompt\":\"p\",\"text\":\"t\"}",
     "conversations (1 record), prompt (1), text (1)"},
    // of messages: what the template has looked at is used, so are the keys of the mask
    {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"name\":\"N\"},{\"role\":\"assistant\",\"content\":\"b\","
     "\"train\":true,\"weight\":1,\"score\":2,\"id\":null}]}",
     "messages[].name (1 record), messages[].score (1)"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\",\"cache_control\":{\"x\":1},"
     "\"image\":null}]}," ANSWER "]}",
     "messages[].content[].cache_control (1 record)"},
    {"{\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"7\",\"type\":"
     "\"function\",\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1},\"strict\":true}}]}]}",
     "messages[].tool_calls[].id (1 record), messages[].tool_calls[].type (1)"}, // the function is printed whole
    {"{" MESSAGES ",\"chat_template_kwargs\":{\"mood\":\"m\",\"enable_thinking\":false,\"x\":null}}",
     "chat_template_kwargs.enable_thinking (1 record)"},
    {"[{\"role\":\"user\",\"content\":\"a\",\"name\":\"N\"}," ANSWER "]", "messages[].name (1 record)"},
    // the keys of masks are read here; true outside assistant turns does nothing
    {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"train\":false},{\"role\":\"assistant\",\"content\":\"b\","
     "\"training\":true,\"trainable\":1,\"loss\":true,\"loss_mask\":1,\"masked\":false,\"mask\":false}]}",
     ""},
    {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"loss\":true}," ANSWER "]}",
     "messages[].train (true outside assistant turns) (1 record)"},
    // of turns
    {"{\"conversations\":[{\"from\":\"human\",\"value\":\"a\",\"ts\":1,\"weight\":1.0},{\"from\":\"gpt\",\"value\":"
     "\"b\",\"role\":\"x\"}],\"id\":\"i\"}",
     "conversations[].role (1 record), id (1), conversations[].ts (1)"},
    // of the other formats
    {"{\"instruction\":\"i\",\"output\":\"o\",\"context\":\"c\",\"text\":\"t\"}", "context (1 record), text (1)"},
    {"{\"question\":\"q\",\"context\":\"c\",\"answer\":\"a\",\"prompt\":null}", "context (1 record)"},
    {"{\"prompt\":\"p\",\"completion\":\"c\",\"answer\":\"x\",\"input\":\"i\"}", "answer (1 record), input (1)"},
    {"{\"prompt\":[{\"role\":\"user\",\"content\":\"a\",\"name\":\"N\"}],\"completion\":[" ANSWER "]}",
     "prompt+completion[].name (1 record)"},
    {"{\"segments\":[{\"text\":\"a\",\"label\":true,\"note\":\"n\"},{\"text\":\"b</s>\",\"label\":true}],\"id\":1}",
     "segments[].note (1 record), id (1)"},
    {"{\"text\":\"ab\",\"url\":\"u\",\"score\":NaN,\"label\":3}", "url (1 record), score (1), label (1)"},
    {"{\"input_ids\":[65,66],\"token_type_ids\":[0,0],\"labels\":null,\"attention_mask\":null}",
     "token_type_ids (1 record)"},
    {"{\"text\":\"ab\",\"\\u001b[2J\\u0000\\u009bx\":1}", "\\x1B[2J\\x00\\x9Bx (1 record)"},
};

static void check_unread(const Dataset *d, const char *data, const char *want) {
    StrBuf got = {0};
    key_counts_show(&got, &d->unread);
    if (strcmp(got.data ? got.data : "", want) != 0) fail_msg("%s: unread: %s; expected %s", data, got.data, want);
    str_clear(&got);
}

// From the cache the counts are the same.
static void test_records_count_keys_that_nothing_reads(void **state) {
    (void)state;
    Bench b = bench_new(false);
    for (size_t i = 0; i < sizeof UNREAD / sizeof *UNREAD; i++)
        for (int cached = 0; cached < 2; cached++) {
            Dataset *d = open_file(&b, "d.jsonl", UNREAD[i].data);
            assert_int_equal(d->from_cache, cached);
            check_unread(d, UNREAD[i].data, UNREAD[i].want);
            dataset_close(d);
        }
    bench_free(&b);
}

// Raw text has no place for tools and template variables.
static void test_records_count_keys_without_template(void **state) {
    (void)state;
    Bench b = bench_new(false);
    Dataset *d;
    Err err;
    put_text("d.jsonl", "{\"prompt\":\"p\",\"completion\":\"c\",\"tools\":[{\"name\":\"f\"}],"
                        "\"chat_template_kwargs\":{\"mood\":1},\"system\":\"s\"}");
    ASSERT_OK(bench_open(&d, &b, false, &err), &err);
    check_unread(d, "raw", "tools (1 record), chat_template_kwargs (1)");
    dataset_close(d);
    bench_free(&b);
}

static void test_records_count_keys_of_classification_and_shards(void **state) {
    (void)state;
    Bench b = bench_new(false);
    StrBuf tar = {0};
    b.o.classification = true;
    Dataset *d = open_file(&b, "d.jsonl",
                           "{\"sentence1\":\"a\",\"sentence2\":\"b\",\"label\":0,\"idx\":1}\n"
                           "{\"text\":\"a\",\"label\":1,\"content\":\"c\",\"idx\":null}");
    check_unread(d, "classes", "idx (1 record), content (1)");
    dataset_close(d);
    b.o.classification = false;
    tar_file(&tar, "a", "a name of one character, then zeros, as in UTF-32");
    tar_file(&tar, "0.json", "{\"text\":\"ab\",\"license\":\"l\"}");
    tar_file(&tar, "1.jpg", "ef");
    tar_file(&tar, "1.txt", "cd");
    tar_file(&tar, "1.cls", "7");
    tar_end(&tar);
    scratch_put("s.tar", tar.data, tar.len);
    b.files[0] = "s.tar";
    Err err;
    ASSERT_OK(bench_open(&d, &b, true, &err), &err);
    check_unread(d, "shard", "license (1 record), label (1), name without a key (1), *.jpg (1)");
    dataset_close(d);
    str_clear(&tar);
    bench_free(&b);
}

// Any number of names, of any length: a bounded list, and the rest counted together.
static void test_records_count_keys_in_bounded_memory(void **state) {
    (void)state;
    Bench b = bench_new(false);
    StrBuf data = {0};
    enum { RECORDS = 40, KEYS = 50 };
    for (int i = 0; i < RECORDS; i++) {
        str_puts(&data, "{\"text\":\"ab\"");
        for (int k = 0; k < KEYS; k++) str_printf(&data, ",\"%d-%0300d\":1,\"key %d of %d\":2", k, i, k, i);
        str_puts(&data, "}\n");
    }
    Dataset *d = open_file(&b, "d.jsonl", data.data);
    const KeyCounts *c = &d->unread;
    assert_int_equal(c->count, KEYS_NAMED);
    assert_int_equal(c->others, RECORDS);
    for (size_t i = 0; i < c->count; i++) assert_true(strlen(c->names[i]) < KEY_NAME_BYTES);
    dataset_close(d);
    str_clear(&data);
    bench_free(&b);
}

static void test_records_names_that_belong_to_the_prompt(void **state) {
    (void)state;
    assert_true(key_is_prompt_like("context") && key_is_prompt_like("Passage") && key_is_prompt_like("system_prompt"));
    assert_false(key_is_prompt_like("id") || key_is_prompt_like("source") || key_is_prompt_like("text"));
}

// ---- the same value in other words ----

#define TOOLS "[{\"name\":\"f\"}]"
#define CALLS "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1}}}]"
#define CALLS_TEXT "\"[{\\\"function\\\":{\\\"name\\\":\\\"f\\\",\\\"arguments\\\":{\\\"x\\\":1}}}]\""

static const Unread SAME[] = {
    // as the second
    {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"name\":null,\"tool_calls\":null,\"function_call\":null,"
     "\"train\":null,\"weight\":null},{\"role\":\"assistant\",\"content\":\"b\",\"train\":null,\"weight\":null,"
     "\"tool_calls\":null}],\"tools\":null,\"chat_template_kwargs\":null,\"label\":null,\"chosen\":null,"
     "\"system\":null}",
     "{" MESSAGES "}"},
    {"{\"messages\":null,\"input_ids\":null,\"chosen\":null,\"conversation\":[" USER "," ANSWER "]}", "{" MESSAGES "}"},
    {"{\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"b\",\"weight\":1.0,\"train\":1}]}",
     "{" MESSAGES "}"},
    {"{\"messages\":[" USER "," ANSWER "," USER ",{\"role\":\"assistant\",\"content\":\"b\",\"weight\":0.0}]}",
     "{\"messages\":[" USER "," ANSWER "," USER ",{\"role\":\"assistant\",\"content\":\"b\",\"train\":false}]}"},
    {"{\"messages\":\"[{\\\"role\\\":\\\"user\\\",\\\"content\\\":\\\"a\\\"},{\\\"role\\\":\\\"assistant\\\","
     "\\\"content\\\":\\\"b\\\"}]\",\"tools\":\""
     "\"}",
     "{" MESSAGES "}"},
    {"{\"conversations\":\" [{\\\"from\\\":\\\"human\\\",\\\"value\\\":\\\"a\\\"},{\\\"from\\\":\\\"gpt\\\","
     "\\\"value\\\":\\\"b\\\"}]\"}",
     "{" TURNS "}"},
    {"{\"messages\":[\"{\\\"role\\\":\\\"user\\\",\\\"content\\\":\\\"a\\\"}\"," ANSWER "]}", "{" MESSAGES "}"},
    {"[" USER "," ANSWER "]\n", "{" MESSAGES "}"},
    {"[" USER "," ANSWER "]\n\n[" USER ",\n" ANSWER "]\n", "{" MESSAGES "}\n{" MESSAGES "}"},
    {"[[" USER "," ANSWER "],\n[" USER "," ANSWER "]]\n", "{" MESSAGES "}\n{" MESSAGES "}"},
    {"[{\"from\":\"human\",\"value\":\"a\"},{\"from\":\"gpt\",\"value\":\"b\"}]", "{" TURNS "}"},
    {"{\"conversations\":[{\"from\":\"human\",\"value\":\"a\",\"weight\":null},{\"from\":\"gpt\",\"value\":\"b\","
     "\"train\":null}],\"system\":null,\"tools\":null}",
     "{" TURNS "}"},
    {"{\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":" CALLS_TEXT "}],\"tools\":\""
     "[{\\\"name\\\":\\\"f\\\"}]\",\"chat_template_kwargs\":\"{\\\"mood\\\":\\\"m\\\"}\"}",
     "{\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":" CALLS "}],\"tools\":" TOOLS
     ",\"chat_template_kwargs\":{\"mood\":\"m\"}}"},
    {"{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"},{\"from\":\"function_call\",\"value\":\"{\\\"name\\\":"
     "\\\"f\\\"}\",\"weight\":0},{\"from\":\"gpt\",\"value\":\"b\"}]}",
     "{\"messages\":[" USER
     ",{\"role\":\"assistant\",\"content\":\"\",\"weight\":0,\"tool_calls\":[{\"name\":\"f\"}]}," ANSWER "]}"},
    {"{" MESSAGES ",\"tools\":[\"{\\\"name\\\":\\\"f\\\"}\"]}", "{" MESSAGES ",\"tools\":" TOOLS "}"},
    {"{\"system\":\"s\"," MESSAGES "}", "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"}," USER "," ANSWER "]}"},
    {"{\"instruction\":\"i\",\"input\":null,\"output\":\"o\",\"history\":null,\"system\":null}",
     "{\"instruction\":\"i\",\"output\":\"o\"}"},
    {"{\"instruction\":\"i\",\"output\":\"o\"}\n{\"instruction\":null,\"input\":\"i\",\"output\":\"o\"}",
     "{\"instruction\":\"i\",\"output\":\"o\"}\n{\"instruction\":\"i\",\"output\":\"o\"}"},
    {"{\"instruction\":\"i\",\"output\":\"o\",\"history\":\"[[\\\"a\\\",\\\"b\\\"]]\"}",
     "{\"instruction\":\"i\",\"output\":\"o\",\"history\":[[\"a\",\"b\"]]}"},
    {"{\"prompt\":\"p\",\"completion\":null,\"response\":\"c\",\"label\":null,\"system\":null}",
     "{\"prompt\":\"p\",\"completion\":\"c\"}"},
    {"{\"input_ids\":[65.0,66,6.7e1],\"labels\":[-100.0,66.0,67],\"attention_mask\":[1.0,1,1.0]}",
     "{\"input_ids\":[65,66,67],\"labels\":[-100,66,67]}"},
    {"{\"input_ids\":[65,66],\"labels\":null,\"attention_mask\":null}", "{\"input_ids\":[65,66]}"},
    {"{\"text\":\"ab\",\"x\":NaN,\"y\":[Infinity,-Infinity,1e400,-1E999],\"z\":{\"w\":NaN}}", "{\"text\":\"ab\"}"},
};

static void test_records_other_spellings_give_the_same_tokens(void **state) {
    (void)state;
    Bench b = bench_new(false);
    for (size_t i = 0; i < sizeof SAME / sizeof *SAME; i++) {
        Dataset *d = open_file(&b, "d.jsonl", SAME[i].data);
        char *got = shown(d, b.t);
        dataset_close(d);
        d = open_file(&b, "e.jsonl", SAME[i].want);
        char *want = shown(d, b.t);
        if (strcmp(got, want) != 0) fail_msg("%s: %s; expected %s", SAME[i].data, got, want);
        dataset_close(d);
        mem_free(got);
        mem_free(want);
    }
    bench_free(&b);
}

static void test_records_labels_as_whole_floats(void **state) {
    (void)state;
    Bench b = bench_new(false);
    b.o.classification = true;
    Dataset *d = open_file(&b, "d.jsonl",
                           "{\"text\":\"a\",\"label\":1.0}\n{\"text\":\"b\",\"label\":0,\"idx\":NaN}\n"
                           "{\"text\":\"c\",\"label\":false}");
    StrBuf labels = {0};
    label_list_show(&labels, d->labels, d->label_counts);
    assert_string_equal(labels.data, "0 (2), 1 (1)");
    str_clear(&labels);
    dataset_close(d);
    bench_free(&b);
}

// A .cls member is a number only where it is one in JSON.
static void test_records_cls_members_are_labels_as_text(void **state) {
    (void)state;
    static const char *const labels[][2] = {{"007", "008"}, {"1-2", "3-4"}, {"-", "+"}, {"--1", "0x1"}, {"1e5", "1.5"}};
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
        Bench b = bench_new(false);
        StrBuf tar = {0}, got = {0};
        Dataset *d;
        Err err;
        for (int k = 0; k < 2; k++) {
            char *name = mem_printf("%d.txt", k), *cls = mem_printf("%d.cls", k),
                 *line = mem_printf("%s\n", labels[i][k]);
            tar_file(&tar, name, "text");
            tar_file(&tar, cls, line);
            mem_free(name), mem_free(cls), mem_free(line);
        }
        tar_end(&tar);
        scratch_put("s.tar", tar.data, tar.len);
        b.files[0] = "s.tar";
        b.o.classification = true;
        ASSERT_OK(bench_open(&d, &b, false, &err), &err);
        label_list_show(&got, d->labels, d->label_counts);
        assert_non_null(strstr(got.data, labels[i][0]));
        assert_non_null(strstr(got.data, labels[i][1]));
        str_clear(&got);
        str_clear(&tar);
        dataset_close(d);
        bench_free(&b);
    }
}

// ---- refusals ----

typedef struct Refused {
    const char *file, *data;
    size_t len;
    const char *message;
} Refused;
#define REFUSED(file, data, message)                                                                                   \
    { file, data, sizeof(data) - 1, message }
#define LINE(data, message) REFUSED("d.jsonl", data, message)

static const Refused ANSWERS[] = {
    LINE("{" MESSAGES ",\"chosen\":\"c\",\"rejected\":\"r\"}",
         "preference data (chosen, rejected); expected task: \"preference\", or only"),
    LINE("{" MESSAGES ",\"rejected_response\":\"r\"}", "preference data (rejected_response)"),
    LINE("{" TURNS ",\"chosen\":{\"from\":\"gpt\",\"value\":\"x\"}}", "preference data (chosen)"),
    LINE("{\"text\":\"t\",\"prompt_chosen\":\"r\"}", "preference data (prompt_chosen)"),
    LINE("{\"input_ids\":[1,2],\"rejected_input_ids\":[1]}", "preference data (rejected_input_ids)"),
    LINE("{\"instruction\":\"i\",\"output\":\"o\",\"rejected\":\"r\"}", "preference data (rejected)"),
    LINE("{\"input\":{},\"preferred_output\":[],\"non_preferred_output\":[]}",
         "preference data (preferred_output, non"),
    LINE("{" MESSAGES ",\"label\":true}\n{" MESSAGES ",\"label\":false}", "d.jsonl:1: found preference data (label"),
    LINE("{" MESSAGES "}\n{" MESSAGES ",\"label\":false}", "d.jsonl:2: found preference data (label"),
    LINE("{" TURNS ",\"kto_tag\":false}", "preference data (kto_tag with true or false, as for KTO); expected task: "
                                          "\"preference\" with preference_loss: \"kto\""),
    LINE("{\"prompt\":\"p\",\"completion\":\"c\",\"label\":1}", "preference data (label"),
    LINE("{\"prompt\":\"p\",\"completion\":\"c\",\"label\":0.0}", "preference data (label"),
    LINE("{\"prompt\":\"p\",\"completion\":\"c\",\"label\":\"False\"}", "preference data (label"),
    LINE("{\"instruction\":\"i\",\"output\":\"o\",\"desirable\":true}", "preference data (desirable"),
    LINE("{\"text\":\"t\",\"label\":true}", "preference data (label"),
    LINE("{\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"b\",\"label\":false}]}",
         "preference data (a message's label"),
    LINE("{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"},{\"from\":\"gpt\",\"value\":\"b\",\"rejected\":"
         "\"c\"}]}",
         "preference data (a message's rejected); expected only"),
    LINE("{" MESSAGES "}\n{\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"\"}]}",
         "d.jsonl:2: record 2: messages: message 2: found an empty answer"),
    LINE("{\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\" \\n\"}," USER "," ANSWER "]}", "empty answer"),
    LINE("{\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"\"}]}]}",
         "empty answer"),
    LINE("{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"},{\"from\":\"gpt\",\"value\":\"\"}]}",
         "empty answer"),
    LINE("{\"prompt\":\"p\",\"completion\":\"\"}", "d.jsonl:1: record 1: completion: found an empty answer"),
    LINE("{\"question\":\"p\",\"answer\":\"\"}", "record 1: answer: found an empty answer"),
    LINE("{\"prompt\":[" USER "],\"completion\":[{\"role\":\"assistant\",\"content\":\"\"}]}", "empty answer"),
    LINE("{\"instruction\":\"i\",\"output\":\"\"}", "record 1: output: found an empty answer"),
    LINE("{\"instruction\":\"i\",\"output\":\"o\",\"history\":[[\"u\",\"\"]]}", "empty answer"),
};

static const Refused FILES[] = {
    // another encoding, with and without a byte order mark
    LINE("\xFF\xFE{\0\"\0", "d.jsonl: found UTF-16 text; expected UTF-8"),
    LINE("\xFE\xFF\0{\0\"", "d.jsonl: found UTF-16 text; expected UTF-8"),
    LINE("{\0\"\0t\0", "found UTF-16 text"),
    LINE("\0{\0\"\0t", "found UTF-16 text"),
    LINE("\xFF\xFE\0\0{\0\0\0", "found UTF-32 text"),
    LINE("\0\0\xFE\xFF\0\0\0{", "found UTF-32 text"),
    LINE("{\0\0\0\"\0\0\0", "found UTF-32 text"),
    LINE("\0\0\0{\0\0\0\"", "found UTF-32 text"),
    REFUSED("d.txt", "\xFF\xFEh\0i\0", "d.txt: found UTF-16 text"),
    REFUSED("d.tar", "\xFF\xFEh\0i\0", "d.tar: found UTF-16 text"),
    LINE("{\"text\":\"a\"}\n{\"text\":\"caf\xE9!\"}",
         "d.jsonl:2: found byte 0xE9; expected valid UTF-8 text (is it Latin-1"),
    REFUSED("d.txt", "caf\xE9!", "d.txt:1: found byte 0xE9; expected valid UTF-8 text (is it Latin-1"),
    LINE("{\"text\":\"a\"}\n\xEF\xBB\xBF{\"text\":\"b\"}", "d.jsonl:2: found a byte order mark inside the file"),
    // another kind of file
    LINE("\x1F\x8B\x08\0\0\0", "d.jsonl: found gzip data; expected a name that ends in .gz"),
    REFUSED("d.txt", "\x1F\x8B\x08\0\0\0", "d.txt: found gzip data"),
    REFUSED("d.tar", "\x1F\x8B\x08\0\0\0", "d.tar: found gzip data"),
    LINE("\x28\xB5\x2F\xFD\0", "d.jsonl: found Zstandard data"),
    LINE("PK\x03\x04", "d.jsonl: found a zip archive"),
    LINE("PAR1\x15\x04", "d.jsonl: found a Parquet file"),
    LINE("<!DOCTYPE html>", "d.jsonl: found an HTML page"),
    LINE("version https://git-lfs.github.com/spec/v1\n", "d.jsonl: found a Git LFS pointer"),
    REFUSED("d.jsonl.gz", "{\"text\":\"a\"}", "its first bytes are not those of gzip"),
    REFUSED("d.jsonl.zst", "{\"text\":\"a\"}", "its first bytes are not those of Zstandard"),
    LINE("prompt,completion\na,b\n", "d.jsonl:1: found \"prompt,completion\", which looks like CSV"),
    LINE("\"prompt\",\"completion\"\n", "which looks like CSV"),
    REFUSED("d.json", "prompt\tcompletion\n", "which looks like CSV"),
    LINE("- prompt: a\n", "d.jsonl:1: found \"- prompt: a\"; expected one JSON record a line"),
    LINE("", "d.jsonl: found an empty file"),
    LINE("\xEF\xBB\xBF", "d.jsonl: found an empty file"),
    // records that are not one a line
    LINE("{\"text\":\"a\"},\n{\"text\":\"b\"},\n", "d.jsonl:1: found a comma after the record, at column 13"),
    LINE("{\"text\":\"a\"}\n{\"text\":\"b\"} ,\n", "d.jsonl:2: found a comma after the record, at column 14"),
    LINE("[" USER "," ANSWER "],\n[" USER "," ANSWER "]", "d.jsonl:1: found a comma after the record"),
    LINE("[" USER "," ANSWER "]\n{" MESSAGES "}", "d.jsonl:2: found something else; expected a list of messages"),
    LINE("{\"text\":\"a\"}{\"text\":\"b\"}", "d.jsonl:1: found '{' of a second record at column 13"),
    LINE("{\n \"text\": \"a\"\n}\n", "d.jsonl:1: found an object over several lines"),
    LINE("{\"text\":\"a\"}\n{\n \"text\": \"b\"\n}\n", "d.jsonl:2: found a record that does not end on its line"),
    LINE("{'text': 'a'}\n", "d.jsonl:1: found a Python dict (single quotes)"),
    LINE("{\"text\":\"a\"}\n{'text': \"it's\"}\n", "d.jsonl:2: found a Python dict"),
    LINE("{\"text\":\"a\",\"x\":None}\n", "d.jsonl:1: found a Python dict (None, True or False)"),
    LINE("{\"text\":\"say \"don't\" now\"}\n", "d.jsonl:1: found 'd' at column 15"), // no dict
    LINE("{\"messages\":\"[{'role': 'user'}]\"}", "messages: found text in Python's form (single quotes)"),
    // roles
    LINE("{" MESSAGES "}\n{\"messages\":[{\"role\":\"User\",\"content\":\"a\"}]}",
         "d.jsonl:2: messages[0]: found the role \"User\"; expected system, developer, user, assistant, tool"),
    LINE("{\"messages\":[" USER ",{\"role\":\"assitant\",\"content\":\"a\"}]}",
         "messages[1]: found the role \"assitant\""),
    LINE("{\"conversations\":[{\"from\":\"GPT\",\"value\":\"a\"}]}", "conversations[0]: found the role \"GPT\""),
    // formats and names
    LINE("{\"text\":\"a\"}\n{" MESSAGES "}",
         "d.jsonl:2: found a record of format messages; expected text, the format that the file's first record has"),
    LINE("{" MESSAGES "}\n{" TURNS "}", "d.jsonl:2: found a record of format sharegpt; expected messages"),
    LINE("{\"mesages\":[]}", "keys {mesages}"),
    LINE("{\"mesages\":[]}", "is \"mesages\" a misspelt \"messages\"?"),
    LINE("{\"prompt\":\"p\",\"completions\":\"c\"}", "is \"completions\" a misspelt \"completion\"?"),
    LINE("{\"text\":\"a\"}\n{\"txt\":\"a\"}", "is \"txt\" a misspelt \"text\"? (the file's first record is text)"),
    LINE("{\"text\":\"a\"}\n{\"text\":null}", "d.jsonl:2: text: found null; expected a string"),
    LINE("{\"messages\":{\"role\":\"user\"}}", "messages: found an object; expected a list of messages"),
    LINE("{\"messages\":\"hello\"}", "messages: found a string; expected a list of messages"),
    // NaN where it is read
    LINE("{\"instruction\":\"i\",\"input\":NaN,\"output\":\"o\"}", "input: found NaN; expected a string"),
    LINE("{\"input_ids\":[1,NaN]}", "input_ids[1]: found NaN"),
    LINE("{\"input_ids\":[1,1e400]}", "input_ids[1]: found 1e400"),
    LINE("{\"input_ids\":[1,2.5]}", "input_ids[1]: found 2.5"),
    LINE("{\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"b\",\"weight\":Infinity}]}",
         "weight: found Infinity"),
    LINE("{\"messages\":[" USER
         ",{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"name\":\"f\",\"arguments\":"
         "{\"x\":[NaN]}}]}]}",
         "tool_calls[0]: found the number NaN; expected a finite one"),
    LINE("{" MESSAGES ",\"chat_template_kwargs\":{\"mood\":NaN}}", "a number of the data is NaN or infinite"),
};

static void check_refused(const Refused *cases, size_t n) {
    Bench b = bench_new(false);
    for (size_t i = 0; i < n; i++) {
        Dataset *d;
        Err err;
        b.files[0] = cases[i].file;
        scratch_put(cases[i].file, cases[i].data, cases[i].len);
        ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err, cases[i].message);
        assert_int_equal(err.kind, ERR_INPUT);
    }
    bench_free(&b);
}

static void test_records_refuse_unwanted_and_empty_answers(void **state) {
    (void)state;
    check_refused(ANSWERS, sizeof ANSWERS / sizeof *ANSWERS);
}

static void test_records_say_what_a_file_is_instead(void **state) {
    (void)state;
    check_refused(FILES, sizeof FILES / sizeof *FILES);
}

static void test_records_compressed_utf16_is_named(void **state) {
    (void)state;
    StrBuf gz = {0};
    gzip_bytes(&gz, "\xFF\xFE{\0\"\0", 6);
    Refused c = {"d.jsonl.gz", gz.data, gz.len, "d.jsonl.gz: found UTF-16 text"};
    check_refused(&c, 1);
    str_clear(&gz);
}

// What is not refused: turns that are not learnt, calls without content, classes that are no labels of answers.
static void test_records_accept_what_only_looks_like_it(void **state) {
    (void)state;
    static const char *const good[] = {
        "{\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"\",\"weight\":0}," USER "," ANSWER "]}",
        "{\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"name\":\"f\"}]}]}",
        "{\"prompt\":[" USER ",{\"role\":\"assistant\",\"content\":\"\"}],\"completion\":[" ANSWER "]}",
        "{\"text\":\"ab\",\"label\":1}",
        "{\"prompt\":\"p\",\"completion\":\"c\",\"label\":\"sports\"}",
        "{\"prompt\":\"p\",\"completion\":\"c\",\"preferred\":\"tea\"}",
    };
    Bench b = bench_new(false);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) dataset_close(open_file(&b, "d.jsonl", good[i]));
    bench_free(&b);
}

// A role that only the template knows.
static void test_records_roles_of_the_template(void **state) {
    (void)state;
    Bench b = bench_new(false);
    Err err;
    chat_template_free(b.chat);
    ASSERT_OK(
        chat_template_new(&b.chat, b.t,
                          "{% for m in messages %}{% if m.role == 'critic' %}C:{% endif %}<|im_start|>{{ m.role }}"
                          "\n{{ m.content }}<|im_end|>\n{% endfor %}",
                          &err),
        &err);
    dataset_close(
        open_file(&b, "d.jsonl", "{\"messages\":[{\"role\":\"critic\",\"content\":\"x\"}," USER "," ANSWER "]}"));
    bench_free(&b);
}

// Text without a byte teaches nothing, not even its end; it is counted.
static void test_records_empty_text_is_skipped(void **state) {
    (void)state;
    Bench b = bench_new(true);
    Dataset *d = open_file(&b, "d.jsonl", "{\"text\":\"\"}\n{\"text\":\"ab\"}\n");
    const DatasetStats *s = &d->stats;
    assert_int_equal(s->records, 2);
    assert_int_equal(s->samples, 1);
    assert_int_equal(s->skipped_unsupervised, 1);
    dataset_close(d);
    bench_free(&b);
}

// Every record of the tables above with bytes changed at random: read or refused with a message, never more.
static void test_records_survive_damage(void **state) {
    (void)state;
    enum { TIMES = 8 };
    static const char bytes[] = "{}[]\",:'0-\\ \n\xFF\xEF"
                                "N";
    size_t n_unread = sizeof UNREAD / sizeof *UNREAD, n = n_unread + sizeof SAME / sizeof *SAME;
    Bench b = bench_new(false);
    uint64_t seed = 5;
    b.o.cache_dir = NULL; // and no place for a cache: nothing is written
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    for (size_t i = 0; i < n * TIMES; i++) {
        const char *text = i / TIMES < n_unread ? UNREAD[i / TIMES].data : SAME[i / TIMES - n_unread].data;
        size_t len = strlen(text);
        char *data = mem_strdup(text);
        for (size_t k = 0; k < i % 4; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            data[(seed >> 33) % len] = bytes[(seed >> 20) % (sizeof bytes - 1)];
        }
        Dataset *d;
        Err err = {0};
        scratch_put("d.jsonl", data, len);
        if (bench_open(&d, &b, true, &err)) assert_true(err.msg[0] != 0);
        dataset_close(d);
        mem_free(data);
    }
    bench_free(&b);
}

TEST_MAIN(SCRATCH_TEST(test_records_survive_damage), SCRATCH_TEST(test_records_count_keys_that_nothing_reads),
          SCRATCH_TEST(test_records_count_keys_without_template),
          SCRATCH_TEST(test_records_count_keys_of_classification_and_shards),
          SCRATCH_TEST(test_records_count_keys_in_bounded_memory),
          SCRATCH_TEST(test_records_names_that_belong_to_the_prompt),
          SCRATCH_TEST(test_records_other_spellings_give_the_same_tokens),
          SCRATCH_TEST(test_records_labels_as_whole_floats), SCRATCH_TEST(test_records_cls_members_are_labels_as_text),
          SCRATCH_TEST(test_records_refuse_unwanted_and_empty_answers),
          SCRATCH_TEST(test_records_say_what_a_file_is_instead), SCRATCH_TEST(test_records_compressed_utf16_is_named),
          SCRATCH_TEST(test_records_accept_what_only_looks_like_it), SCRATCH_TEST(test_records_roles_of_the_template),
          SCRATCH_TEST(test_records_empty_text_is_skipped))
