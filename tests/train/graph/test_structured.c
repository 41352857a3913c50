// Structured output of a tiny model: what 1,000 random schemas let it write is valid, whatever the prompt; a text that
// fits anyway stays as it is; answers under a constraint end, are cut off, or meet a dead end.
#include "generate.h"
#include "schema_check.h"
#include "scratch.h"
#include "tiny_model.h"
#include "unicode.h"

typedef struct Fixture {
    Backend *backend;
    Model *model;
    TokenTrie *tokens;
    int32_t *stop;
    size_t n_stop;
} Fixture;

static Fixture open_tiny(void) {
    Fixture f = {0};
    Err err;
    TinyModel tiny = TINY_MODEL;
    tiny.context = 1024;
    tiny.layers = 1;
    tiny_model_write("base.gguf", &tiny);
    ASSERT_OK(backend_open(&f.backend, "cpu", 1, &err), &err);
    ASSERT_OK(model_load(&f.model, "base.gguf", f.backend, NULL, &err), &err);
    f.tokens = token_trie_new(f.model->tokenizer);
    f.stop = generate_stop_ids(f.model, TINY_IM_END, &f.n_stop);
    return f;
}

static void close_tiny(Fixture *f) {
    mem_free(f->stop);
    token_trie_free(f->tokens);
    model_free(f->model);
    backend_close(f->backend);
}

static Constraint *constraint_of(const Fixture *f, ConstraintKind kind, const char *text) {
    Constraint *c;
    Err err;
    if (constraint_new(&c, f->tokens, kind, (JsonStr){text, strlen(text)}, &err)) fail_msg("%s: %s", text, err.msg);
    return c;
}

static uint32_t next_random(uint64_t *seed) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

// ---- random schemas, all of whose texts are short ----

static void put_schema(StrBuf *s, uint64_t *seed, int depth);

static void put_scalar(StrBuf *s, uint64_t *seed) {
    static const char *const fixed[] = {"{\"type\":\"boolean\"}",
                                        "{\"type\":\"null\"}",
                                        "{\"enum\":[\"red\",\"gr\\\"n\",7,null,[1,{\"a\":2}]]}",
                                        "{\"const\":\"\\u00e9\\n\"}",
                                        "{\"type\":\"integer\"}",
                                        "{\"type\":\"number\"}",
                                        "{\"type\":\"string\",\"pattern\":\"^[a-f]{2,4}(-[0-9]+)?$\",\"maxLength\":8}",
                                        "{\"type\":\"string\",\"pattern\":\"^(?:yes|no|[\\\"\\\\\\\\x]{3})$\"}",
                                        "{\"$ref\":\"#/$defs/d\"}"};
    enum { FIXED = sizeof fixed / sizeof *fixed };
    int low = (int)(next_random(seed) % 200) - 100, more = (int)(next_random(seed) % 1500);
    switch (next_random(seed) % 4) {
    case 0: str_puts(s, fixed[next_random(seed) % FIXED]); break;
    case 1: str_printf(s, "{\"type\":\"integer\",\"minimum\":%d,\"exclusiveMaximum\":%d}", low, low + more + 1); break;
    case 2:
        str_printf(s, "{\"type\":\"number\",\"exclusiveMinimum\":%d.25,\"maximum\":%d}", low, low + more + 2);
        break;
    default:
        low = (int)(next_random(seed) % 4);
        str_printf(s, "{\"type\":\"string\",\"minLength\":%d,\"maxLength\":%d}", low,
                   low + (int)(next_random(seed) % 5));
    }
}

static void put_object(StrBuf *s, uint64_t *seed, int depth) {
    static const char *const names[] = {"\"id\"", "\"name\"", "\"na\"", "\"x y\"", "\"q\\\"\"", "\"\\u00e4\""};
    enum { NAMES = sizeof names / sizeof *names };
    AUTO_STR StrBuf required = {0};
    uint32_t from = next_random(seed) % NAMES, count = 1 + next_random(seed) % 3;
    str_puts(s, "{\"type\":\"object\",\"properties\":{");
    for (uint32_t i = 0; i < count; i++) {
        const char *name = names[(from + i) % NAMES];
        str_printf(s, "%s%s:", i ? "," : "", name);
        put_schema(s, seed, depth - 1);
        if (next_random(seed) % 3) str_printf(&required, "%s%s", required.len ? "," : "", name);
    }
    str_printf(s, "},\"required\":[%s],\"additionalProperties\":false}", required.data ? required.data : "");
}

static void put_schema(StrBuf *s, uint64_t *seed, int depth) {
    uint32_t kind = depth ? next_random(seed) % 6 : 5;
    if (kind < 2) {
        put_object(s, seed, depth);
    } else if (kind == 2) {
        uint32_t min = next_random(seed) % 3;
        str_puts(s, "{\"type\":\"array\",\"items\":");
        put_schema(s, seed, depth - 1);
        str_printf(s, ",\"minItems\":%u,\"maxItems\":%u}", min, min + next_random(seed) % 3);
    } else if (kind == 3) {
        str_puts(s, "{\"anyOf\":[");
        put_schema(s, seed, depth - 1);
        str_puts(s, ",");
        put_schema(s, seed, depth - 1);
        str_puts(s, "]}");
    } else {
        put_scalar(s, seed);
    }
}

static char *random_schema(uint64_t *seed) {
    StrBuf s = {0};
    str_puts(&s, "{\"$defs\":{\"d\":{\"type\":\"integer\",\"minimum\":-3,\"maximum\":12}},\"anyOf\":[");
    put_schema(&s, seed, 3);
    str_puts(&s, "]}");
    return s.data;
}

static void check_answer(const Fixture *f, const char *schema, const Generation *g) {
    AUTO_STR StrBuf text = {0};
    AUTO_JSON JsonDoc *doc = NULL, *value = NULL;
    Err err = {0};
    str_puts(&text, "");
    tokenizer_decode(f->model->tokenizer, g->ids, (size_t)g->count, false, &text);
    if (!g->stopped || !g->complete) fail_msg("no end under %s: %s", schema, text.data);
    ASSERT_OK(json_parse(&doc, schema, strlen(schema), "schema", 0, &err), &err);
    if (json_parse(&value, text.data, text.len, "answer", 0, &err))
        fail_msg("%s under %s: %s", text.data, schema, err.msg);
    if (!schema_check(json_root(doc), json_root(doc), json_root(value))) fail_msg("under %s: %s", schema, text.data);
}

static void test_structured_answers_are_valid(void **state) {
    (void)state;
    enum { SCHEMAS = SANITIZED ? 100 : 1000 };
    Fixture f = open_tiny();
    uint64_t seed = 1;
    int objects = 0;
    for (int i = 0; i < SCHEMAS; i++) {
        AUTO_FREE char *schema = random_schema(&seed);
        AUTO(constraint_free) Constraint *c = constraint_of(&f, CONSTRAINT_SCHEMA, schema);
        int32_t prompt[8];
        for (int k = 0; k < 8; k++) prompt[k] = (int32_t)(next_random(&seed) % 258);
        GeneratePrompt p = {prompt, 1 + next_random(&seed) % 8};
        GenerateOptions o = {.max_new_tokens = 1000,
                             .temperature = i % 2 ? 1 : 0,
                             .top_p = i % 4 == 1 ? 0.9f : 1,
                             .seed = seed,
                             .batch = 1,
                             .stop = f.stop,
                             .n_stop = f.n_stop,
                             .constraint = c};
        Generation g = {0};
        Err err;
        ASSERT_OK(generate(f.model, NULL, &p, 1, &o, &g, &err), &err);
        check_answer(&f, schema, &g);
        objects += g.count > 20;
        generation_clear(&g);
    }
    assert_true(objects > SCHEMAS / 5);
    close_tiny(&f);
}

// ---- other answers ----

enum { PROMPTS = 200, TOKENS = 12 };

static void answer(const Fixture *f, const GenerateOptions *o, int first, int n, Generation *g) {
    static int32_t ids[PROMPTS];
    GeneratePrompt prompts[PROMPTS];
    Err err;
    for (int i = 0; i < n; i++) {
        ids[i] = first + i;
        prompts[i] = (GeneratePrompt){&ids[i], 1};
    }
    ASSERT_OK(generate(f->model, NULL, prompts, n, o, g, &err), &err);
}

static bool is_text(const Fixture *f, const Generation *g) {
    AUTO_STR StrBuf text = {0};
    for (int64_t i = 0; i < g->count; i++)
        if (tokenizer_is_control(f->model->tokenizer, g->ids[i])) return false;
    str_puts(&text, "");
    tokenizer_decode(f->model->tokenizer, g->ids, (size_t)g->count, false, &text);
    return utf8_valid_prefix(text.data, text.len) == text.len;
}

// Under a constraint that any text fits, greedy and sampled answers are those without it, one or several at once.
static void test_structured_text_that_fits_stays_as_it_is(void **state) {
    (void)state;
    Fixture f = open_tiny();
    Constraint *c = constraint_of(&f, CONSTRAINT_REGEX, "[\\s\\S]*");
    int texts = 0;
    for (int sampled = 0; sampled < 2; sampled++) {
        Generation free_ones[PROMPTS] = {{0}}, held[PROMPTS] = {{0}};
        GenerateOptions o = {.max_new_tokens = TOKENS,
                             .temperature = sampled ? 0.5f : 0,
                             .top_p = 1,
                             .seed = 3,
                             .batch = 7,
                             .stop = f.stop,
                             .n_stop = f.n_stop};
        answer(&f, &o, 0, PROMPTS, free_ones);
        o.constraint = c;
        o.batch = 3;
        answer(&f, &o, 0, PROMPTS, held);
        for (int i = 0; i < PROMPTS; i++) {
            if (!sampled && is_text(&f, &free_ones[i])) {
                texts++;
                assert_int_equal(held[i].count, free_ones[i].count);
                assert_memory_equal(held[i].ids, free_ones[i].ids, (size_t)held[i].count * sizeof *held[i].ids);
            }
            AUTO_STR StrBuf text = {0};
            tokenizer_decode(f.model->tokenizer, held[i].ids, (size_t)held[i].count, false, &text);
            if (held[i].complete) assert_int_equal(utf8_valid_prefix(text.data, text.len), text.len);
            generation_clear(&free_ones[i]);
            generation_clear(&held[i]);
        }
    }
    assert_true(texts >= 5);
    constraint_free(c);
    close_tiny(&f);
}

static void test_structured_ends(void **state) {
    (void)state;
    Fixture f = open_tiny();
    Generation g = {0};
    Err err;
    Constraint *object = constraint_of(&f, CONSTRAINT_SCHEMA, "{\"type\": \"object\", \"required\": [\"name\"]}");
    GenerateOptions o = {
        .max_new_tokens = 3, .top_p = 1, .batch = 1, .stop = f.stop, .n_stop = f.n_stop, .constraint = object};
    answer(&f, &o, 5, 1, &g);
    assert_true(g.count == 3 && !g.stopped && !g.complete);
    // Without a token that ends answers the text ends where nothing may follow.
    Constraint *word = constraint_of(&f, CONSTRAINT_REGEX, "he|in");
    o.n_stop = 0;
    o.constraint = word;
    answer(&f, &o, 5, 1, &g);
    assert_true(g.stopped && g.complete && g.count <= 2);
    // A stop token has no text.
    Constraint *letter = constraint_of(&f, CONSTRAINT_REGEX, "a+");
    int32_t a = tokenizer_find(f.model->tokenizer, "a");
    GeneratePrompt prompt = {&a, 1};
    o.stop = &a;
    o.n_stop = 1;
    o.constraint = letter;
    ASSERT_REFUSED(generate(f.model, NULL, &prompt, 1, &o, &g, &err), &err, "no token of the vocabulary continues");
    // One that fits in too many ways.
    Constraint *many = constraint_of(&f, CONSTRAINT_GRAMMAR, "root ::= [a-z] root \"a\" | [a-y] root \"b\" | \"0\"");
    o.stop = NULL;
    o.n_stop = 0;
    o.max_new_tokens = 100;
    o.constraint = many;
    ASSERT_REFUSED(generate(f.model, NULL, &prompt, 1, &o, &g, &err), &err, "too ambiguous");
    generation_clear(&g);
    constraint_free(object);
    constraint_free(word);
    constraint_free(letter);
    constraint_free(many);
    close_tiny(&f);
}

TEST_MAIN(SCRATCH_TEST(test_structured_answers_are_valid), SCRATCH_TEST(test_structured_text_that_fits_stays_as_it_is),
          SCRATCH_TEST(test_structured_ends))
