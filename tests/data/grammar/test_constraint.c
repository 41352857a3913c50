// constraint: masks of a vocabulary equal what its tokens' bytes may do, one by one; texts put together of allowed
// tokens fit; the first token of a text; a matcher that forgets.
#include <time.h>

#include "grammar_case.h"
#include "hf_kind.h"
#include "scratch.h"

#define PERSON                                                                                                         \
    "{\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\", \"minLength\": 2, \"maxLength\": 6}, "   \
    "\"note\": {\"type\": \"string\"}, \"code\": {\"type\": \"string\", \"pattern\": \"^[a-f\\\"]{2,4}$\"}, "          \
    "\"n\": {\"type\": \"array\", \"items\": {\"type\": \"integer\", \"minimum\": -12, \"maximum\": 1200}, "           \
    "\"maxItems\": 4}}, \"required\": [\"name\"]}"

static const struct {
    ConstraintKind kind;
    const char *text;
} constraints[] = {
    {CONSTRAINT_SCHEMA, PERSON},
    {CONSTRAINT_SCHEMA, "{\"type\": \"string\", \"maxLength\": 9}"},
    {CONSTRAINT_SCHEMA, "true"},
    {CONSTRAINT_REGEX, "([A-Z][a-zé]{1,9}( [0-9]+)?\\n?){1,5}"},
    {CONSTRAINT_REGEX, "[^\\n]{1,30}\\n(yes|no)"}, // runs that end, and runs that change
    {CONSTRAINT_REGEX, "([a-f0-9]{2,3}-){1,3}[^a-z]{3,9}"},
    {CONSTRAINT_REGEX, "(a[a-z]|b )*[A-Za-z]*"},
    {CONSTRAINT_GRAMMAR, "root ::= (\"the\" | word) (\" \" word){0,5} [.!?]\nword ::= [a-z\\u0400-\\u04FF]+ | \"😀\""},
};
enum { CONSTRAINTS = sizeof constraints / sizeof *constraints };

static Constraint *open_constraint(const TokenTrie *tokens, int i) {
    Constraint *c = NULL;
    Err err = {0};
    JsonStr text = {constraints[i].text, strlen(constraints[i].text)};
    ASSERT_OK(constraint_new(&c, tokens, constraints[i].kind, text, &err), &err);
    return c;
}

static uint32_t next_random(uint64_t *seed) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

// Compares the mask with every token; returns an allowed one at random, -1: there is none.
static int32_t check_mask(Constraint *c, const ConstraintText *t, int32_t vocab, uint64_t *seed) {
    int32_t chosen = -1;
    uint32_t count = 0;
    size_t bytes = constraint_words(c) * sizeof(uint64_t);
    AUTO_FREE uint64_t *mask = mem_alloc(constraint_words(c), sizeof *mask);
    memcpy(mask, constraint_mask(c, t), bytes);
    for (int32_t id = 0; id < vocab; id++) {
        bool bit = mask[id / 64] >> (id % 64) & 1;
        if (bit != constraint_allows(c, t, id)) fail_msg("token %d: the mask has %d", id, bit);
        if (bit && next_random(seed) % ++count == 0) chosen = id;
    }
    assert_memory_equal(mask, constraint_mask(c, t), bytes);
    assert_false(constraint_gave_up(c));
    return chosen;
}

// A text of at most 40 random tokens; true: it is complete.
static bool walk(const Tokenizer *t, Constraint *c, int32_t vocab, uint64_t *seed) {
    ConstraintText text = {0};
    TokenIds ids = {0};
    AUTO_STR StrBuf decoded = {0};
    constraint_begin(c, &text);
    for (int i = 0; i < 40; i++) {
        int32_t id = check_mask(c, &text, vocab, seed);
        if (id < 0) break;
        constraint_add(c, &text, id);
        MEM_GROW(ids.ids, ids.capacity, ids.count + 1);
        ids.ids[ids.count++] = id;
    }
    bool complete = constraint_complete(c, &text);
    str_puts(&decoded, "");
    tokenizer_decode(t, ids.ids, ids.count, false, &decoded);
    if (constraint_accepts(c, (JsonStr){decoded.data, decoded.len}) != complete)
        fail_msg("a text of allowed tokens is judged otherwise as a whole: %s", decoded.data);
    constraint_end(&text);
    mem_free(ids.ids);
    return complete;
}

static void check_tokenizer(Tokenizer *t) {
    TokenTrie *tokens = token_trie_new(t);
    uint64_t seed = 1;
    int complete = 0;
    for (int i = 0; i < CONSTRAINTS; i++) {
        Constraint *c = open_constraint(tokens, i);
        for (int k = 0; k < 12; k++) complete += walk(t, c, t->vocab_size, &seed);
        constraint_free(c);
    }
    assert_true(complete >= 12);
    token_trie_free(tokens);
    tokenizer_free(t);
}

static void test_constraint_masks_equal_the_bytes_of_each_token(void **state) {
    (void)state;
    check_tokenizer(golden_tokenizer("smollm"));
    check_tokenizer(kind_tokenizer("llama2"));
    check_tokenizer(kind_tokenizer("gemma"));
}

// "▁a" begins a text without its space.
static void test_constraint_first_token(void **state) {
    (void)state;
    Tokenizer *t = kind_tokenizer("llama2");
    TokenTrie *tokens = token_trie_new(t);
    int32_t spaced = -1, plain = tokenizer_find(t, "a");
    for (int32_t id = 0; id < t->vocab_size && spaced < 0; id++) {
        size_t n;
        const char *piece = tokenizer_piece(t, id, &n);
        if (n == 2 && memcmp(piece, " a", 2) == 0) spaced = id;
    }
    assert_true(spaced >= 0 && plain >= 0);
    Constraint *c;
    Err err = {0};
    ASSERT_OK(constraint_new(&c, tokens, CONSTRAINT_REGEX, (JsonStr){"a a", 3}, &err), &err);
    ConstraintText text = {0};
    constraint_begin(c, &text);
    assert_true(constraint_allows(c, &text, spaced) && constraint_allows(c, &text, plain));
    assert_false(constraint_allows(c, &text, t->bos));
    constraint_add(c, &text, spaced);
    assert_true(constraint_allows(c, &text, spaced));
    assert_false(constraint_allows(c, &text, plain) || constraint_complete(c, &text));
    constraint_add(c, &text, spaced);
    assert_true(constraint_complete(c, &text));
    assert_false(constraint_allows(c, &text, spaced));
    constraint_end(&text);
    constraint_free(c);
    token_trie_free(tokens);
    tokenizer_free(t);
}

// Of a grammar with 2^n ways through n bytes a mask says that it is not known, soon.
static void test_constraint_gives_up(void **state) {
    (void)state;
    Tokenizer *t = golden_tokenizer("smollm");
    TokenTrie *tokens = token_trie_new(t);
    Constraint *c;
    Err err = {0};
    static const char grammar[] = "root ::= [a-z ] root \"a\" | [a-y ] root \"b\" | \"0\"";
    ASSERT_OK(constraint_new(&c, tokens, CONSTRAINT_GRAMMAR, (JsonStr){grammar, strlen(grammar)}, &err), &err);
    ConstraintText text = {0};
    constraint_begin(c, &text);
    clock_t begin = clock();
    constraint_mask(c, &text);
    assert_true(constraint_gave_up(c));
    assert_true((clock() - begin) / CLOCKS_PER_SEC < 20);
    constraint_end(&text);
    constraint_free(c);
    token_trie_free(tokens);
    tokenizer_free(t);
}

// Two texts at once, longer than what the matcher remembers.
static void test_constraint_forgets(void **state) {
    (void)state;
    Tokenizer *t = golden_tokenizer("smollm");
    TokenTrie *tokens = token_trie_new(t);
    Constraint *c;
    Err err = {0};
    static const char schema[] =
        "{\"type\": \"array\", \"items\": {\"type\": \"string\", \"maxLength\": 300}, \"maxItems\": 70}";
    ASSERT_OK(constraint_new(&c, tokens, CONSTRAINT_SCHEMA, (JsonStr){schema, strlen(schema)}, &err), &err);
    ConstraintText texts[2] = {0};
    int32_t letter[2] = {tokenizer_find(t, "a"), tokenizer_find(t, "b")}, quote = tokenizer_find(t, "\""),
            comma = tokenizer_find(t, ","), begin = tokenizer_find(t, "["), end = tokenizer_find(t, "]");
    for (int k = 0; k < 2; k++) constraint_begin(c, &texts[k]), constraint_add(c, &texts[k], begin);
    for (int i = 0; i < 70; i++)
        for (int k = 0; k < 2; k++) {
            if (i) constraint_add(c, &texts[k], comma);
            constraint_add(c, &texts[k], quote);
            for (int n = 0; n < 300; n++) {
                constraint_mask(c, &texts[k]);
                constraint_add(c, &texts[k], letter[k]);
            }
            assert_false(constraint_allows(c, &texts[k], letter[k]));
            constraint_add(c, &texts[k], quote);
        }
    for (int k = 0; k < 2; k++) {
        assert_false(constraint_allows(c, &texts[k], comma));
        constraint_add(c, &texts[k], end);
        assert_true(constraint_complete(c, &texts[k]));
        constraint_end(&texts[k]);
    }
    constraint_free(c);
    token_trie_free(tokens);
    tokenizer_free(t);
}

TEST_MAIN(TEST(test_constraint_gives_up), SCRATCH_TEST(test_constraint_masks_equal_the_bytes_of_each_token),
          SCRATCH_TEST(test_constraint_first_token), TEST(test_constraint_forgets))
