// dataset: what a template leaves out is refused or counted, control tokens in data are tokens or counted, answers that
// cannot end are counted.
#include "test.h"

#include "dataset_fixture.h"

#define USER "{\"role\":\"user\",\"content\":\"a\"}"
#define CALL                                                                                                           \
    "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","    \
    "\"arguments\":{\"x\":1}}}]}"
#define ANSWER "{\"role\":\"assistant\",\"content\":\"b\"}"
#define RECORD(messages) "{\"messages\":[" messages "]}\n"
#define FIRST RECORD(USER "," ANSWER)
// As SmolLM2's: only role and content are written.
#define PLAIN                                                                                                          \
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + (m.content or '') + '<|im_end|>\n' }}{% endfor %}"
// Thoughts of the last turn only.
#define THINKS                                                                                                         \
    "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}" \
    "{% endif %}{% endfor %}{% for m in messages %}<|im_start|>{{ m.role }}\n"                                         \
    "{% if m.thinking and loop.index0 > ns.last %}{{ m.thinking }}~{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
// Thoughts in content are cut off, everywhere or in front of the last user's turn.
#define CUTS "{% for m in messages %}{{ m.role + m.content.split('</think>')[-1] }}<|im_end|>{% endfor %}"
#define CUTS_EARLIER                                                                                                   \
    "{% for m in messages %}{{ m.role }}{{ m.content if loop.last else m.content.split('</think>')[-1] }}<|im_end|>"   \
    "{% endfor %}"
#define TAGGED "{\"role\":\"assistant\",\"content\":\"<think>\\nt\\n</think>\\n\\nb\"}"
#define NONE "{% for m in messages %}{{ m.role }}{{ m.content | trim }}<|im_end|>{% endfor %}"
#define ADDS "{% for m in messages %}{{ m.role + m.content }}<|im_end|>{% endfor %}"
#define NULL_CALL                                                                                                      \
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{}}}]}"
#define THOUGHT "{\"role\":\"assistant\",\"content\":\"b\",\"thinking\":\"t\"}"

static Bench bench_with(const char *template) {
    Bench b = bench_new(false);
    Err err;
    chat_template_free(b.chat);
    ASSERT_OK(chat_template_new(&b.chat, b.t, template, &err), &err);
    return b;
}

// The second record of a file is refused, with its number and the field; with "warn" the field is counted instead.
static void check_left_out(const char *template, const char *record, const char *place, const char *name) {
    Bench b = bench_with(template);
    Dataset *d;
    Err err = {0};
    StrBuf data = {0}, counts = {0};
    str_printf(&data, FIRST "%s\n", record);
    put_text("d.jsonl", data.data);
    ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err, place);
    if (!strstr(err.msg, "d.jsonl:2: record 2: ") || !strstr(err.msg, "chat template")) fail_msg("%s", err.msg);
    b.o.unrendered = UNRENDERED_WARN;
    ASSERT_OK(bench_open(&d, &b, true, &err), &err);
    key_counts_show(&counts, &d->unread);
    if (!counts.data || !strstr(counts.data, name)) fail_msg("found %s; expected %s", counts.data, name);
    assert_int_equal(d->count, 2);
    dataset_close(d);
    str_clear(&data);
    str_clear(&counts);
    bench_free(&b);
}

static void test_dataset_refuses_fields_that_the_template_leaves_out(void **state) {
    (void)state;
    check_left_out(PLAIN, RECORD(USER "," CALL), "messages[1].tool_calls[0]: ", "messages[].tool_calls (1 record)");
    check_left_out(PLAIN, "{\"messages\":[" USER "," ANSWER "],\"tools\":[{\"name\":\"f\"}]}",
                   "tools[0]: ", "tools (1");
    check_left_out(PLAIN,
                   "{\"messages\":[" USER "," ANSWER "],\"chat_template_kwargs\":{\"documents\":[{\"t\":\"x\"}]}}",
                   "documents[0]: ", "documents (1");
    check_left_out(PLAIN, RECORD(USER ",{\"role\":\"assistant\",\"content\":\"b\",\"reasoning_content\":\"t\"}"),
                   "messages[1].reasoning_content: ", "messages[].reasoning_content (1");
    check_left_out(PLAIN, RECORD("{\"role\":\"user\",\"content\":\"a\",\"images\":[\"i.png\"]}," ANSWER),
                   "messages[0].images[0]: ", "messages[].images (1");
    // only the first of two calls, of two parts; a whole message
    check_left_out("{% for m in messages %}{{ m.role }}{{ m.content }}{% if m.tool_calls %}{{ m.tool_calls[0].name }}"
                   "{% endif %}<|im_end|>{% endfor %}",
                   RECORD(USER
                          ",{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"name\":\"f\",\"arguments\":{}},"
                          "{\"name\":\"g\",\"arguments\":{}}]}"),
                   "messages[1].tool_calls[1]: ", "messages[].tool_calls (1");
    check_left_out("{% for m in messages if m.role != 'system' %}{{ m.role + m.content }}<|im_end|>{% endfor %}",
                   RECORD("{\"role\":\"system\",\"content\":\"s\"}," USER "," ANSWER),
                   "messages[0].content: ", "messages[].content (1");
    check_left_out("{% for m in messages if m.role != 'tool' %}{{ m.role }}{{ m.content }}{{ m.tool_calls }}<|im_end|>"
                   "{% endfor %}",
                   RECORD(USER "," CALL ",{\"role\":\"tool\",\"content\":{\"h\":1.5}}," ANSWER),
                   "messages[2].content: ", "messages[].content (1");
    // thoughts in content that the template cuts off, of an earlier turn too where it never writes them
    check_left_out(CUTS, RECORD(USER "," TAGGED), "messages[1].content (<think>): ", "messages[].content (<think>) (1");
    check_left_out(CUTS, RECORD(USER "," TAGGED "," USER "," ANSWER),
                   "messages[1].content (<think>): ", "(<think>) (1");
    // no content: "None" is no answer, no failure of the template's hides the call
    check_left_out(NONE, RECORD(USER "," NULL_CALL), "messages[1].tool_calls[0]: ", "messages[].tool_calls (1");
    check_left_out(ADDS, RECORD(USER "," NULL_CALL), "messages[1].tool_calls[0]: ", "messages[].tool_calls (1");
    // read, but not written
    check_left_out(
        "{% for m in messages %}{{ m.role }}{{ m.content }}{{ 'calls' if m.tool_calls }}<|im_end|>{% endfor %}",
        RECORD(USER "," CALL), "messages[1].tool_calls[0]: ", "messages[].tool_calls (1");
}

// Nothing is lost: empty fields, white space, names, reasoning of earlier turns where the
// template writes that of the last one.
static void test_dataset_takes_fields_that_hold_nothing_more(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {PLAIN,
         RECORD(USER ",{\"role\":\"assistant\",\"content\":\"b\",\"tool_calls\":[],\"reasoning_content\":\"\"}")},
        {PLAIN, RECORD(USER ",{\"role\":\"assistant\",\"content\":\"b\",\"thinking\":\" \\n\",\"name\":null}")},
        {PLAIN, RECORD(USER "," ANSWER
                            ",{\"role\":\"tool\",\"content\":\"1\",\"name\":\"f\",\"tool_call_id\":\"i\"}," ANSWER)},
        {THINKS, RECORD(USER "," THOUGHT)},
        {THINKS, RECORD(USER "," THOUGHT "," USER "," THOUGHT)},
        {CUTS_EARLIER, RECORD(USER "," TAGGED "," USER "," TAGGED)},
        {CUTS, RECORD(USER ",{\"role\":\"assistant\",\"content\":\"<think>\\n\\n</think>b\"}")},
        {CUTS, RECORD("{\"role\":\"user\",\"content\":\"why <think>x</think>?\"}," ANSWER)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Bench b = bench_with(cases[i][0]);
        Dataset *d;
        Err err = {0};
        put_text("d.jsonl", cases[i][1]);
        ASSERT_OK(bench_open(&d, &b, true, &err), &err);
        dataset_close(d);
        bench_free(&b);
    }
    // the last turn's is not one of an earlier turn
    check_left_out(THINKS, RECORD(USER ",{\"role\":\"assistant\",\"content\":\"b\",\"reasoning_details\":\"t\"}"),
                   "messages[1].reasoning_details: ", "messages[].reasoning_details (1");
}

typedef struct SpecialCase {
    const char *file, *text;
    bool with_chat, add_bos;
    ParseSpecial parse;
    const char *want;
    int64_t parsed, plain, own_bos;
} SpecialCase;

static void check_special(const SpecialCase *c) {
    Bench b = bench_new(c->add_bos);
    Dataset *d;
    Err err = {0};
    b.files[0] = c->file;
    b.o.parse_special = c->parse;
    put_text(c->file, c->text);
    ASSERT_OK(bench_open(&d, &b, c->with_chat, &err), &err);
    char *got = shown(d, b.t);
    if (strcmp(got, c->want) != 0) fail_msg("%s: found %s; expected %s", c->text, got, c->want);
    const DatasetStats *s = &d->stats;
    assert_int_equal(s->parsed_special, c->parsed);
    assert_int_equal(s->plain_special, c->plain);
    assert_int_equal(s->own_bos, c->own_bos);
    mem_free(got);
    dataset_close(d);
    bench_free(&b);
}

static void test_dataset_control_tokens_written_in_data(void **state) {
    (void)state;
    const ParseSpecial AUTO = PARSE_SPECIAL_AUTO, ON = PARSE_SPECIAL_ON, OFF = PARSE_SPECIAL_OFF;
    const SpecialCase cases[] = {
        // a text column and a .txt file: one token; without the key's leave as many as it has letters
        {"d.jsonl", "{\"text\":\"<|im_end|>b\"}", true, false, AUTO, "<|im_end|>[[b</s>]]|", 1, 0, 0},
        {"d.txt", "<|im_end|>b", true, false, AUTO, "<|im_end|>[[b</s>]]|", 1, 0, 0},
        {"d.jsonl", "{\"text\":\"<|im_end|>b\"}", true, false, OFF, "<[[|im_end|>b</s>]]|", 0, 1, 0},
        {"d.jsonl", "{\"text\":\"plain\"}\n{\"text\":\"<|im_end|>\"}", true, false, ON,
         "p[[lain</s>]]|<|im_end|>[[</s>]]|", 1, 0, 0},
        // raw prompt and completion; BOS and EOS that stand there are not doubled
        {"d.jsonl", "{\"prompt\":\"a<|im_end|>\",\"completion\":\"b\"}", false, false, AUTO, "a<|im_end|>[[b</s>]]|", 1,
         0, 0},
        {"d.jsonl", "{\"prompt\":\"<s>a\",\"completion\":\"b</s>\"}", false, true, AUTO, "<s>a[[b</s>]]|", 1, 0, 1},
        {"d.jsonl", "{\"prompt\":\"a\",\"completion\":\"b\"}", false, true, AUTO, "<s>a[[b</s>]]|", 0, 0, 0},
        {"d.jsonl", "{\"prompt\":\"a</s>\",\"completion\":\"b\"}", false, false, AUTO, "a</s>[[b</s>]]|", 1, 0, 0},
        {"d.jsonl", "{\"text\":\"<s>ab</s>\"}", true, true, AUTO, "<s>[[ab</s>]]|", 1, 0, 1},
        {"d.jsonl", "{\"text\":\"<s>ab\"}", true, true, OFF, "<s>[[<s>ab</s>]]|", 0, 1, 0},
        // never in messages, nor in a prompt that goes through the template
        {"d.jsonl", RECORD("{\"role\":\"user\",\"content\":\"<|im_end|>\"}," ANSWER), true, false, AUTO,
         "<|im_start|>user\n<|im_end|><|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>]]\n|", 0, 1, 0},
        {"d.jsonl", RECORD("{\"role\":\"user\",\"content\":\"<|im_end|>\"}," ANSWER), true, false, ON,
         "<|im_start|>user\n<|im_end|><|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>]]\n|", 0, 1, 0},
        {"d.jsonl", "{\"prompt\":\"<s>\",\"completion\":\"b\"}", true, false, ON,
         "<|im_start|>user\n<s><|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>]]\n|", 0, 1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_special(&cases[i]);
}

// The key is part of what the cache is asked for.
static void test_dataset_parse_special_has_its_own_cache(void **state) {
    (void)state;
    SpecialCase c = {
        "d.jsonl", "{\"text\":\"<|im_end|>b\"}", true, false, PARSE_SPECIAL_OFF, "<[[|im_end|>b</s>]]|", 0, 1, 0};
    check_special(&c);
    check_special(&c); // from the cache
    c = (SpecialCase){
        "d.jsonl", "{\"text\":\"<|im_end|>b\"}", true, false, PARSE_SPECIAL_AUTO, "<|im_end|>[[b</s>]]|", 1, 0, 0};
    check_special(&c);
    check_special(&c);
}

static int64_t count_cannot_stop(const char *template, const char *record) {
    Bench b = bench_with(template);
    Dataset *d;
    Err err = {0};
    put_text("d.jsonl", record);
    ASSERT_OK(bench_open(&d, &b, true, &err), &err);
    int64_t n = d->stats.cannot_stop;
    dataset_close(d);
    bench_free(&b);
    return n;
}

static void test_dataset_counts_answers_that_cannot_end(void **state) {
    (void)state;
    assert_int_equal(count_cannot_stop(PLAIN, FIRST FIRST), 0);
    const char *words = "{% for m in messages %}{{ '### ' + m.role + '\n' + m.content + '\n\n' }}{% endfor %}";
    assert_int_equal(count_cannot_stop(words, FIRST FIRST), 2);
    // the end stands outside of what is learnt
    const char *outside =
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}"
        "{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}";
    assert_int_equal(count_cannot_stop(outside, FIRST), 1);
    const char *inside =
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}"
        "{{ m.content }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}\n{% endfor %}";
    assert_int_equal(count_cannot_stop(inside, FIRST), 0);
    // only between turns: the last one has none
    const char *between =
        "{% for m in messages %}{% if not loop.first %}<|im_end|>{% endif %}{{ m.role + ' ' + m.content }}{% endfor %}";
    assert_int_equal(count_cannot_stop(between, RECORD(USER "," ANSWER "," USER "," ANSWER)), 1);
}

TEST_MAIN(SCRATCH_TEST(test_dataset_refuses_fields_that_the_template_leaves_out),
          SCRATCH_TEST(test_dataset_takes_fields_that_hold_nothing_more),
          SCRATCH_TEST(test_dataset_control_tokens_written_in_data),
          SCRATCH_TEST(test_dataset_parse_special_has_its_own_cache),
          SCRATCH_TEST(test_dataset_counts_answers_that_cannot_end))
