// tokenizer: ids against Hugging Face tokenizers on the corpus and on every character, and what must hold for any
// bytes.
#include <pthread.h>

#include "tokenizer_golden.h"

static const char *const NAMES[] = {"gpt-2", "smollm", "llama-bpe", "qwen2"}; // columns 1 to 4 of the golden files
enum { N_NAMES = 4 };

static void test_tokenizer_ids_of_small_vocabularies_as_reference(void **state) {
    (void)state;
    for (int i = 0; i < N_NAMES; i++) {
        Tokenizer *t = golden_tokenizer(NAMES[i]);
        check_full_ids(t, NAMES[i]);
        check_corpus(t, NAMES[i], i + 1);
        check_characters(t, NAMES[i], i + 1);
        tokenizer_free(t);
    }
}

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

// Bytes that are text in parts: random bytes, cut characters, words, control tokens.
static size_t random_text(uint64_t *seed, char *out, size_t capacity) {
    const char *parts[] = {"hello ", "\xF0\x9F\x98\x80", "\xE6\xBC", "<|im_end|>", "<think>", "  ", "'s",
                           "12",     "\xC3\xA9"};
    size_t want = next_random(seed) % capacity, len = 0;
    while (len < want) {
        const char *part = parts[next_random(seed) % 9];
        char byte = (char)next_random(seed);
        bool one = next_random(seed) % 3 == 0 || len + strlen(part) > want;
        memcpy(out + len, one ? &byte : part, one ? 1 : strlen(part));
        len += one ? 1 : strlen(part);
    }
    return len;
}

static void check_stream(const Tokenizer *t, const TokenIds *ids, const StrBuf *whole);

static void check_round_trip(const Tokenizer *t, const char *text, size_t len) {
    TokenIds ids = encode(t, text, len);
    StrBuf back = {0};
    size_t at = 0;
    for (size_t i = 0; i < ids.count; i++) {
        size_t n;
        tokenizer_piece(t, ids.ids[i], &n);
        assert_int_equal(ids.start[i], at); // pieces follow one another and cover the text
        at += n;
    }
    assert_int_equal(at, len);
    tokenizer_decode(t, ids.ids, ids.count, true, &back);
    assert_int_equal(back.len, len);
    if (len) assert_memory_equal(back.data, text, len);
    back.len = 0;
    tokenizer_decode(t, ids.ids, ids.count, false, &back);
    check_stream(t, &ids, &back);
    str_clear(&back);
    token_ids_clear(&ids);
}

// What decoding would be with every longest beginning of a character that cannot go on replaced by U+FFFD.
static void make_valid(const StrBuf *bytes, StrBuf *out) {
    const uint8_t *s = (const uint8_t *)bytes->data;
    for (size_t i = 0; i < bytes->len;) {
        size_t want = s[i] < 0x80   ? 1
                      : s[i] < 0xC2 ? 0
                      : s[i] < 0xE0 ? 2
                      : s[i] < 0xF0 ? 3
                      : s[i] < 0xF5 ? 4
                                    : 0,
               n = 1;
        for (; n < want && i + n < bytes->len && (s[i + n] & 0xC0) == 0x80; n++) {
            bool second_bad = (s[i] == 0xE0 && s[i + n] < 0xA0) || (s[i] == 0xED && s[i + n] > 0x9F) ||
                              (s[i] == 0xF0 && s[i + n] < 0x90) || (s[i] == 0xF4 && s[i + n] > 0x8F);
            if (n == 1 && second_bad) break;
        }
        if (n == want)
            str_add(out, bytes->data + i, n);
        else
            str_puts(out, "\xEF\xBF\xBD");
        i += n;
    }
}

static void check_stream(const Tokenizer *t, const TokenIds *ids, const StrBuf *whole) {
    StrBuf got = {0}, want = {0};
    TokenStream s = {0};
    for (size_t i = 0; i < ids->count; i++) token_stream_add(&s, t, ids->ids[i], &got);
    token_stream_end(&s, &got);
    make_valid(whole, &want);
    assert_int_equal(got.len, want.len);
    if (got.len) assert_memory_equal(got.data, want.data, want.len);
    str_clear(&got);
    str_clear(&want);
}

static void test_tokenizer_gives_any_bytes_back(void **state) {
    (void)state;
    char text[400];
    uint64_t seed = 7;
    for (int i = 0; i < 3; i++) { // not qwen2: NFC
        Tokenizer *t = golden_tokenizer(NAMES[i]);
        for (int k = 0; k < 1500; k++) check_round_trip(t, text, random_text(&seed, text, sizeof text));
        check_round_trip(t, "", 0);
        tokenizer_free(t);
    }
}

static void test_tokenizer_starts_with_nfc_never_decrease(void **state) {
    (void)state;
    Tokenizer *t = golden_tokenizer("qwen2");
    Lines corpus = lines_open(GOLDEN "corpus.txt");
    for (char *line; (line = lines_next(&corpus));) {
        size_t len = unescape(line);
        TokenIds ids = encode(t, line, len);
        for (size_t i = 0; i < ids.count; i++) assert_in_range(ids.start[i], i ? ids.start[i - 1] : 0, len - 1);
        if (ids.count) assert_int_equal(ids.start[0], 0);
        token_ids_clear(&ids);
    }
    const char *text = "e\xCC\x81<think>e\xCC\x81<think>"; // after a changed character the offsets are exact again
    TokenIds ids = encode(t, text, strlen(text));
    int32_t think = tokenizer_find(t, "<think>");
    assert_int_equal(ids.ids[ids.count - 1], think);
    assert_int_equal(ids.start[ids.count - 1], 13);
    token_ids_clear(&ids);
    lines_close(&corpus);
    tokenizer_free(t);
}

static size_t count_id(const Tokenizer *t, const char *text, const uint32_t *origin, bool special, const char *token) {
    TokenIds ids = {0};
    tokenizer_encode(t, text, strlen(text), origin, special, &ids);
    int32_t id = tokenizer_find(t, token);
    size_t n = 0;
    for (size_t i = 0; i < ids.count; i++) n += ids.ids[i] == id;
    token_ids_clear(&ids);
    return n;
}

static void test_tokenizer_control_tokens_only_from_origin_0(void **state) {
    (void)state;
    Tokenizer *t = golden_tokenizer("smollm");
    const char *text = "<|im_end|><|im_end|><|im_end|><think>";
    uint32_t origin[64] = {0};
    assert_int_equal(count_id(t, text, NULL, true, "<|im_end|>"), 3);
    assert_int_equal(count_id(t, text, NULL, false, "<|im_end|>"), 0);
    assert_int_equal(count_id(t, text, origin, true, "<|im_end|>"), 3);
    for (int i = 0; i < 10; i++) { // any one byte from data spoils the token
        memset(origin, 0, sizeof origin);
        origin[10 + i] = 1;
        assert_int_equal(count_id(t, text, origin, true, "<|im_end|>"), 2);
    }
    for (int i = 0; i < 64; i++) origin[i] = 0x8001;
    assert_int_equal(count_id(t, text, origin, true, "<|im_end|>"), 0);
    assert_int_equal(count_id(t, text, origin, true, "<think>"), 1);    // user-defined ones always form
    assert_int_equal(count_id(t, "@@@@@@@", origin, false, "@@@@"), 1); // the longest first
    assert_int_equal(count_id(t, "@@@@@@@", origin, false, "@@"), 1);
    tokenizer_free(t);
}

static void test_tokenizer_stream_holds_back_incomplete_characters(void **state) {
    (void)state;
    Tokenizer *t = golden_tokenizer("gpt-2");
    const char *text = "\xF0\x93\x80\x80<|im_end|>"; // no merges: one token a byte
    TokenIds ids = encode(t, text, strlen(text));
    assert_int_equal(ids.count, 5);
    StrBuf out = {0};
    TokenStream s = {0};
    for (int i = 0; i < 3; i++) token_stream_add(&s, t, ids.ids[i], &out);
    assert_int_equal(out.len, 0);
    token_stream_add(&s, t, ids.ids[4], &out); // a control token neither shows nor ends the character
    token_stream_add(&s, t, ids.ids[3], &out);
    assert_int_equal(out.len, 4);
    token_stream_add(&s, t, ids.ids[0], &out);
    token_stream_end(&s, &out);
    assert_string_equal(out.data, "\xF0\x93\x80\x80\xEF\xBF\xBD");
    str_clear(&out);
    token_ids_clear(&ids);
    tokenizer_free(t);
}

// Text of random tokens as the reference decodes them: broken characters included, control tokens left out.
static void test_tokenizer_stream_decodes_as_reference(void **state) {
    (void)state;
    Tokenizer *t = golden_tokenizer("gpt-2");
    Lines golden = lines_open(GOLDEN "decode.txt");
    StrBuf out = {0};
    int number = 0;
    for (char *line; (line = lines_next(&golden)); number++) {
        TokenStream s = {0};
        uint32_t points[1024];
        size_t n = 0;
        char *at = line, *after;
        out.len = 0;
        for (; *at != '|'; at = after + 1) token_stream_add(&s, t, (int32_t)strtol(at, &after, 10), &out);
        token_stream_end(&s, &out);
        for (size_t i = 0; i < out.len;) points[n++] = take_character(&out, &i);
        if (fnv(points, n) != strtoul(at + 1, NULL, 16)) fail_msg("decode.txt line %d: \"%s\"", number + 1, out.data);
    }
    assert_int_equal(number, 400);
    str_clear(&out);
    lines_close(&golden);
    tokenizer_free(t);
}

// A megabyte in one pre-token: the heap's time, not the square of the length.
static void test_tokenizer_long_words_take_no_quadratic_time(void **state) {
    (void)state;
    Tokenizer *t = golden_tokenizer("gpt-2");
    const size_t len = 1 << 20;
    char *text = mem_alloc(len, 1);
    const char *units[] = {"a", " ", "th", "\xE6\xBC\xA2"};
    for (int u = 0; u < 4; u++) {
        size_t n = strlen(units[u]), used = len - len % n;
        for (size_t i = 0; i < used; i++) text[i] = units[u][i % n];
        double start = time_now();
        check_round_trip(t, text, used);
        assert_true(time_now() - start < 20.0); // takes about 0.3 s; 30 times that under sanitizers on a busy machine
    }
    mem_free(text);
    tokenizer_free(t);
}

typedef struct Job {
    const Tokenizer *t;
    uint32_t hash;
} Job;

static void *encode_corpus(void *arg) {
    Job *job = arg;
    Lines corpus = lines_open(GOLDEN "corpus.txt");
    TokenIds ids = {0};
    for (char *line; (line = lines_next(&corpus));) tokenizer_encode(job->t, line, unescape(line), NULL, true, &ids);
    job->hash = fnv(ids.ids, ids.count);
    token_ids_clear(&ids);
    lines_close(&corpus);
    return NULL;
}

static void test_tokenizer_serves_threads(void **state) {
    (void)state;
    Tokenizer *t = golden_tokenizer("qwen2");
    Job jobs[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        jobs[i] = (Job){.t = t};
        assert_int_equal(pthread_create(&threads[i], NULL, encode_corpus, &jobs[i]), 0);
    }
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (int i = 1; i < 4; i++) assert_int_equal(jobs[i].hash, jobs[0].hash);
    tokenizer_free(t);
}

TEST_MAIN(TEST(test_tokenizer_ids_of_small_vocabularies_as_reference), TEST(test_tokenizer_gives_any_bytes_back),
          TEST(test_tokenizer_starts_with_nfc_never_decrease), TEST(test_tokenizer_control_tokens_only_from_origin_0),
          TEST(test_tokenizer_stream_holds_back_incomplete_characters),
          TEST(test_tokenizer_stream_decodes_as_reference), TEST(test_tokenizer_long_words_take_no_quadratic_time),
          TEST(test_tokenizer_serves_threads))
