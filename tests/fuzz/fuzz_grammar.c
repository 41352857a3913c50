// Bytes as a JSON schema, a regular expression and a GBNF grammar; behind a record separator (0x1E) a text that is read
// under it. What compiles also gives masks along the text.
#include "constraint.h"
#include "fuzz.h"
#include "tiny_model.h"
#include "tokenizer_files.h"

static Tokenizer *tokenizer; // of all inputs
static TokenTrie *tokens;

static void close_tokens(void) {
    token_trie_free(tokens);
    tokenizer_free(tokenizer);
}

static void open_tokens(void) {
    Err err;
    Gguf *g;
    TinyModel tiny = TINY_MODEL;
    char *path = fuzz_put("model.gguf", "", 0);
    tiny.vocab_only = true;
    tiny_model_write(path, &tiny);
    CHECK(gguf_open(&g, path, &err) == 0 && tokenizer_from_gguf(&tokenizer, g, &err) == 0, "%s", err.msg);
    gguf_close(g);
    mem_free(path);
    tokens = token_trie_new(tokenizer);
    atexit(close_tokens);
}

// Along the text as far as it is allowed.
static void read_text(Constraint *c, const char *text, size_t len) {
    ConstraintText t = {0};
    bool whole = constraint_accepts(c, (JsonStr){text, len});
    size_t i = 0;
    constraint_begin(c, &t);
    for (; i < len && i < 64; i++) {
        int32_t id = (uint8_t)text[i]; // a token for each byte
        size_t n;
        const char *piece = tokenizer_piece(tokenizer, id, &n);
        CHECK(n == 1 && piece[0] == text[i]);
        const uint64_t *mask = constraint_mask(c, &t);
        bool bit = mask[id / 64] >> (id % 64) & 1;
        CHECK(bit == constraint_allows(c, &t, id));
        if (!bit) break;
        constraint_add(c, &t, id);
    }
    if (i == len) CHECK(constraint_complete(c, &t) == whole);
    constraint_end(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *cut = size ? memchr(data, 0x1E, size) : NULL;
    size_t len = cut ? (size_t)(cut - data) : size;
    if (!tokens) open_tokens();
    for (int kind = CONSTRAINT_SCHEMA; kind <= CONSTRAINT_GRAMMAR; kind++) {
        Constraint *c;
        Err err;
        if (constraint_new(&c, tokens, (ConstraintKind)kind, (JsonStr){(const char *)data, len}, &err)) continue;
        read_text(c, cut ? (const char *)cut + 1 : "{\"a\": [1, \"b\"]}", cut ? size - len - 1 : 16);
        constraint_free(c);
    }
    return 0;
}
