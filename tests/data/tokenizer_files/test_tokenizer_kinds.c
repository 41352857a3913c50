// tokenizer: SentencePiece BPE with scores, WordPiece and the newer byte-level splits against Hugging Face tokenizers:
// ids of the corpus and of every character, decoded texts, and where each token begins.
#include "tokenizer.h"
#include "tokenizer_files.h"
#include "tokenizer_kinds.h"

enum { GROUP_LINES = 8 };

static const char *const COLUMNS[] = {"llama", "gemma", "nobytes", "bert", "bertcased", "gpt-4o", "tekken", "dbrx"};
enum { N_COLUMNS = 8 };

static Tokenizer *made(int column) {
    if (column < 3) return kinds_scored(COLUMNS[column]);
    if (column < 5) return kinds_bert(column == 4);
    return golden_tokenizer_as("gpt-2", COLUMNS[column]);
}

static void check_full_ids(const Tokenizer *t, const char *name) {
    Lines golden = lines_open(KINDS "ids.txt"), corpus = lines_open(GOLDEN "corpus.txt");
    int next = 0, checked = 0;
    char *text = NULL;
    for (char *line; (line = lines_next(&golden));) {
        char *after, *space = strchr(line, ' ');
        if (strncmp(space + 1, name, strlen(name)) != 0 || space[1 + strlen(name)] != ':') continue;
        for (; next <= atoi(line); next++) text = lines_need(&corpus);
        TokenIds got = {0};
        tokenizer_encode(t, text, unescape(text), NULL, true, &got);
        size_t n = 0;
        for (char *at = strchr(line, ':') + 1; *at; at = after, n++) {
            int32_t want = (int32_t)strtol(at, &after, 10);
            if (n >= got.count || got.ids[n] != want)
                fail_msg("%s: line %d, token %zu: got %d, want %d", name, next, n, n < got.count ? got.ids[n] : -1,
                         want);
        }
        assert_int_equal(got.count, n);
        token_ids_clear(&got);
        checked++;
    }
    assert_true(checked > 10);
    lines_close(&golden);
    lines_close(&corpus);
}

// Starts never decrease, lie in the text, and begin at 0 where nothing is dropped before the first token.
static void check_starts(const TokenIds *ids, size_t from, size_t len) {
    for (size_t i = from; i < ids->count; i++) {
        assert_true(len == 0 || ids->start[i] < len);
        assert_true(i == from || ids->start[i] >= ids->start[i - 1]);
    }
}

// spm.h: 100 spaces in a row, where Gemma's conversion by transformers is not SentencePiece.
static bool has_long_spaces(int column, int group) { return strcmp(COLUMNS[column], "gemma") == 0 && group == 7; }

static void check_corpus(const Tokenizer *t, int column) {
    Lines golden = lines_open(KINDS "hashes.txt"), corpus = lines_open(GOLDEN "corpus.txt");
    TokenIds got = {0};
    int number = 0, differ = 0;
    for (char *line; (line = lines_next(&corpus));) {
        size_t len = unescape(line), before = got.count;
        tokenizer_encode(t, line, len, NULL, true, &got);
        check_starts(&got, before, len);
        if (++number % GROUP_LINES != 0) continue;
        bool same = fnv(got.ids, got.count) == hex_column(lines_need(&golden), column);
        if (!same && !has_long_spaces(column, number / GROUP_LINES) && differ++ < 5)
            print_message("%s: corpus lines %d to %d\n", COLUMNS[column], number - GROUP_LINES + 1, number);
        got.count = 0;
    }
    if (differ) fail_msg("%s: %d of %d groups differ", COLUMNS[column], differ, number / GROUP_LINES);
    assert_true(number >= 10000 && number % GROUP_LINES == 0);
    token_ids_clear(&got);
    lines_close(&golden);
    lines_close(&corpus);
}

static void check_characters(const Tokenizer *t, int column, const char *name, uint32_t exception) {
    Lines golden = lines_open(KINDS "characters.txt");
    StrBuf text = {0};
    TokenIds got = {0};
    for (uint32_t block = 0; block < CODE_POINTS / BLOCK; block++) {
        character_text(block, &text);
        tokenizer_encode(t, text.data, text.len, NULL, true, &got);
        check_starts(&got, 0, text.len);
        bool same = fnv(got.ids, got.count) == hex_column(lines_need(&golden), column);
        if (!same && block != exception)
            fail_msg("%s: ids around U+%04X to U+%04X differ", name, block * BLOCK, block * BLOCK + BLOCK - 1);
        got.count = 0;
    }
    token_ids_clear(&got);
    str_clear(&text);
    lines_close(&golden);
}

static void test_tokenizer_kinds_ids_as_reference(void **state) {
    (void)state;
    for (int column = 0; column < N_COLUMNS; column++) {
        Tokenizer *t = made(column);
        check_full_ids(t, COLUMNS[column]);
        check_corpus(t, column);
        tokenizer_free(t);
    }
}

static void test_tokenizer_kinds_characters_as_reference(void **state) {
    (void)state;
    enum { BERT = 3, NONE = CODE_POINTS };
    const int columns[] = {BERT, 5, 6};
    for (int i = 0; i < 3; i++) {
        Tokenizer *t = made(columns[i]);
        // normalize.c: U+11938, which Hugging Face tokenizers leaves whole
        check_characters(t, i, COLUMNS[columns[i]], columns[i] == BERT ? 0x11938 / BLOCK : NONE);
        tokenizer_free(t);
    }
}

// The ids' text, in one go and as a stream.
static void decode_both(const Tokenizer *t, const TokenIds *ids, StrBuf *text) {
    StrBuf shown = {0};
    TokenStream stream = {0};
    text->len = 0;
    str_add(text, "", 0);
    str_add(&shown, "", 0);
    tokenizer_decode(t, ids->ids, ids->count, false, text);
    for (size_t i = 0; i < ids->count; i++) token_stream_add(&stream, t, ids->ids[i], &shown);
    token_stream_end(&stream, &shown);
    assert_int_equal(shown.len, text->len);
    assert_memory_equal(shown.data, text->data, text->len);
    str_clear(&shown);
}

static void check_decode(const Tokenizer *t, int column, const char *name) {
    Lines golden = lines_open(KINDS "decode.txt"), corpus = lines_open(GOLDEN "corpus.txt");
    uint32_t *points = NULL;
    size_t n = 0, capacity = 0;
    StrBuf text = {0};
    int number = 0;
    for (char *line; (line = lines_next(&corpus));) {
        TokenIds ids = {0};
        tokenizer_encode(t, line, unescape(line), NULL, true, &ids);
        decode_both(t, &ids, &text);
        MEM_GROW(points, capacity, n + text.len);
        for (size_t i = 0; i < text.len;) points[n++] = take_character(&text, &i);
        token_ids_clear(&ids);
        if (++number % GROUP_LINES != 0) continue;
        if (fnv(points, n) != hex_column(lines_need(&golden), column))
            fail_msg("%s: decoded texts of lines %d to %d differ", name, number - GROUP_LINES + 1, number);
        n = 0;
    }
    mem_free(points);
    str_clear(&text);
    lines_close(&golden);
    lines_close(&corpus);
}

static void test_tokenizer_kinds_decode_as_reference(void **state) {
    (void)state;
    const int columns[] = {0, 1, 3};
    for (int i = 0; i < 3; i++) {
        Tokenizer *t = made(columns[i]);
        check_decode(t, i, COLUMNS[columns[i]]);
        tokenizer_free(t);
    }
}

static void assert_pair(const Tokenizer *t, const char *b, const char *want, size_t want_second) {
    TokenIds ids = {0};
    StrBuf got = {0};
    size_t second = 0;
    tokenizer_encode_pair(t, &(TokenizerPair){"the end", b, 7, b ? strlen(b) : 0, false}, &ids, &second);
    for (size_t i = 0; i < ids.count; i++) {
        size_t n;
        const char *piece = tokenizer_piece(t, ids.ids[i], &n);
        str_add(&got, piece, n);
        str_puts(&got, "|");
    }
    assert_string_equal(got.data, want);
    assert_int_equal(second, want_second);
    str_clear(&got);
    token_ids_clear(&ids);
}

static void test_tokenizer_kinds_vocab_txt_has_berts_template(void **state) {
    (void)state;
    Tokenizer *t = kinds_bert(true);
    assert_pair(t, NULL, "[CLS]| the| end|[SEP]|", 4);
    assert_pair(t, "the", "[CLS]| the| end|[SEP]| the|[SEP]|", 4);
    tokenizer_free(t);
}

static void assert_folder_refused(const char *vocab, const char *config, const char *part) {
    Tokenizer *t = NULL;
    Err err = {0};
    scratch_put("vocab.txt", vocab, strlen(vocab));
    scratch_put("tokenizer_config.json", config, strlen(config));
    ASSERT_REFUSED(tokenizer_from_hf(&t, ".", &err), &err, part);
    assert_int_equal(err.kind, ERR_INPUT);
}

static void test_tokenizer_kinds_vocab_txt_refusals(void **state) {
    (void)state;
    const char *good = "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n";
    assert_folder_refused("[PAD]\n[CLS]\n[SEP]\n", "{}", "vocab.txt: unk_token \"[UNK]\" is not a line of it");
    assert_folder_refused(good, "{\"cls_token\": \"<c>\"}", "cls_token \"<c>\" is not a line of it");
    assert_folder_refused(good, "{\"tokenizer_class\": \"EsmTokenizer\"}", "tokenizer_class: found EsmTokenizer");
    assert_folder_refused(good, "{\"do_lower_case\": 1}",
                          "tokenizer_config.json: do_lower_case is 1; expected true or false");
    assert_folder_refused("[UNK]\n[CLS]\n[SEP]\na\na\n", "{}", "vocab.txt:5: found key \"a\" twice (first on line 4)");
    assert_folder_refused("[UNK]\n\n[CLS]\n[SEP]\n", "{}", "token 1 is empty");
    assert_folder_refused("", "{}", "unk_token \"[UNK]\" is not a line of it");
}

TEST_MAIN(SCRATCH_TEST(test_tokenizer_kinds_ids_as_reference),
          SCRATCH_TEST(test_tokenizer_kinds_characters_as_reference),
          SCRATCH_TEST(test_tokenizer_kinds_decode_as_reference),
          SCRATCH_TEST(test_tokenizer_kinds_vocab_txt_has_berts_template),
          SCRATCH_TEST(test_tokenizer_kinds_vocab_txt_refusals))
