// tokenizer: the keys of a GGUF file it is made of; each one missing, of another type, or at odds with the others.
#include "gguf_builder.h"
#include "tokenizer_files.h"
#include "tokenizer_fixture.h"

typedef struct Keys {
    const char *model, *pre, *chat_template;
    uint32_t n_tokens, n_types, n_merges;
    uint32_t token_type, bos_type; // GGUF types of the elements and of the id
    uint64_t bos;
    size_t template_len;
    bool add_bos;          // the file says that bos is put in front
    const char *leave_out; // a key that is not written
} Keys;

static const Keys good = {.model = "gpt2",
                          .pre = "smollm",
                          .chat_template = "{{ messages }}\0",
                          .template_len = 14,
                          .n_tokens = 4,
                          .n_types = 4,
                          .n_merges = 1,
                          .token_type = I32,
                          .bos_type = U32,
                          .bos = 3};

static bool wanted(const Keys *k, const char *name) { return !k->leave_out || strcmp(k->leave_out, name) != 0; }

static void add_string(Builder *b, const Keys *k, const char *name, const char *value, size_t len) {
    if (!wanted(k, name)) return;
    add_key(b, name, STRING);
    add_strn(b, value, len);
}

static void add_lists(Builder *b, const Keys *k) {
    const char *tokens[] = {"a", "b", "ab", "<|end|>"};
    if (wanted(k, "tokenizer.ggml.tokens")) {
        add_key_array(b, "tokenizer.ggml.tokens", STRING, k->n_tokens);
        for (uint32_t i = 0; i < k->n_tokens; i++) add_str(b, tokens[i]);
    }
    if (wanted(k, "tokenizer.ggml.token_type")) {
        add_key_array(b, "tokenizer.ggml.token_type", k->token_type, k->n_types);
        for (uint32_t i = 0; i < k->n_types; i++) {
            uint32_t type = i == 3 ? 3 : 1;
            add(b, &type, k->token_type == BOOL ? 1 : 4);
        }
    }
    if (wanted(k, "tokenizer.ggml.merges")) {
        add_key_array(b, "tokenizer.ggml.merges", STRING, k->n_merges);
        for (uint32_t i = 0; i < k->n_merges; i++) add_str(b, "a b");
    }
}

static int load(Tokenizer **t, const Keys *k, Err *err) {
    Builder b = begin(0, (k->leave_out ? 6 : 7) + k->add_bos);
    if (k->add_bos) add_key(&b, "tokenizer.ggml.add_bos_token", BOOL), add(&b, "\1", 1);
    add_string(&b, k, "tokenizer.ggml.model", k->model, strlen(k->model));
    add_string(&b, k, "tokenizer.ggml.pre", k->pre, strlen(k->pre));
    add_string(&b, k, "tokenizer.chat_template", k->chat_template, k->template_len);
    add_lists(&b, k);
    if (wanted(k, "tokenizer.ggml.bos_token_id")) {
        add_key(&b, "tokenizer.ggml.bos_token_id", k->bos_type);
        add(&b, &k->bos, k->bos_type == U64 ? 8 : k->bos_type == BOOL ? 1 : 4);
    }
    Gguf *g = NULL;
    ASSERT_OK(open_built(&g, &b, err), err);
    int rc = tokenizer_from_gguf(t, g, err);
    if (rc != 0 && strncmp(err->msg, "f.gguf: ", 8) != 0) fail_msg("\"%s\" does not begin with the path", err->msg);
    gguf_close(g); // the tokenizer keeps nothing of the file
    return rc;
}

static void assert_refused(const Keys *k, const char *part) {
    Tokenizer *t = NULL;
    Err err = {0};
    ASSERT_REFUSED(load(&t, k, &err), &err, part);
    assert_int_equal(err.kind, ERR_INPUT);
}

static void test_keys_make_a_tokenizer(void **state) {
    (void)state;
    Tokenizer *t = NULL;
    Err err;
    ASSERT_OK(load(&t, &good, &err), &err);
    assert_string_equal(t->kind, "gpt2/smollm");
    assert_string_equal(t->chat_template, "{{ messages }}");
    assert_int_equal(t->bos, 3);
    assert_int_equal(t->eos, -1);
    TokenIds ids = {0};
    tokenizer_encode(t, "ab<|end|>", 9, NULL, true, &ids);
    assert_int_equal(ids.count, 2);
    assert_int_equal(ids.ids[0], 2);
    assert_int_equal(ids.ids[1], 3);
    token_ids_clear(&ids);
    tokenizer_free(t);
}

static void test_keys_optional_ones_may_be_missing(void **state) {
    (void)state;
    const char *optional[] = {"tokenizer.ggml.bos_token_id", "tokenizer.chat_template"};
    for (int i = 0; i < 2; i++) {
        Keys k = good;
        k.leave_out = optional[i];
        Tokenizer *t = NULL;
        Err err;
        ASSERT_OK(load(&t, &k, &err), &err);
        assert_int_equal(t->bos, i == 0 ? -1 : 3);
        assert_int_equal(t->chat_template == NULL, i == 1);
        tokenizer_free(t);
    }
}

// Ids that no token has, where nothing uses them: none, with a warning but for -1.
static void test_keys_ids_out_of_range(void **state) {
    (void)state;
    static const struct {
        uint32_t type;
        uint64_t bos;
    } cases[] = {{U32, 4}, {U32, UINT32_MAX}, {U32, 3000000000}, {I32, (uint32_t)-1}, {U64, 1ull << 40}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Keys k = good;
        k.bos_type = cases[i].type;
        k.bos = cases[i].bos;
        Tokenizer *t = NULL;
        Err err;
        ASSERT_OK(load(&t, &k, &err), &err);
        assert_int_equal(t->bos, -1);
        assert_false(t->add_bos);
        tokenizer_free(t);
    }
}

static void test_keys_missing_are_named(void **state) {
    (void)state;
    const char *required[] = {"tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens",
                              "tokenizer.ggml.token_type", "tokenizer.ggml.merges"};
    for (int i = 0; i < 5; i++) {
        Keys k = good;
        k.leave_out = required[i];
        assert_refused(&k, required[i]);
    }
}

static void test_keys_at_odds_are_refused(void **state) {
    (void)state;
    Keys k = good;
    k.model = "bert";
    assert_refused(&k, "tokenizer.ggml.model: \"bert\" is not supported; expected gpt2");
    k = good;
    k.pre = "default";
    assert_refused(&k, "pre-tokenizer \"default\" is not known");
    k = good;
    k.template_len = 15;
    assert_refused(&k, "tokenizer.chat_template has a NUL byte");
    k = good;
    k.n_types = 3;
    assert_refused(&k, "token_type has 3 entries; expected 4");
    k = good;
    k.n_types = 5;
    assert_refused(&k, "token_type has 5 entries; expected 4");
    k = good;
    k.token_type = BOOL;
    assert_refused(&k, "tokenizer.ggml.token_type");
    k = good;
    k.n_tokens = k.n_types = 0;
    assert_refused(&k, "vocabulary of 0 tokens");
    k = good;
    k.n_merges = 2;
    assert_refused(&k, "merges 0 and 1 are both \"a b\"");
    k = good;
    k.add_bos = true;
    k.bos = 4;
    assert_refused(&k, "tokenizer.ggml.bos_token_id is 4; expected an id below 4");
    k.bos = UINT32_MAX;
    assert_refused(&k, "add_bos_token is true, but no token of the vocabulary is the bos token");
    k = good;
    k.bos_type = U64;
    k.bos = UINT64_MAX;
    assert_refused(&k, "tokenizer.ggml.bos_token_id");
    k.bos_type = BOOL;
    k.bos = 1;
    assert_refused(&k, "tokenizer.ggml.bos_token_id");
}

TEST_MAIN(SCRATCH_TEST(test_keys_make_a_tokenizer), SCRATCH_TEST(test_keys_optional_ones_may_be_missing),
          SCRATCH_TEST(test_keys_ids_out_of_range), SCRATCH_TEST(test_keys_missing_are_named),
          SCRATCH_TEST(test_keys_at_odds_are_refused))
