// tokenizer: GGUF files with a SentencePiece vocabulary ("llama"): its keys and their defaults, the space in front of
// texts, Phi-3's control tokens, end tokens, and files that are not what they claim.
#include "gguf_builder.h"
#include "tokenizer_files.h"
#include "tokenizer_fixture.h"

#define SPACE "\xE2\x96\x81"

typedef struct Keys {
    const char *architecture;
    int prefix, extra;          // flags; -1: not written
    int bos, eos, eot, unknown; // ids; -1: not written
    uint32_t scores_type, n_scores;
    float score; // of token 5
} Keys;

static const Keys good = {.architecture = "llama",
                          .prefix = -1,
                          .extra = -1,
                          .bos = -1,
                          .eos = -1,
                          .eot = -1,
                          .unknown = -1,
                          .scores_type = F32,
                          .n_scores = 11,
                          .score = -1};

static const struct {
    uint32_t type;
    const char *text;
} TOKENS[] = {{2, "<unk>"},  {3, "<s>"},           {3, "</s>"},      {1, "a"},
              {1, SPACE},    {1, SPACE "a"},       {4, "<think>"},   {3, "<|end|>"},
              {6, "<0x0A>"}, {3, "<|endoftext|>"}, {1, "<|im_end|>"}};
enum { N_TOKENS = sizeof TOKENS / sizeof *TOKENS };

static void add_flag(Builder *b, const char *name, int value) {
    uint8_t byte = value > 0;
    if (value < 0) return;
    add_key(b, name, BOOL);
    add(b, &byte, 1);
}

static void add_lists(Builder *b, const Keys *k) {
    add_key_array(b, "tokenizer.ggml.tokens", STRING, N_TOKENS);
    for (int i = 0; i < N_TOKENS; i++) add_str(b, TOKENS[i].text);
    add_key_array(b, "tokenizer.ggml.token_type", I32, N_TOKENS);
    for (int i = 0; i < N_TOKENS; i++) add_u32(b, TOKENS[i].type);
    add_key_array(b, "tokenizer.ggml.scores", k->scores_type, k->n_scores);
    for (uint32_t i = 0; i < k->n_scores; i++) {
        float score = i == 5 ? k->score : -(float)i;
        add(b, &score, 4);
    }
}

static int load(Tokenizer **t, const Keys *k, Err *err) {
    const struct {
        const char *name;
        int value;
    } ids[] = {{"tokenizer.ggml.bos_token_id", k->bos},
               {"tokenizer.ggml.eos_token_id", k->eos},
               {"tokenizer.ggml.eot_token_id", k->eot},
               {"tokenizer.ggml.unknown_token_id", k->unknown}};
    uint64_t n = 5 + (k->prefix >= 0) + (k->extra >= 0);
    for (int i = 0; i < 4; i++) n += ids[i].value >= 0;
    Builder b = begin(0, n);
    add_key(&b, "general.architecture", STRING);
    add_str(&b, k->architecture);
    add_key(&b, "tokenizer.ggml.model", STRING);
    add_str(&b, "llama");
    add_lists(&b, k);
    add_flag(&b, "tokenizer.ggml.add_space_prefix", k->prefix);
    add_flag(&b, "tokenizer.ggml.remove_extra_whitespaces", k->extra);
    for (int i = 0; i < 4; i++)
        if (ids[i].value >= 0) add_key_u32(&b, ids[i].name, (uint32_t)ids[i].value);
    Gguf *g = NULL;
    ASSERT_OK(open_built(&g, &b, err), err);
    int rc = tokenizer_from_gguf(t, g, err);
    gguf_close(g);
    return rc;
}

static Tokenizer *loaded(const Keys *k) {
    Tokenizer *t = NULL;
    Err err;
    ASSERT_OK(load(&t, k, &err), &err);
    return t;
}

static void assert_refused(const Keys *k, const char *part) {
    Tokenizer *t = NULL;
    Err err = {0};
    ASSERT_REFUSED(load(&t, k, &err), &err, part);
    assert_int_equal(err.kind, ERR_INPUT);
}

// "id@start id@start ..."
static void assert_ids(const Tokenizer *t, const char *text, const char *want) {
    TokenIds ids = {0};
    StrBuf got = {0};
    tokenizer_encode(t, text, strlen(text), NULL, true, &ids);
    for (size_t i = 0; i < ids.count; i++) str_printf(&got, "%s%d@%u", i ? " " : "", ids.ids[i], ids.start[i]);
    assert_string_equal(got.data ? got.data : "", want);
    str_clear(&got);
    token_ids_clear(&ids);
}

static void assert_text(const Tokenizer *t, const int32_t *ids, size_t n, bool control, const char *want) {
    StrBuf got = {0};
    str_add(&got, "", 0);
    tokenizer_decode(t, ids, n, control, &got);
    assert_string_equal(got.data, want);
    str_clear(&got);
}

static void test_spm_keys_have_llama_cpps_defaults(void **state) {
    (void)state;
    Tokenizer *t = loaded(&good);
    assert_string_equal(t->kind, "llama");
    assert_int_equal(t->bos, 1);
    assert_int_equal(t->eos, 2);
    assert_true(t->add_bos);
    assert_false(t->add_eos);
    assert_ids(t, "a a", "5@0 5@1");
    assert_ids(t, "x\n", "4@0 0@0 8@1"); // a space, an unknown character, a byte
    tokenizer_free(t);
}

static void test_spm_ends_are_those_of_the_file_and_those_known_by_name(void **state) {
    (void)state;
    Keys k = good;
    k.eot = 6;
    Tokenizer *t = loaded(&k);
    const bool ends[N_TOKENS] = {[2] = true, [6] = true, [7] = true, [9] = true}; // <|im_end|> is no control token
    for (int32_t id = 0; id < N_TOKENS; id++) assert_int_equal(tokenizer_is_end(t, id), ends[id]);
    tokenizer_free(t);
}

static void test_spm_space_stands_in_front_of_each_text_between_added_tokens(void **state) {
    (void)state;
    Tokenizer *t = loaded(&good);
    assert_ids(t, "<s>a<think>a", "1@0 5@3 6@4 5@11");
    assert_ids(t, "<s><s>", "1@0 1@3");
    TokenIds ids = {0};
    tokenizer_encode_rest(t, "a<s>a", 5, NULL, true, &ids); // continues another text
    assert_int_equal(ids.count, 3);
    assert_int_equal(ids.ids[0], 3);
    assert_int_equal(ids.ids[2], 5);
    token_ids_clear(&ids);
    tokenizer_free(t);
    Keys k = good;
    k.prefix = 0;
    t = loaded(&k);
    assert_ids(t, "<s>a<think>a a", "1@0 3@3 6@4 3@11 5@12");
    tokenizer_free(t);
}

static void test_spm_decoding_takes_one_space_from_the_beginning(void **state) {
    (void)state;
    Tokenizer *t = loaded(&good);
    assert_text(t, (int32_t[]){5, 5}, 2, false, "a a");
    assert_text(t, (int32_t[]){4, 5}, 2, false, " a");
    assert_text(t, (int32_t[]){1, 5, 8, 3}, 4, false, "a\na");
    assert_text(t, (int32_t[]){1, 5}, 2, true, "<s> a");
    tokenizer_free(t);
    Keys k = good;
    k.prefix = 0;
    t = loaded(&k);
    assert_text(t, (int32_t[]){5, 5}, 2, false, " a a");
    tokenizer_free(t);
}

static void test_spm_phi3_control_tokens_take_the_space_behind_them(void **state) {
    (void)state;
    Keys k = good;
    Tokenizer *t = loaded(&k);
    assert_ids(t, "<|end|>\n a", "7@0 4@7 8@7 5@8");
    tokenizer_free(t);
    k.architecture = "phi3";
    t = loaded(&k);
    assert_ids(t, "<|end|>\n a", "7@0 5@9");
    assert_ids(t, "<s> a", "1@0 4@3 5@3");
    tokenizer_free(t);
}

static void test_spm_keys_at_odds_are_refused(void **state) {
    (void)state;
    Keys k = good;
    k.extra = 1;
    assert_refused(&k, "tokenizer.ggml.remove_extra_whitespaces is true; expected false");
    k = good;
    k.scores_type = I32;
    assert_refused(&k, "tokenizer.ggml.scores");
    k = good;
    k.n_scores = 10;
    assert_refused(&k, "10 scores; expected 11, one per token");
    k = good;
    k.n_scores = 0;
    assert_refused(&k, "0 scores; expected 11");
    k = good;
    k.score = strtof("nan", NULL);
    assert_refused(&k, "the score of token 5 is not a finite number");
    k = good;
    k.unknown = 11;
    assert_refused(&k, "unknown token id 11; expected an id below 11");
    k = good;
    k.bos = 11; // in front of texts unless the file says no
    assert_refused(&k, "bos_token_id is 11; expected an id below 11");
}

TEST_MAIN(SCRATCH_TEST(test_spm_keys_have_llama_cpps_defaults),
          SCRATCH_TEST(test_spm_ends_are_those_of_the_file_and_those_known_by_name),
          SCRATCH_TEST(test_spm_space_stands_in_front_of_each_text_between_added_tokens),
          SCRATCH_TEST(test_spm_decoding_takes_one_space_from_the_beginning),
          SCRATCH_TEST(test_spm_phi3_control_tokens_take_the_space_behind_them),
          SCRATCH_TEST(test_spm_keys_at_odds_are_refused))
