// wordpiece, bert_text: longest tokens first, unknown words, the normaliser's steps and its map, limits.
#include "normalize.h"
#include "test.h"
#include "wordpiece.h"

static const char *const TOKENS[] = {"[UNK]", "[CLS]", "un",       "##aff", "##able",     "##a",   "##ff",
                                     "able",  "##",    "\xC3\xA9", "x",     "##\xC3\xA9", "##unk", "CLS"};
enum { N_TOKENS = sizeof TOKENS / sizeof *TOKENS };

static Vocab *vocab;

static TokenModel make(const char *prefix, int64_t max_chars) {
    GgufStr tokens[N_TOKENS];
    int32_t types[N_TOKENS];
    for (int i = 0; i < N_TOKENS; i++) {
        tokens[i] = (GgufStr){TOKENS[i], strlen(TOKENS[i])};
        types[i] = i == 0 ? TOKEN_UNKNOWN : i == 1 || i == 13 ? TOKEN_CONTROL : TOKEN_NORMAL;
    }
    VocabSource source = {tokens, types, N_TOKENS, TOKEN_CONTROL};
    TokenModel m = {0};
    Err err = {0};
    ASSERT_OK(vocab_new(&vocab, &source, &err), &err);
    WordPieceSource w = {vocab, prefix, max_chars, 0};
    ASSERT_OK(wordpiece_new(&m, &w, &err), &err);
    return m;
}

static void drop(TokenModel *m) {
    m->kind->free(m->data);
    vocab_free(vocab);
}

static void assert_pieces(const TokenModel *m, const char *word, const char *want) {
    TokenWork w = {0};
    StrBuf got = {0};
    m->kind->tokenize(m->data, &w, word, strlen(word));
    for (size_t i = 0; i < w.n_tokens; i++) str_printf(&got, "%s%s@%u", i ? " " : "", TOKENS[w.ids[i]], w.begin[i]);
    assert_string_equal(got.data, want);
    str_clear(&got);
    token_work_clear(&w);
}

static void test_wordpiece_takes_the_longest_token_first(void **state) {
    (void)state;
    TokenModel m = make("##", 100);
    assert_pieces(&m, "unaffable", "un@0 ##aff@2 ##able@5");
    assert_pieces(&m, "unaable", "un@0 ##a@2 ##able@3");
    assert_pieces(&m, "able", "able@0");
    assert_pieces(&m, "x\xC3\xA9\xC3\xA9", "x@0 ##\xC3\xA9@1 ##\xC3\xA9@3");
    drop(&m);
}

static void test_wordpiece_words_without_tokens_are_unknown_as_a_whole(void **state) {
    (void)state;
    TokenModel m = make("##", 9);
    assert_pieces(&m, "unaffably", "[UNK]@0");
    assert_pieces(&m, "aff", "[UNK]@0");
    assert_pieces(&m, "x\xFF", "[UNK]@0");
    assert_pieces(&m, "\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9",
                  "\xC3\xA9@0 ##\xC3\xA9@2 ##\xC3\xA9@4 ##\xC3\xA9@6 ##\xC3\xA9@8 ##\xC3\xA9@10 ##\xC3\xA9@12 "
                  "##\xC3\xA9@14 ##\xC3\xA9@16");
    assert_pieces(&m, "unaffaable", "[UNK]@0"); // ten characters
    assert_pieces(&m, "CLS", "[UNK]@0");        // a control token is not made of text
    TokenWork w = {0};
    m.kind->tokenize(m.data, &w, "aff", 3);
    assert_int_equal(w.unknown, 3);
    token_work_clear(&w);
    drop(&m);
}

static void test_wordpiece_prefix_may_be_empty(void **state) {
    (void)state;
    TokenModel m = make("", 100);
    assert_pieces(&m, "unable", "un@0 able@2");
    drop(&m);
}

static void test_wordpiece_refuses_limits(void **state) {
    (void)state;
    TokenModel m = make("##", 100), none = {0};
    Err err = {0};
    ASSERT_REFUSED(wordpiece_new(&none, &(WordPieceSource){vocab, "##", 0, 0}, &err), &err, "expected 1 to 1000");
    ASSERT_REFUSED(wordpiece_new(&none, &(WordPieceSource){vocab, "##", 1001, 0}, &err), &err,
                   "max_input_chars_per_word 1001");
    ASSERT_REFUSED(wordpiece_new(&none, &(WordPieceSource){vocab, "##", 100, -1}, &err), &err, "unknown token id -1");
    ASSERT_REFUSED(wordpiece_new(&none, &(WordPieceSource){vocab, "##", 100, N_TOKENS}, &err), &err,
                   "unknown token id 14; expected an id from 0 to 13");
    char prefix[66];
    memset(prefix, '#', 65);
    prefix[65] = 0;
    ASSERT_REFUSED(wordpiece_new(&none, &(WordPieceSource){vocab, prefix, 100, 0}, &err), &err, "65 bytes");
    drop(&m);
}

static void test_wordpiece_long_words_end_soon(void **state) {
    (void)state;
    TokenModel m = make("##", 1000);
    TokenWork w = {0};
    StrBuf word = {0};
    while (word.len < 1 << 20) str_puts(&word, "a");
    m.kind->tokenize(m.data, &w, word.data, word.len);
    assert_int_equal(w.n_tokens, 1);
    str_clear(&word);
    token_work_clear(&w);
    drop(&m);
}

static void run(const BertNormalizer *bert, TextView *view, NormalizeWork *w) {
    Normalizer *n = normalizer_new();
    normalizer_add_bert(n, bert);
    normalizer_run(n, w, view, false);
    normalizer_free(n);
}

static void assert_normal(const BertNormalizer *bert, const char *text, const char *want) {
    NormalizeWork w = {.limit = 1 << 20};
    TextView view = {text, strlen(text), NULL};
    run(bert, &view, &w);
    StrBuf got = {0};
    str_add(&got, view.text, view.len);
    assert_string_equal(got.data, want);
    for (size_t i = 0; view.origin && i < view.len; i++)
        assert_true(view.origin[i] < strlen(text) && (i == 0 || view.origin[i] >= view.origin[i - 1]));
    str_clear(&got);
    normalize_work_clear(&w);
}

static void test_bert_text_normalises_step_by_step(void **state) {
    (void)state;
    const char *text = "\tZo\xC3\xAB\xE6\xBC\xA2\x07\xC2\xAD\xC4\xB0 \xE2\x80\xA8X";
    assert_normal(&(BertNormalizer){0}, text, text);
    assert_normal(&(BertNormalizer){.clean_text = true}, text, " Zo\xC3\xAB\xE6\xBC\xA2\xC4\xB0  X");
    assert_normal(&(BertNormalizer){.handle_chinese_chars = true}, "a\xE6\xBC\xA2z\xE3\x81\x82",
                  "a \xE6\xBC\xA2 z\xE3\x81\x82");
    assert_normal(&(BertNormalizer){.strip_accents = true}, text, "\tZoe\xE6\xBC\xA2\x07\xC2\xADI \xE2\x80\xA8X");
    assert_normal(&(BertNormalizer){.lowercase = true}, text,
                  "\tzo\xC3\xAB\xE6\xBC\xA2\x07\xC2\xADi\xCC\x87 \xE2\x80\xA8x");
    assert_normal(&(BertNormalizer){true, true, true, true}, text, " zoe \xE6\xBC\xA2 i  x");
    assert_normal(&(BertNormalizer){true, true, true, true}, "\x07\xCC\x81", "");
}

static void test_bert_text_maps_back_to_the_source(void **state) {
    (void)state;
    NormalizeWork w = {.limit = 1 << 20};
    TextView view = {"\x07\x65\xCC\x81\xE6\xBC\xA2X", 8, NULL};
    run(&(BertNormalizer){true, true, true, true}, &view, &w);
    const uint32_t origin[] = {1, 4, 4, 5, 6, 6, 7}; // e, space, three bytes, space, x
    assert_int_equal(view.len, 7);
    assert_memory_equal(view.text, "e \xE6\xBC\xA2 x", 7);
    assert_memory_equal(view.origin, origin, sizeof origin);
    normalize_work_clear(&w);
}

TEST_MAIN(TEST(test_wordpiece_takes_the_longest_token_first),
          TEST(test_wordpiece_words_without_tokens_are_unknown_as_a_whole), TEST(test_wordpiece_prefix_may_be_empty),
          TEST(test_wordpiece_refuses_limits), TEST(test_wordpiece_long_words_end_soon),
          TEST(test_bert_text_normalises_step_by_step), TEST(test_bert_text_maps_back_to_the_source))
