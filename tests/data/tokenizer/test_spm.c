// spm: merging by score, what becomes of characters without a token, vocabularies that are not what they claim.
#include <math.h>

#include "spm.h"
#include "test.h"

#define SPACE "\xE2\x96\x81"
enum { MAX_TOKENS = 400 };

// A vocabulary that a test fills; the model is made of it by make().
static struct {
    GgufStr tokens[MAX_TOKENS];
    int32_t types[MAX_TOKENS];
    float scores[MAX_TOKENS];
    size_t n, n_scores;
    int32_t unknown;
    char bytes[256][8];
} f;

static Vocab *vocab;

static void add(int32_t type, float score, const char *text) {
    f.tokens[f.n] = (GgufStr){text, strlen(text)};
    f.types[f.n] = type;
    f.scores[f.n++] = score;
    f.n_scores = f.n;
}

static void begin(void) {
    f.n = 0;
    f.unknown = 0;
    add(TOKEN_UNKNOWN, 0, "<unk>");
    add(TOKEN_CONTROL, 0, "<s>");
}

static void add_characters(const char *letters) {
    static char one[64][2];
    for (int i = 0; letters[i]; i++) {
        one[i][0] = letters[i];
        add(TOKEN_NORMAL, -1000.0f - (float)i, one[i]);
    }
}

static void add_bytes(void) {
    for (int i = 0; i < 256; i++) {
        snprintf(f.bytes[i], sizeof f.bytes[i], "<0x%02X>", i);
        add(TOKEN_BYTE, 0, f.bytes[i]);
    }
}

static int make(TokenModel *m, Err *err) {
    VocabSource source = {f.tokens, f.types, f.n, TOKEN_BYTE};
    vocab_free(vocab);
    vocab = NULL;
    ASSERT_OK(vocab_new(&vocab, &source, err), err);
    SpmSource spm = {vocab, f.scores, f.n_scores, f.unknown};
    return spm_new(m, &spm, err);
}

static void refused(const char *message) {
    TokenModel m = {0};
    Err err = {0};
    ASSERT_REFUSED(make(&m, &err), &err, message);
    assert_int_equal(err.kind, ERR_INPUT);
    vocab_free(vocab);
    vocab = NULL;
}

static TokenModel made(void) {
    TokenModel m = {0};
    Err err = {0};
    ASSERT_OK(make(&m, &err), &err);
    return m;
}

static void drop(TokenModel *m) {
    m->kind->free(m->data);
    vocab_free(vocab);
    vocab = NULL;
}

// The tokens' texts joined with '|'.
static void assert_pieces(const TokenModel *m, const char *text, const char *want) {
    TokenWork w = {0};
    StrBuf got = {0};
    m->kind->tokenize(m->data, &w, text, strlen(text));
    for (size_t i = 0; i < w.n_tokens; i++) {
        JsonStr piece = vocab_text(vocab, w.ids[i]);
        if (i) str_puts(&got, "|");
        str_add(&got, piece.data, piece.len);
        assert_true(w.begin[i] < strlen(text) && (i == 0 || w.begin[i] >= w.begin[i - 1]));
    }
    assert_string_equal(got.data ? got.data : "", want);
    str_clear(&got);
    token_work_clear(&w);
}

static void test_spm_merges_the_highest_score_first(void **state) {
    (void)state;
    begin();
    add_characters("abcd");
    add(TOKEN_NORMAL, -2, "ab");
    add(TOKEN_NORMAL, -1, "bc");
    add(TOKEN_NORMAL, -3, "abc"); // of a and bc
    add(TOKEN_NORMAL, -4, "cd");
    TokenModel m = made();
    assert_pieces(&m, "abd", "ab|d");
    assert_pieces(&m, "abcd", "abc|d");
    assert_pieces(&m, "ababcd", "ab|abc|d");
    assert_pieces(&m, "acd", "a|cd");
    drop(&m);
}

static void test_spm_takes_the_leftmost_of_equal_scores(void **state) {
    (void)state;
    begin();
    add_characters("ab");
    add(TOKEN_NORMAL, -1, "aa");
    add(TOKEN_NORMAL, -1, "ab");
    TokenModel m = made();
    assert_pieces(&m, "aab", "aa|b");
    assert_pieces(&m, "aaab", "aa|ab");
    StrBuf text = {0}, want = {0}; // the same through the heap
    for (int i = 0; i < 101; i++) str_puts(&text, "a");
    for (int i = 0; i < 50; i++) str_puts(&want, "aa|");
    str_puts(&want, "a");
    assert_pieces(&m, text.data, want.data);
    str_clear(&text);
    str_clear(&want);
    drop(&m);
}

static void test_spm_words_merge_alone_unless_a_token_crosses_them(void **state) {
    (void)state;
    begin();
    add_characters("ab");
    add(TOKEN_NORMAL, -2000, SPACE);
    add(TOKEN_NORMAL, -3, SPACE "a");
    add(TOKEN_NORMAL, -2, SPACE SPACE);
    add(TOKEN_NORMAL, -1, "ab");
    TokenModel m = made();
    assert_pieces(&m, SPACE "a" SPACE "b" SPACE SPACE "a", SPACE "a|" SPACE "|b|" SPACE SPACE "|a");
    drop(&m);
    add(TOKEN_NORMAL, 5, "b" SPACE); // now words are no longer on their own
    m = made();
    assert_pieces(&m, SPACE "a" SPACE "b" SPACE SPACE "a", SPACE "a|" SPACE "|b" SPACE "|" SPACE "a");
    drop(&m);
}

static void test_spm_unknown_characters_become_bytes_or_one_unknown_token(void **state) {
    (void)state;
    begin();
    add_characters("ab");
    TokenModel m = made();
    assert_pieces(&m, "axyb\xC3\xA9", "a|<unk>|b|<unk>");
    TokenWork w = {0};
    m.kind->tokenize(m.data, &w, "axy\xC3\xA9", 5);
    assert_int_equal(w.unknown, 4);
    assert_int_equal(w.left_out, 0);
    drop(&m);
    f.unknown = -1;
    m = made();
    m.kind->tokenize(m.data, &w, "axyb\xFF", 5);
    assert_int_equal(w.n_tokens, 2);
    assert_int_equal(w.left_out, 3);
    drop(&m);
    add_bytes();
    m = made();
    assert_pieces(&m, "a\xC3\xA9\xFF", "a|<0xC3>|<0xA9>|<0xFF>");
    drop(&m);
    f.types[f.n - 1] = TOKEN_CONTROL; // without 0xFF
    f.unknown = 0;
    m = made();
    assert_pieces(&m, "\xFF\xC3\xA9", "<unk>|<0xC3>|<0xA9>");
    drop(&m);
    token_work_clear(&w);
}

static void test_spm_never_makes_control_byte_or_unused_tokens_of_text(void **state) {
    (void)state;
    begin();
    add_characters("<s>0xA1");
    add(TOKEN_NORMAL, -1, "<s");
    add(TOKEN_NORMAL, -1, "s>");
    add(TOKEN_UNUSED, 5, "0x");
    add(TOKEN_USER_DEFINED, 5, "A1");
    add_bytes();
    TokenModel m = made();
    assert_pieces(&m, "<s>", "<s|>");
    assert_pieces(&m, "<0xA1>", "<|0|x|A|1|>");
    drop(&m);
}

static void test_spm_refuses_bad_scores_and_ids(void **state) {
    (void)state;
    begin();
    add_characters("ab");
    f.n_scores = 3;
    refused("3 scores; expected 4, one per token");
    f.n_scores = 4;
    f.scores[3] = NAN;
    refused("the score of token 3 is not a finite number");
    f.scores[3] = -INFINITY;
    refused("the score of token 3");
    f.scores[3] = 0;
    f.unknown = 4;
    refused("unknown token id 4; expected an id below 4");
}

static void test_spm_long_texts_take_no_quadratic_time(void **state) {
    (void)state;
    const char *units[] = {"a", "ab", "x", "\xC3\xA9", SPACE, SPACE "a", "\xFF"};
    begin();
    add_characters("ab");
    add(TOKEN_NORMAL, -2, "aa");
    add(TOKEN_NORMAL, -1, "aaaa");
    add(TOKEN_NORMAL, -3, "ab");
    add(TOKEN_NORMAL, -4, SPACE);
    add(TOKEN_NORMAL, -5, SPACE SPACE);
    add(TOKEN_NORMAL, -6, "abab");
    for (int bytes = 0; bytes < 2; bytes++) {
        if (bytes) add_bytes();
        TokenModel m = made();
        TokenWork w = {0};
        StrBuf text = {0};
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            text.len = 0;
            while (text.len < 1 << 20) str_puts(&text, units[u]);
            m.kind->tokenize(m.data, &w, text.data, text.len);
            assert_true(w.n_tokens > 0 && w.n_tokens <= text.len);
        }
        str_clear(&text);
        token_work_clear(&w);
        drop(&m);
    }
}

TEST_MAIN(TEST(test_spm_merges_the_highest_score_first), TEST(test_spm_takes_the_leftmost_of_equal_scores),
          TEST(test_spm_words_merge_alone_unless_a_token_crosses_them),
          TEST(test_spm_unknown_characters_become_bytes_or_one_unknown_token),
          TEST(test_spm_never_makes_control_byte_or_unused_tokens_of_text), TEST(test_spm_refuses_bad_scores_and_ids),
          TEST(test_spm_long_texts_take_no_quadratic_time))
