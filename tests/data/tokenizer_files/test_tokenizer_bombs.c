// Tokenizer files that blow texts up or never end with them: refused soon and with little memory, wherever the
// rewriting step is; and regular expressions that would switch PCRE2's limits off.
#include <sys/resource.h>

#include "hf_folder.h"
#include "tokenizer_files.h"

typedef struct Parts { // of a tokenizer.json; NULL: none
    const char *normalizer, *pre, *decoder, *added;
} Parts;

static void put_tokenizer(const Parts *p) {
    char *text = mem_printf("{\"added_tokens\":[%s],\"normalizer\":%s,\"pre_tokenizer\":%s,\"decoder\":%s,"
                            "\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"vocab\":{\"<unk>\":0,\"a\":1,"
                            "\"b\":2,\"ab\":3,\"_\":4,\"aaaaaaaa\":5},\"merges\":[\"a b\"]}}",
                            p->added ? p->added : "", p->normalizer ? p->normalizer : "null", p->pre ? p->pre : "null",
                            p->decoder ? p->decoder : "null");
    folder_put("tokenizer.json", text);
    mem_free(text);
}

// A Sequence of n times the same component.
static char *sequence(const char *key, const char *item, int n) {
    StrBuf s = {0};
    str_printf(&s, "{\"type\":\"Sequence\",\"%s\":[", key);
    for (int i = 0; i < n; i++) str_printf(&s, "%s%s", i ? "," : "", item);
    str_puts(&s, "]}");
    return s.data;
}

#define DOUBLE(kind) "{\"type\":\"Replace\",\"pattern\":{\"" kind "\":\"a\"},\"content\":\"aa\"}"

// NULL when the text is taken, else why not.
static const char *encode(const char *text, size_t len, size_t *count) {
    Tokenizer *t = folder_tokenizer();
    TokenIds ids = {0};
    tokenizer_encode(t, text, len, NULL, true, &ids);
    const char *refused = ids.refused;
    if (count) *count = ids.count;
    Err err;
    assert_int_equal(token_ids_check(&ids, &err), refused ? -1 : 0);
    if (refused) assert_int_equal(err.kind, ERR_INPUT);
    token_ids_clear(&ids);
    tokenizer_free(t);
    return refused;
}

static void assert_grows(const char *text) {
    const char *refused = encode(text, strlen(text), NULL);
    if (!refused || !strstr(refused, "rewrite the text to more than")) fail_msg("\"%s\" is taken", text);
}

static void assert_refused(const char *part) {
    Tokenizer *t = NULL;
    Err err;
    ASSERT_REFUSED(tokenizer_from_hf(&t, FOLDER, &err), &err, part);
    assert_int_equal(err.kind, ERR_INPUT);
}

static void test_bombs_normalizers(void **state) {
    (void)state;
    static const char *const kinds[] = {DOUBLE("String"), DOUBLE("Regex")};
    double start = time_now();
    for (int k = 0; k < 2; k++) {
        char *few = sequence("normalizers", kinds[k], 3), *many = sequence("normalizers", kinds[k], 30);
        size_t count;
        put_tokenizer(&(Parts){.normalizer = few});
        assert_null(encode("a", 1, &count));
        assert_int_equal(count, 8);
        put_tokenizer(&(Parts){.normalizer = many});
        assert_grows("a");
        assert_null(encode("b", 1, NULL)); // only what it grows with
        mem_free(few);
        mem_free(many);
    }
    StrBuf prepend = {0};
    str_puts(&prepend, "{\"type\":\"Prepend\",\"prepend\":\"");
    for (int i = 0; i < 60000; i++) str_puts(&prepend, "a");
    str_puts(&prepend, "\"}");
    put_tokenizer(&(Parts){.normalizer = prepend.data, .added = "{\"id\":0,\"content\":\"<unk>\",\"special\":true}"});
    assert_null(encode("b", 1, NULL));
    assert_grows("b<unk>b<unk>b<unk>b"); // each stretch between added tokens
    str_clear(&prepend);
    assert_true(time_now() - start < 10);
}

static void test_bombs_pre_tokenizers(void **state) {
    (void)state;
    StrBuf list = {0};
    str_puts(&list, "{\"type\":\"Sequence\",\"pretokenizers\":[");
    for (int i = 0; i < 60; i++)
        str_printf(&list,
                   "%s{\"type\":\"Metaspace\",\"replacement\":\"%s\",\"prepend_scheme\":\"always\",\"split\":true}",
                   i ? "," : "", i % 2 ? "\xF0\x9F\x98\x80" : "\xF0\x9F\x98\x81");
    str_puts(&list, "]}");
    put_tokenizer(&(Parts){.pre = list.data});
    StrBuf text = {0};
    for (int i = 0; i < 100000; i++) str_puts(&text, " b");
    assert_grows(text.data);
    str_clear(&text);
    str_clear(&list);
}

static void test_bombs_decoders(void **state) {
    (void)state;
    char *few = sequence("decoders", DOUBLE("String"), 3), *many = sequence("decoders", DOUBLE("String"), 40);
    put_tokenizer(&(Parts){.decoder = few});
    Tokenizer *t = folder_tokenizer();
    size_t len;
    tokenizer_piece(t, 1, &len);
    assert_int_equal(len, 8);
    tokenizer_free(t);
    put_tokenizer(&(Parts){.decoder = many});
    assert_refused("decoder: its rules expand token 1 too far");
    mem_free(few);
    mem_free(many);
}

static void test_bombs_of_many_components(void **state) {
    (void)state;
    char *inner = sequence("normalizers", "{\"type\":\"NFC\"}", 60), *outer = sequence("normalizers", inner, 6);
    put_tokenizer(&(Parts){.normalizer = outer});
    assert_refused("normalizer: found more than 256 components");
    mem_free(inner);
    mem_free(outer);
    StrBuf content = {0};
    str_puts(&content, "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"");
    for (int i = 0; i < 70000; i++) str_puts(&content, "x");
    str_puts(&content, "\"}");
    put_tokenizer(&(Parts){.normalizer = content.data});
    assert_refused("content: found 70000 bytes; expected at most 65536");
    put_tokenizer(&(Parts){.decoder = content.data});
    assert_refused("content: found 70000 bytes");
    str_clear(&content);
}

static void test_bombs_added_tokens(void **state) {
    (void)state;
    char *many = sequence("normalizers", DOUBLE("String"), 30);
    put_tokenizer(&(Parts){.normalizer = many,
                           .added = "{\"id\":6,\"content\":\"<aaa>\",\"special\":false,\"normalized\":true}"});
    assert_refused("added token \"<aaa>\": the tokenizer's rules rewrite");
    mem_free(many);
}

#define SPLIT(pattern) "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" pattern "\"},\"behavior\":\"Isolated\"}"

static void test_bombs_in_regular_expressions(void **state) {
    (void)state;
    static const char *const refused[][2] = {
        {SPLIT("(*LIMIT_MATCH=4294967295)a"), "a verb is not supported"},
        {SPLIT("(*LIMIT_DEPTH=1)(*LIMIT_HEAP=1)a"), "a verb"},
        {SPLIT("(*NO_JIT)a"), "a verb"},
        {SPLIT("(*UTF)a"), "a verb"},
        {SPLIT("(*NOTEMPTY)(*CRLF)a"), "a verb"},
        {SPLIT("a(*ACCEPT)"), "a verb"},
        {SPLIT("a(?:(*SKIP)|b)"), "a verb"},
        {SPLIT("(?R)"), "a group is not supported"},
        {SPLIT("(a(?1))"), "a group"},
        {SPLIT("(?P>x)(?P<x>a)"), "a group"},
        {SPLIT("(?&x)"), "a group"},
        {SPLIT("a(?C1)b"), "a group"},
        {SPLIT("a(?C'text')b"), "a group"},
        {SPLIT("(?(1)a|b)"), "a group"},
        {SPLIT("(?|a|b)"), "a group"},
        {SPLIT("(?#comment)a"), "a group"},
        {SPLIT("\\\\C"), "an escape is not supported"},
        {SPLIT("(a)\\\\1"), "an escape"},
        {SPLIT("\\\\g<1>(a)"), "an escape"},
        {SPLIT("\\\\Qa\\\\E"), "an escape"},
        {SPLIT("(?:(?:(?:\\\\p{L}{1,90}){90}){90}){90}"), "regular expression"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        put_tokenizer(&(Parts){.pre = refused[i][0]});
        assert_refused(refused[i][1]);
        put_tokenizer(&(Parts){.normalizer = "{\"type\":\"NFC\"}", .pre = refused[i][0]});
        assert_refused("pre_tokenizer Split");
    }
    StrBuf deep = {0};
    str_puts(&deep, "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"");
    for (int i = 0; i < 300; i++) str_puts(&deep, "(?:");
    str_puts(&deep, "a");
    for (int i = 0; i < 300; i++) str_puts(&deep, ")");
    str_puts(&deep, "\"},\"behavior\":\"Isolated\"}");
    put_tokenizer(&(Parts){.pre = deep.data});
    assert_refused("parentheses are too deeply nested");
    str_clear(&deep);
    put_tokenizer(&(Parts){.pre = SPLIT("\\\\(\\\\*a|[(*]b")}); // no verbs
    tokenizer_free(folder_tokenizer());
}

// A match that backtracks for ever is no match that is not there: the text is refused.
static void test_bombs_backtracking_is_refused(void **state) {
    (void)state;
    double start = time_now();
    StrBuf text = {0};
    for (int i = 0; i < 3000; i++) str_puts(&text, "a");
    str_puts(&text, "bc"); // a c, so that its absence is not what ends the match
    static const char *const pre[] = {
        SPLIT("(?:(?:a|a|a)+)+c"),
        "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?:(?:a|a|a)+)+c\"},\"behavior\":\"Removed\",\"invert\":true}"};
    for (int i = 0; i < 2; i++) {
        put_tokenizer(&(Parts){.pre = pre[i]});
        const char *why = encode(text.data, text.len, NULL);
        if (!why || !strstr(why, "backtracks without an end")) fail_msg("taken");
    }
    put_tokenizer(&(Parts){.normalizer = "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(?:(?:a|a|a)+)+c\"},"
                                         "\"content\":\"b\"}"});
    assert_non_null(encode(text.data, text.len, NULL));
    assert_null(encode("aab", 3, NULL));
    str_clear(&text);
    assert_true(time_now() - start < 20);
}

// The whole under a gigabyte of address space less than the bombs would take.
static void test_bombs_need_little_memory(void **state) {
    (void)state;
    struct rusage use;
    assert_int_equal(getrusage(RUSAGE_SELF, &use), 0);
    assert_true(use.ru_maxrss < 600 << 10); // KB; a sanitizer's shadow included
}

TEST_MAIN(SCRATCH_TEST(test_bombs_normalizers), SCRATCH_TEST(test_bombs_pre_tokenizers),
          SCRATCH_TEST(test_bombs_decoders), SCRATCH_TEST(test_bombs_of_many_components),
          SCRATCH_TEST(test_bombs_added_tokens), SCRATCH_TEST(test_bombs_in_regular_expressions),
          SCRATCH_TEST(test_bombs_backtracking_is_refused), TEST(test_bombs_need_little_memory))
