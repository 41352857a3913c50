// tokenizer_hf: tokenizer.json in the shapes of the families against Hugging Face tokenizers
// (make_tokenizer_hf_golden.py): ids and decoded text of the corpus, offsets, special tokens, what is put around texts.
#include "fileio.h"
#include "hf_kind.h"
#include "json.h"
#include "tokenizer.h"
#include "tokenizer_fixture.h"

enum { GROUP = 64, KINDS = 21 };

// ---- the corpus ----

typedef struct Hasher { // fnv of what make_tokenizer_hf_golden.py hashes, group by group
    uint32_t *numbers;
    size_t n, capacity;
} Hasher;

static void hash_add(Hasher *h, uint32_t n) {
    MEM_GROW(h->numbers, h->capacity, h->n + 1);
    h->numbers[h->n++] = n;
}

static uint32_t hash_end(Hasher *h) {
    uint32_t hash = fnv(h->numbers, h->n);
    h->n = 0;
    return hash;
}

static void hash_text(Hasher *h, const StrBuf *text) {
    for (size_t i = 0; i < text->len;) hash_add(h, take_character(text, &i));
}

// Ids, text with special tokens, and the stream's text, which leaves them out.
static void hash_line(Hasher h[3], const Tokenizer *t, const char *line, size_t len) {
    TokenIds ids = {0};
    StrBuf text = {0};
    TokenStream stream = {0};
    tokenizer_encode(t, line, len, NULL, true, &ids);
    for (size_t i = 0; i < ids.count; i++) hash_add(&h[0], (uint32_t)ids.ids[i]);
    tokenizer_decode(t, ids.ids, ids.count, true, &text);
    hash_text(&h[1], &text);
    text.len = 0;
    for (size_t i = 0; i < ids.count; i++) token_stream_add(&stream, t, ids.ids[i], &text);
    token_stream_end(&stream, &text);
    hash_text(&h[2], &text);
    for (size_t i = 1; i < ids.count; i++) assert_true(ids.start[i] >= ids.start[i - 1]);
    token_ids_clear(&ids);
    str_clear(&text);
}

static void check_corpus(const Tokenizer *t, const char *kind, int column) {
    static const char *const what[] = {"ids", "text", "text without special tokens"};
    Lines golden = lines_open(HF "hashes.txt"), corpus = lines_open(GOLDEN "corpus.txt");
    Hasher h[3] = {{0}};
    lines_need(&golden);
    int lines = 0, differ = 0;
    for (char *line = lines_next(&corpus); line;) {
        for (int i = 0; i < GROUP && line; i++, lines++, line = lines_next(&corpus))
            hash_line(h, t, line, unescape(line));
        const char *want = lines_need(&golden);
        for (int i = 0; i < 3; i++) {
            if (hash_end(&h[i]) == hex_column(want, 3 * column + i)) continue;
            if (differ++ < 5) print_message("%s: %s of the %d corpus lines up to %d\n", kind, what[i], GROUP, lines);
        }
    }
    if (differ) fail_msg("%s: %d groups of lines differ", kind, differ);
    assert_true(lines > 10000);
    for (int i = 0; i < 3; i++) mem_free(h[i].numbers);
    lines_close(&golden);
    lines_close(&corpus);
}

static void test_hf_corpus_as_reference(void **state) {
    (void)state;
    Lines golden = lines_open(HF "hashes.txt");
    int column = 0;
    char *save = NULL;
    for (char *kind = strtok_r(lines_need(&golden), " ", &save); kind; kind = strtok_r(NULL, " ", &save), column++) {
        Tokenizer *t = kind_tokenizer(kind);
        check_corpus(t, kind, column);
        tokenizer_free(t);
    }
    assert_int_equal(column, KINDS);
    lines_close(&golden);
}

// ---- single cases ----

static void assert_ids(const char *what, const Json *c, const char *key, const TokenIds *got) {
    const Json *want = json_get(c, key);
    bool same = want->count == got->count;
    for (size_t i = 0; same && i < want->count; i++) same = want->items[i].integer == got->ids[i];
    if (same) return;
    for (size_t i = 0; i < got->count; i++) print_message("%d ", got->ids[i]);
    const Json *text = json_get(c, "text");
    fail_msg("%s %s of \"%s\"", json_get(c, "kind")->str.data, what, text ? text->str.data : "the pair");
}

static void assert_text(const Json *c, const char *key, const StrBuf *got) {
    JsonStr want = json_get(c, key)->str;
    if (want.len != got->len || memcmp(want.data, got->data, want.len) != 0)
        fail_msg("%s: \"%s\"; expected \"%s\"", json_get(c, "kind")->str.data, got->data, want.data);
}

// Where the character of the token's first byte begins: the reference counts characters.
static void assert_starts(const Json *c, const TokenIds *got) {
    const Json *want = json_get(c, "start");
    JsonStr text = json_get(c, "text")->str;
    for (size_t i = 0; want && i < got->count; i++) {
        size_t at = got->start[i];
        while (at > 0 && ((uint8_t)text.data[at] & 0xC0) == 0x80) at--;
        if (want->items[i].integer != (int64_t)at)
            fail_msg("%s: token %zu of \"%s\" begins at %zu; expected %d", json_get(c, "kind")->str.data, i, text.data,
                     at, (int)want->items[i].integer);
    }
}

static void check_case(const Tokenizer *t, const Json *c) {
    JsonStr text = json_get(c, "text")->str;
    TokenIds ids = {0}, framed = {0};
    StrBuf out = {0};
    tokenizer_encode(t, text.data, text.len, NULL, true, &ids);
    tokenizer_encode_framed(t, text.data, text.len, true, &framed);
    assert_ids("ids", c, "ids", &ids);
    assert_ids("framed ids", c, "framed", &framed);
    assert_starts(c, &ids);
    str_puts(&out, "");
    tokenizer_decode(t, ids.ids, ids.count, true, &out);
    assert_text(c, "with", &out);
    out.len = 0;
    str_puts(&out, "");
    tokenizer_decode(t, ids.ids, ids.count, false, &out);
    assert_text(c, "without", &out);
    token_ids_clear(&ids);
    token_ids_clear(&framed);
    str_clear(&out);
}

static void check_pair(const Tokenizer *t, const Json *c) {
    TokenIds ids = {0};
    size_t second;
    tokenizer_encode_pair(t, &(TokenizerPair){"Hello w\xC3\xB6rld", "two words", 12, 9, false}, &ids, &second);
    assert_ids("pair ids", c, "ids", &ids);
    assert_int_equal(second, json_get(c, "second")->integer);
    token_ids_clear(&ids);
}

// The lines of a file, each with its kind's tokenizer.
static int for_each_case(const char *path, void (*check)(const Tokenizer *t, const Json *c)) {
    Lines cases = lines_open(path);
    char kind[64] = "";
    Tokenizer *t = NULL;
    int n = 0;
    for (char *line; (line = lines_next(&cases)); n++) {
        JsonDoc *doc;
        Err err;
        ASSERT_OK(json_parse(&doc, line, strlen(line), path, (size_t)n + 1, &err), &err);
        const char *name = json_get(json_root(doc), "kind")->str.data;
        if (strcmp(name, kind) != 0) {
            tokenizer_free(t);
            t = kind_tokenizer(name);
            snprintf(kind, sizeof kind, "%s", name);
        }
        check(t, json_root(doc));
        json_free(doc);
    }
    tokenizer_free(t);
    lines_close(&cases);
    return n;
}

static void test_hf_special_cases_as_reference(void **state) {
    (void)state;
    assert_int_equal(for_each_case(HF "cases.txt", check_case), KINDS * 19 + 1);
}

static void test_hf_pairs_as_reference(void **state) {
    (void)state;
    assert_int_equal(for_each_case(HF "pairs.txt", check_pair), KINDS);
}

// ---- rules of our own ----

static size_t count_control(const Tokenizer *t, const char *text, const uint32_t *origin) {
    TokenIds ids = {0};
    size_t n = 0;
    tokenizer_encode(t, text, strlen(text), origin, true, &ids);
    for (size_t i = 0; i < ids.count; i++) n += tokenizer_is_control(t, ids.ids[i]);
    token_ids_clear(&ids);
    return n;
}

// One byte from data spoils a control token, in the text as it is and in the normalised text (gpt2's is normalised).
static void test_hf_data_never_becomes_control_tokens(void **state) {
    (void)state;
    const char *const cases[][2] = {{"llama2", "a</s> b"},
                                    {"gpt2", "a<|endoftext|> b"},
                                    {"phi4", "a <|im_end|> \n b"},
                                    {"llama3", "a<|eot_id|>b"},
                                    {"steps", "x"}};
    for (int i = 0; i < 4; i++) {
        Tokenizer *t = kind_tokenizer(cases[i][0]);
        const char *text = cases[i][1], *from = strchr(text, '<'), *end = strchr(text, '>');
        assert_int_equal(count_control(t, text, NULL), 1);
        for (const char *at = text; *at; at++) {
            uint32_t origin[64] = {0};
            origin[at - text] = 1;
            assert_int_equal(count_control(t, text, origin), at < from || at > end);
        }
        tokenizer_free(t);
    }
}

static void test_hf_rest_of_a_text_gets_no_space(void **state) {
    (void)state;
    const char *kinds[] = {"llama2", "mistral", "always", "roberta", "gpt2"};
    for (int i = 0; i < 5; i++) {
        Tokenizer *t = kind_tokenizer(kinds[i]);
        TokenIds ids = {0};
        StrBuf text = {0};
        DetokenizerState inside = {.begun = true, .stripped = true};
        tokenizer_encode_rest(t, "word goes on", 12, NULL, true, &ids);
        for (size_t k = 0; k < ids.count; k++) tokenizer_decode_next(t, &inside, ids.ids[k], &text);
        assert_string_equal(text.data, "word goes on");
        token_ids_clear(&ids);
        str_clear(&text);
        tokenizer_free(t);
    }
}

static void test_hf_counts_what_it_cannot_write(void **state) {
    (void)state;
    const char *text = "a\xE1\x8E\xA0\xE1\x8E\xA0 b"; // two Cherokee letters, three bytes each
    const char *kinds[] = {"unknown", "llama2", "gpt2"};
    for (int i = 0; i < 3; i++) {
        Tokenizer *t = kind_tokenizer(kinds[i]);
        TokenIds ids = {0};
        tokenizer_encode(t, text, strlen(text), NULL, true, &ids);
        assert_int_equal(ids.unknown, i == 0 ? 6 : 0);
        assert_int_equal(ids.left_out, 0);
        token_ids_clear(&ids);
        tokenizer_free(t);
    }
}

// Any bytes are encoded; those of a byte_fallback model come back as they were, a space in front.
static void test_hf_any_bytes(void **state) {
    (void)state;
    Tokenizer *t = kind_tokenizer("llama2");
    uint64_t seed = 11;
    for (int round = 0; round < 2000; round++) {
        char text[64];
        size_t len = 0;
        while (len < 40) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            text[len++] = (char)(seed >> 56);
        }
        TokenIds ids = {0};
        tokenizer_encode(t, text, len, NULL, false, &ids);
        assert_int_equal(ids.left_out + ids.unknown, 0);
        for (size_t i = 0; i < ids.count; i++) assert_in_range(ids.start[i], i ? ids.start[i - 1] : 0, len - 1);
        token_ids_clear(&ids);
    }
    tokenizer_free(t);
}

// A megabyte without a border, and one with a border at every word.
static void test_hf_long_texts_take_no_quadratic_time(void **state) {
    (void)state;
    Tokenizer *t = kind_tokenizer("llama2");
    const char *units[] = {"a", " ", "th ", "\xF0\x93\x80\x80"};
    const size_t len = 1 << 20;
    char *text = mem_alloc(len, 1);
    for (int u = 0; u < 4; u++) {
        size_t n = strlen(units[u]), used = len - len % n;
        for (size_t i = 0; i < used; i++) text[i] = units[u][i % n];
        TokenIds ids = {0};
        double start = time_now();
        tokenizer_encode(t, text, used, NULL, true, &ids);
        assert_true(time_now() - start < 20.0); // takes about 0.3 s
        token_ids_clear(&ids);
    }
    mem_free(text);
    tokenizer_free(t);
}

TEST_MAIN(SCRATCH_TEST(test_hf_corpus_as_reference), SCRATCH_TEST(test_hf_special_cases_as_reference),
          SCRATCH_TEST(test_hf_pairs_as_reference), SCRATCH_TEST(test_hf_data_never_becomes_control_tokens),
          SCRATCH_TEST(test_hf_rest_of_a_text_gets_no_space), SCRATCH_TEST(test_hf_counts_what_it_cannot_write),
          SCRATCH_TEST(test_hf_any_bytes), SCRATCH_TEST(test_hf_long_texts_take_no_quadratic_time))
