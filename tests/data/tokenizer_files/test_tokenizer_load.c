// tokenizer: vocabularies that must be refused, each by name, and what a small one written by hand does.
#include "tokenizer_files.h"
#include "tokenizer_fixture.h"

static VocabLists v; // big, and every test fills it anew

// Tokens 0 to 7: a, b, c, ab, abc, a space as the file writes it, a control token, an unused one.
static void fill(void) {
    vocab_init(&v, "gpt-2");
    const char *normal[] = {"a", "b", "c", "ab", "abc", "\xC4\xA0"};
    for (int i = 0; i < 6; i++) vocab_add(&v, 1, normal[i]);
    vocab_add(&v, 3, "<|end|>");
    vocab_add(&v, 5, "[PAD]");
    vocab_merge(&v, "a b");
    vocab_merge(&v, "ab c");
}

static void assert_refused(const char *part) {
    Tokenizer *t = NULL;
    Err err = {0};
    ASSERT_REFUSED(tokenizer_new(&t, &v.source, &err), &err, part);
    assert_int_equal(err.kind, ERR_INPUT);
}

static Tokenizer *load(void) {
    Tokenizer *t = NULL;
    Err err;
    ASSERT_OK(tokenizer_new(&t, &v.source, &err), &err);
    return t;
}

static void test_load_refuses_bad_tokens(void **state) {
    (void)state;
    fill();
    v.tokens[2].len = 0;
    assert_refused("token 2 is empty");
    fill();
    v.tokens[5] = str_of("ab");
    assert_refused("tokens 3 and 5 are both \"ab\"");
    fill();
    v.tokens[4] = str_of("x\xC3");
    assert_refused("token 4 is not valid UTF-8");
    fill();
    v.source.n_tokens = 0;
    assert_refused("vocabulary of 0 tokens");
    fill();
    v.types[6] = 4;
    char text[1100];
    memset(text, 'x', sizeof text);
    v.tokens[6] = (GgufStr){text, sizeof text};
    assert_refused("added token 6 has 1100 bytes; expected at most 1024");
}

static void test_load_refuses_bad_types(void **state) {
    (void)state;
    const int32_t bad[] = {0, 6, -1, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 5; i++) {
        fill();
        v.types[1] = bad[i];
        assert_refused("token 1 has type");
    }
}

static void test_load_refuses_bad_merges(void **state) {
    (void)state;
    const struct {
        const char *merge, *message;
    } cases[] = {{"ab", "has one part"},
                 {"", "has one part"},
                 {" ", "has one part"},
                 {"ab ", "has one part"},
                 {" ab", "has one part"},
                 {"x a", "\"x\" is not in the vocabulary"},
                 {"a x", "\"x\" is not in the vocabulary"},
                 {"a a", "\"aa\" is not in the vocabulary"},
                 {"a b c", "\"b c\" is not in the vocabulary"},
                 {"a b", "merges 0 and 1 are both \"a b\""},
                 {"<|end|> a", "is a control token"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fill();
        v.merges[1] = str_of(cases[i].merge);
        assert_refused(cases[i].message);
    }
}

// Text from data must never become a control token, whichever way the file asks for it.
static void test_load_refuses_control_tokens_made_of_text(void **state) {
    (void)state;
    const int32_t types[] = {2, 3};
    for (int i = 0; i < 2; i++) {
        fill();
        v.types[4] = types[i];
        assert_refused("merge 1 \"ab c\": \"abc\" is a control token");
        fill();
        v.types[2] = types[i];
        v.source.n_merges = 1;
        assert_refused("control token and the token of byte 0x63");
    }
}

static void test_load_refuses_bad_special_ids(void **state) {
    (void)state;
    fill();
    v.source.bos = 8;
    v.source.add_bos = 1;
    assert_refused("bos_token_id is 8; expected an id below 8");
    fill();
    v.source.eos = INT32_MAX;
    v.source.add_eos = 1;
    assert_refused("eos_token_id is at least 2147483647");
    fill();
    v.source.bos = v.source.eos = v.source.pad = v.source.eot = v.source.eom = 8; // used by nothing
    Tokenizer *t;
    Err err;
    ASSERT_OK(tokenizer_new(&t, &v.source, &err), &err);
    assert_true(t->bos == -1 && t->eos == -1 && t->pad == -1);
    assert_int_equal(t->n_ends, 1); // known by its text
    tokenizer_free(t);
    fill();
    v.source.pad = -2;
    assert_refused("padding token id -2");
    fill();
    v.source.add_bos = 1;
    assert_refused("is the bos token");
    fill();
    v.source.add_eos = 1;
    assert_refused("is the eos token");
}

static void assert_ids(const Tokenizer *t, const char *text, const int32_t *want, size_t n) {
    TokenIds got = {0};
    tokenizer_encode(t, text, strlen(text), NULL, true, &got);
    assert_int_equal(got.count, n);
    for (size_t i = 0; i < n; i++) assert_int_equal(got.ids[i], want[i]);
    token_ids_clear(&got);
}

static void test_load_special_ids_and_names(void **state) {
    (void)state;
    fill();
    v.source.bos = 6;
    v.source.chat_template = (GgufStr){"template and more", 8};
    Tokenizer *t = load();
    assert_int_equal(t->vocab_size, 8);
    assert_string_equal(t->kind, "gpt2/gpt-2");
    assert_string_equal(t->chat_template, "template");
    assert_int_equal(t->bos, 6);
    assert_int_equal(t->eos, -1);
    assert_false(t->add_bos);
    assert_true(tokenizer_is_control(t, 6));
    assert_false(tokenizer_is_control(t, 5));
    assert_int_equal(tokenizer_find(t, "\xC4\xA0"), 5);
    assert_int_equal(tokenizer_find(t, "<|end|>"), 6);
    assert_int_equal(tokenizer_find(t, "nothing"), -1);
    size_t len;
    assert_memory_equal(tokenizer_piece(t, 5, &len), " ", 1);
    assert_int_equal(len, 1);
    tokenizer_free(t);

    v.source.pre = str_of("llama-bpe"); // Llama 3 begins with BOS unless its file says otherwise
    t = load();
    assert_true(t->add_bos);
    assert_null(strchr(t->kind, ' '));
    tokenizer_free(t);
    v.source.add_bos = 0;
    t = load();
    assert_false(t->add_bos);
    tokenizer_free(t);
}

static void test_load_merges_by_rank_and_leaves_unknown_bytes_out(void **state) {
    (void)state;
    fill();
    Tokenizer *t = load();
    assert_ids(t, "abc", (int32_t[]){4}, 1);
    assert_ids(t, "bcab abc", (int32_t[]){1, 2, 3, 5, 4}, 5);
    assert_ids(t, "aXb", (int32_t[]){3}, 1); // no token for X: its neighbours meet, as in the reference
    assert_ids(t, "[PAD]", NULL, 0);         // unused: not recognised
    assert_ids(t, "a<|end|>b", (int32_t[]){0, 6, 1}, 3);
    tokenizer_free(t);
}

// Equal ranks leftmost first, in both forms of the merge loop (short and long words).
static void test_load_equal_ranks_merge_from_the_left(void **state) {
    (void)state;
    vocab_init(&v, "gpt-2");
    vocab_add(&v, 1, "a");
    vocab_add(&v, 1, "aa");
    vocab_merge(&v, "a a");
    Tokenizer *t = load();
    for (size_t n = 1; n < 200; n++) {
        char text[200];
        memset(text, 'a', n);
        TokenIds ids = {0};
        tokenizer_encode(t, text, n, NULL, true, &ids);
        assert_int_equal(ids.count, n / 2 + n % 2);
        assert_int_equal(ids.ids[ids.count - 1], n % 2 ? 0 : 1);
        token_ids_clear(&ids);
    }
    tokenizer_free(t);
}

// "x y" ranks before "w x", but y has gone into "yz" by then: what waits for it must not be merged in its place. Both
// forms of the merge loop again.
static void test_load_merges_ignore_pairs_that_are_gone(void **state) {
    (void)state;
    vocab_init(&v, "gpt-2");
    const char *tokens[] = {"w", "x", "y", "z", "wx", "xy", "yz", "xyz"};
    for (int i = 0; i < 8; i++) vocab_add(&v, 1, tokens[i]);
    const char *merges[] = {"y z", "x y", "w x", "x yz"};
    for (int i = 0; i < 4; i++) vocab_merge(&v, merges[i]);
    Tokenizer *t = load();
    StrBuf text = {0};
    int32_t want[80];
    for (size_t n = 1; n <= 40; n++) {
        str_puts(&text, "wxyz");
        want[2 * n - 2] = 4;
        want[2 * n - 1] = 6;
        assert_ids(t, text.data, want, 2 * n);
    }
    str_clear(&text);
    tokenizer_free(t);
}

static void test_load_whole_words_only_for_llama3(void **state) {
    (void)state;
    fill();
    vocab_add(&v, 1, "cab"); // 8: no merge makes it
    Tokenizer *t = load();
    assert_ids(t, "cab", (int32_t[]){2, 3}, 2);
    tokenizer_free(t);
    v.source.pre = str_of("llama3");
    t = load();
    assert_ids(t, "cab", (int32_t[]){8}, 1);
    tokenizer_free(t);
}

// Any change to a vocabulary's lists is refused or gives a tokenizer that works; under sanitizers this is the real
// test.
static void test_load_survives_damage(void **state) {
    (void)state;
    uint64_t seed = 5;
    int loaded = 0, refused = 0;
    for (int round = 0; round < 20000; round++) {
        fill();
        for (int i = 0; i < 2; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            uint32_t dice = (uint32_t)(seed >> 33), token = dice / 8 % 8, other = dice / 64 % 8, merge = dice / 8 % 2;
            switch (dice % 8) {
            case 0: v.types[token] = (int32_t)(dice / 64 % 7); break;
            case 1: v.tokens[token] = v.tokens[other]; break;
            case 2: v.tokens[token].len = dice / 64 % (v.tokens[token].len + 1); break;
            case 3: v.merges[merge].len = dice / 64 % (v.merges[merge].len + 1); break;
            case 4: v.merges[merge] = v.merges[dice / 64 % 2]; break;
            case 5: v.merges[merge] = v.tokens[other]; break;
            case 6: v.source.n_tokens = dice / 8 % 9; break;
            default: v.source.eos = (int32_t)(dice / 64 % 12) - 3; break;
            }
        }
        Tokenizer *t = NULL;
        Err err = {0};
        if (tokenizer_new(&t, &v.source, &err) != 0) {
            assert_int_equal(err.kind, ERR_INPUT);
            refused++;
            continue;
        }
        TokenIds ids = {0};
        tokenizer_encode(t, "abc <|end|>ab[PAD]c\xFF", 20, NULL, true, &ids);
        for (size_t i = 0; i < ids.count; i++) assert_in_range(ids.ids[i], 0, t->vocab_size - 1);
        token_ids_clear(&ids);
        tokenizer_free(t);
        loaded++;
    }
    assert_true(loaded > 1000 && refused > 1000);
}

static void assert_new_fingerprint(char seen[][33], int *n) {
    Tokenizer *t = load();
    assert_int_equal(strlen(t->fingerprint), 32);
    for (int i = 0; i < *n; i++) assert_string_not_equal(seen[i], t->fingerprint);
    strcpy(seen[(*n)++], t->fingerprint);
    tokenizer_free(t);
}

static void test_load_fingerprint_tells_tokenizers_apart(void **state) {
    (void)state;
    char seen[16][33];
    int n = 0;
    fill();
    assert_new_fingerprint(seen, &n);
    v.source.pre = str_of("smollm");
    assert_new_fingerprint(seen, &n);
    fill();
    v.types[7] = 4;
    assert_new_fingerprint(seen, &n);
    fill();
    v.tokens[7] = str_of("[PAE]");
    assert_new_fingerprint(seen, &n);
    fill();
    v.source.n_merges = 1;
    assert_new_fingerprint(seen, &n);
    fill();
    v.source.bos = 6;
    assert_new_fingerprint(seen, &n);
    v.source.add_bos = 1;
    assert_new_fingerprint(seen, &n);
    fill();
    Tokenizer *t = load();
    assert_string_equal(t->fingerprint, seen[0]);
    tokenizer_free(t);
}

TEST_MAIN(TEST(test_load_refuses_bad_tokens), TEST(test_load_refuses_bad_types), TEST(test_load_refuses_bad_merges),
          TEST(test_load_refuses_control_tokens_made_of_text), TEST(test_load_refuses_bad_special_ids),
          TEST(test_load_special_ids_and_names), TEST(test_load_merges_by_rank_and_leaves_unknown_bytes_out),
          TEST(test_load_equal_ranks_merge_from_the_left), TEST(test_load_merges_ignore_pairs_that_are_gone),
          TEST(test_load_whole_words_only_for_llama3), TEST(test_load_survives_damage),
          TEST(test_load_fingerprint_tells_tokenizers_apart))
