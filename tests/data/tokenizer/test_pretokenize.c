// pretokenize, unicode: pre-tokens of every character in context against Hugging Face tokenizers, long runs, NFC's map.
#include "json_pool.h"
#include "pretokenize.h"
#include "tokenizer_fixture.h"
#include "unicode.h"

static Pretokenizer *pretokenizer(const char *name, PretokenizerFamily *family) {
    Pretokenizer *p = pretokenizer_new();
    Err err;
    ASSERT_OK(pretokenizer_add_family(p, family, json_str(name), &err), &err);
    return p;
}

static void check_splits(int column, const char *name) {
    PretokenizerFamily family;
    Pretokenizer *p = pretokenizer(name, &family);
    Pieces pieces = {.limit = 1 << 20};
    Lines golden = lines_open(GOLDEN "splits.txt");
    StrBuf text = {0};
    uint32_t *ends = mem_alloc(32 * BLOCK, sizeof *ends);
    for (uint32_t block = 0; block < CODE_POINTS / BLOCK; block++) {
        const char *line = lines_need(&golden);
        character_text(block, &text);
        pretokenizer_run(p, &pieces, &(TextView){text.data, text.len, NULL}, TEXT_BEGINS);
        size_t n = pieces.count, expected = 0;
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(pieces.items[i].begin, expected);
            expected = ends[i] = pieces.items[i].end;
        }
        assert_int_equal(expected, text.len);
        if (fnv(ends, n) != hex_column(line, column))
            fail_msg("%s: pre-tokens around U+%04X to U+%04X differ", name, block * BLOCK, block * BLOCK + BLOCK - 1);
    }
    assert_null(lines_next(&golden));
    mem_free(ends);
    str_clear(&text);
    lines_close(&golden);
    pieces_clear(&pieces);
    pretokenizer_free(p);
}

static void test_pretokenize_cuts_every_character_as_reference(void **state) {
    (void)state;
    const char *names[] = {"gpt-2", "smollm", "llama-bpe", "qwen2"};
    for (int i = 0; i < 4; i++) check_splits(i, names[i]);
}

static void test_pretokenize_aliases(void **state) {
    (void)state;
    const char *pairs[][2] = {{"llama3", "llama-bpe"},       {"llama-v3", "llama-bpe"}, {"glm4", "glm4"},
                              {"deepseek-r1-qwen", "qwen2"}, {"chatglm-bpe", "dbrx"},   {"command-r", "command-r"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        PretokenizerFamily family;
        Pretokenizer *p = pretokenizer(pairs[i][0], &family);
        assert_string_equal(family.name, pairs[i][1]);
        pretokenizer_free(p);
    }
}

static void test_pretokenize_refuses_unknown_names(void **state) {
    (void)state;
    const char *names[] = {"default", "", "llama", "llama3 llama-v3", "qwen", "gpt-2 "};
    Pretokenizer *p = pretokenizer_new();
    PretokenizerFamily family;
    Err err;
    for (int i = 0; i < 6; i++) {
        ASSERT_REFUSED(pretokenizer_add_family(p, &family, json_str(names[i]), &err), &err,
                       "is not known; expected one of gpt-2");
        assert_int_equal(err.kind, ERR_INPUT);
    }
    pretokenizer_free(p);
}

// Long runs of one kind end neither in a match limit nor in quadratic time.
static void test_pretokenize_long_runs(void **state) {
    (void)state;
    const char *units[] = {" ", "\n", "a", "1", "é", "!", " a", "\xC2\xA0", " \n", "'", "\r\n "};
    const char *names[] = {"gpt-2", "smollm", "llama-bpe", "qwen2"};
    StrBuf text = {0};
    for (int i = 0; i < 4; i++) {
        PretokenizerFamily family;
        Pretokenizer *p = pretokenizer(names[i], &family);
        Pieces pieces = {.limit = 1 << 20};
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            text.len = 0;
            while (text.len < 1 << 20) str_puts(&text, units[u]);
            str_puts(&text, "x");
            pretokenizer_run(p, &pieces, &(TextView){text.data, text.len, NULL}, TEXT_BEGINS);
            size_t at = 0;
            for (size_t k = 0; k < pieces.count; at = pieces.items[k++].end)
                assert_int_equal(pieces.items[k].begin, at);
            assert_int_equal(at, text.len);
            assert_false(pieces.walk.failed);
        }
        pieces_clear(&pieces);
        pretokenizer_free(p);
    }
    str_clear(&text);
}

static void test_utf8_valid_prefix(void **state) {
    (void)state;
    const struct {
        const char *text;
        size_t valid;
    } cases[] = {{"plain ascii text", 16},
                 {"12345678\xC3\xA9", 10},
                 {"a\xC0\x80", 1},
                 {"\xE0\x9F\x80", 0},
                 {"\xED\xA0\x80", 0},
                 {"\xED\x9F\xBF", 3},
                 {"\xF0\x8F\xBF\xBF", 0},
                 {"\xF4\x8F\xBF\xBF", 4},
                 {"\xF4\x90\x80\x80", 0},
                 {"ab\xE2\x82", 2},
                 {"ab\x80", 2},
                 {"\xF5\x80\x80\x80", 0},
                 {"\xC3(", 0},
                 {"\xF0\x9F\x98\x80", 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(utf8_valid_prefix(cases[i].text, strlen(cases[i].text)), cases[i].valid);
}

static bool nfc(const char *text, size_t len, MappedText *out) {
    TextView in = {text, len, NULL};
    return unicode_normalize(&in, NORMAL_NFC, out);
}

static void test_nfc_maps_back_to_the_source(void **state) {
    (void)state;
    MappedText n = {0};
    assert_false(nfc("plain \xC3\xA9 \xE6\xBC\xA2", 12, &n));
    assert_true(nfc("xe\xCC\x81y\xCC\xA3z", 8, &n)); // e + acute, y + dot below
    assert_int_equal(n.text.len, 7);
    assert_memory_equal(n.text.data, "x\xC3\xA9\xE1\xBB\xB5z", 7);
    const uint32_t origin[] = {0, 1, 2, 4, 5, 6, 7};
    assert_memory_equal(n.origin, origin, sizeof origin);
    assert_true(nfc("a\xE0\xA5\x98", 4, &n)); // U+0958 grows to two characters of three bytes
    const uint32_t grown[] = {0, 1, 2, 3, 3, 3, 3};
    assert_int_equal(n.text.len, 7);
    assert_memory_equal(n.origin, grown, sizeof grown);
    mapped_text_clear(&n);
}

// The cut points must not change the result: a text much longer than a block, in one go and by pieces.
static void test_nfc_of_long_text_is_that_of_its_parts(void **state) {
    (void)state;
    const char *unit = "e\xCC\x81\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8 q\xCC\x87\xCC\xA3";
    const char *want = "\xC3\xA9\xEA\xB0\x81 q\xCC\xA3\xCC\x87";
    StrBuf text = {0}, expected = {0};
    MappedText n = {0};
    for (int i = 0; i < 5000; i++) {
        str_puts(&text, unit);
        str_puts(&expected, want);
    }
    assert_true(nfc(text.data, text.len, &n));
    assert_int_equal(n.text.len, expected.len);
    assert_memory_equal(n.text.data, expected.data, expected.len);
    for (size_t i = 1; i < n.text.len; i++) assert_true(n.origin[i] >= n.origin[i - 1]);
    mapped_text_clear(&n);
    str_clear(&text);
    str_clear(&expected);
}

TEST_MAIN(TEST(test_pretokenize_cuts_every_character_as_reference), TEST(test_pretokenize_aliases),
          TEST(test_pretokenize_refuses_unknown_names), TEST(test_pretokenize_long_runs), TEST(test_utf8_valid_prefix),
          TEST(test_nfc_maps_back_to_the_source), TEST(test_nfc_of_long_text_is_that_of_its_parts))
