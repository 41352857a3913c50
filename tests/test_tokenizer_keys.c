// tokenizer: the keys of a GGUF file it is made of; each one missing, of another type, or at odds with the others.
#include <unistd.h>

#include "tokenizer_fixture.h"

// ---- a GGUF file of keys only, written by hand ----

enum { U32 = 4, I32 = 5, BOOL = 7, STRING = 8, ARRAY = 9, U64 = 10 };

static void put_u32(StrBuf *b, uint32_t n) {
    str_add(b, (const char *)&n, 4);
}

static void put_string(StrBuf *b, const char *s) {
    uint64_t len = strlen(s);
    str_add(b, (const char *)&len, 8);
    str_add(b, s, len);
}

static void put_array(StrBuf *b, uint32_t type, uint64_t count) {
    put_u32(b, ARRAY);
    put_u32(b, type);
    str_add(b, (const char *)&count, 8);
}

typedef struct Keys {
    const char *model, *pre, *chat_template;
    uint32_t n_tokens, n_types, n_merges;
    uint32_t token_type, bos_type; // GGUF types of the elements and of the id
    uint64_t bos;
    const char *leave_out; // a key that is not written
} Keys;

static const Keys good = {.model = "gpt2",
                          .pre = "smollm",
                          .chat_template = "{{ messages }}",
                          .n_tokens = 4,
                          .n_types = 4,
                          .n_merges = 1,
                          .token_type = I32,
                          .bos_type = U32,
                          .bos = 3};

static bool put_key(StrBuf *b, const Keys *k, const char *name, uint64_t *count) {
    if (k->leave_out && strcmp(k->leave_out, name) == 0) return false;
    put_string(b, name);
    (*count)++;
    return true;
}

static void put_string_key(StrBuf *b, const Keys *k, const char *name, const char *value, uint64_t *count) {
    if (!put_key(b, k, name, count)) return;
    put_u32(b, STRING);
    put_string(b, value);
}

static void put_lists(StrBuf *b, const Keys *k, uint64_t *count) {
    const char *tokens[] = {"a", "b", "ab", "<|end|>"};
    if (put_key(b, k, "tokenizer.ggml.tokens", count)) {
        put_array(b, STRING, k->n_tokens);
        for (uint32_t i = 0; i < k->n_tokens; i++) put_string(b, tokens[i]);
    }
    if (put_key(b, k, "tokenizer.ggml.token_type", count)) {
        put_array(b, k->token_type, k->n_types);
        for (uint32_t i = 0; i < k->n_types; i++) {
            uint32_t type = i == 3 ? 3 : 1;
            str_add(b, (const char *)&type, k->token_type == BOOL ? 1 : 4);
        }
    }
    if (put_key(b, k, "tokenizer.ggml.merges", count)) {
        put_array(b, STRING, k->n_merges);
        for (uint32_t i = 0; i < k->n_merges; i++) put_string(b, "a b");
    }
}

static int load(Tokenizer **t, const Keys *k, Err *err) {
    StrBuf body = {0}, file = {0};
    uint64_t count = 0, n_tensors = 0;
    put_string_key(&body, k, "tokenizer.ggml.model", k->model, &count);
    put_string_key(&body, k, "tokenizer.ggml.pre", k->pre, &count);
    put_string_key(&body, k, "tokenizer.chat_template", k->chat_template, &count);
    put_lists(&body, k, &count);
    if (put_key(&body, k, "tokenizer.ggml.bos_token_id", &count)) {
        put_u32(&body, k->bos_type);
        str_add(&body, (const char *)&k->bos, k->bos_type == U64 ? 8 : k->bos_type == BOOL ? 1 : 4);
    }
    put_u32(&file, 0x46554747); // "GGUF"
    put_u32(&file, 3);
    str_add(&file, (const char *)&n_tensors, 8);
    str_add(&file, (const char *)&count, 8);
    str_add(&file, body.data, body.len);
    char path[] = "/tmp/lorac-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, file.data, file.len) == (ssize_t)file.len);
    close(fd);
    Gguf *g = NULL;
    ASSERT_OK(gguf_open(&g, path, err), err);
    int rc = tokenizer_from_gguf(t, g, err);
    if (rc != 0 && strncmp(err->msg, path, strlen(path)) != 0)
        fail_msg("\"%s\" does not begin with the path", err->msg);
    gguf_close(g); // the tokenizer keeps nothing of the file
    unlink(path);
    str_clear(&body);
    str_clear(&file);
    return rc;
}

static void assert_refused(const Keys *k, const char *part) {
    Tokenizer *t = NULL;
    Err err = {0};
    ASSERT_REFUSED(load(&t, k, &err), &err, part);
    assert_int_equal(err.status, EXIT_INPUT);
}

static void test_keys_make_a_tokenizer(void **state) {
    (void)state;
    Tokenizer *t = NULL;
    Err err;
    ASSERT_OK(load(&t, &good, &err), &err);
    assert_string_equal(tokenizer_kind(t), "gpt2/smollm");
    assert_string_equal(tokenizer_chat_template(t), "{{ messages }}");
    assert_int_equal(tokenizer_bos(t), 3);
    assert_int_equal(tokenizer_eos(t), -1);
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
        assert_int_equal(tokenizer_bos(t), i == 0 ? -1 : 3);
        assert_int_equal(tokenizer_chat_template(t) == NULL, i == 1);
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
    k.model = "llama";
    assert_refused(&k, "tokenizer.ggml.model: \"llama\" is not supported; expected gpt2");
    k = good;
    k.pre = "default";
    assert_refused(&k, "pre-tokenizer \"default\" is not known");
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
    k.bos = 4;
    assert_refused(&k, "bos token id 4; expected an id below 4");
    k.bos_type = U64;
    k.bos = UINT64_MAX;
    assert_refused(&k, "tokenizer.ggml.bos_token_id");
    k.bos_type = BOOL;
    k.bos = 1;
    assert_refused(&k, "tokenizer.ggml.bos_token_id");
}

TEST_MAIN(TEST(test_keys_make_a_tokenizer), TEST(test_keys_optional_ones_may_be_missing),
          TEST(test_keys_missing_are_named), TEST(test_keys_at_odds_are_refused))
