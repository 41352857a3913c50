#include "token_trie.h"

#include <stdlib.h>
#include <string.h>

#include "unicode.h"

typedef struct TokenText {
    JsonStr text;
    int32_t id;
} TokenText;

static int by_text(const void *a, const void *b) {
    const TokenText *x = a, *y = b;
    size_t n = x->text.len < y->text.len ? x->text.len : y->text.len;
    int order = memcmp(x->text.data, y->text.data, n);
    if (order) return order;
    if (x->text.len != y->text.len) return x->text.len < y->text.len ? -1 : 1;
    return x->id - y->id;
}

static size_t shared_beginning(JsonStr a, JsonStr b) {
    size_t n = 0;
    while (n < a.len && n < b.len && a.data[n] == b.data[n]) n++;
    return n;
}

// From the last node to the first: those below a node come after it.
static void note_below(Trie *t) {
    uint32_t path[TRIE_MAX_DEPTH + 1] = {0};
    for (uint32_t n = 0; n < t->count; n++) t->nodes[n].deepest = t->nodes[n].depth;
    AUTO_FREE uint32_t *parents = mem_alloc(t->count + 1, sizeof *parents);
    for (uint32_t n = 1; n < t->count; n++) {
        parents[n] = path[t->nodes[n].depth - 1];
        path[t->nodes[n].depth] = n;
    }
    for (uint32_t n = (uint32_t)t->count; n-- > 1;) {
        TrieNode *at = &t->nodes[n], *above = &t->nodes[parents[n]];
        above->below |= at->below | byte_kind_bit(at->byte);
        if (at->deepest > above->deepest) above->deepest = at->deepest;
    }
}

// Of texts in their order, none of which is empty.
static Trie trie_of(const TokenText *texts, size_t n) {
    Trie t = {.tokens = mem_alloc(n + 1, sizeof *t.tokens)};
    uint32_t path[TRIE_MAX_DEPTH + 1] = {0}; // the nodes above
    size_t capacity = 0, depth = 0;
    MEM_GROW(t.nodes, capacity, 1);
    t.nodes[t.count++] = (TrieNode){0};
    for (size_t i = 0; i < n; i++) {
        JsonStr text = texts[i].text;
        size_t shared = i ? shared_beginning(texts[i - 1].text, text) : 0;
        for (; depth > shared; depth--) t.nodes[path[depth]].end = (uint32_t)t.count;
        while (depth < text.len) {
            MEM_GROW(t.nodes, capacity, t.count + 2);
            path[++depth] = (uint32_t)t.count;
            t.nodes[t.count++] =
                (TrieNode){.first = (uint32_t)i, .depth = (uint16_t)depth, .byte = (uint8_t)text.data[depth - 1]};
        }
        t.tokens[i] = texts[i].id;
    }
    for (; depth > 0; depth--) t.nodes[path[depth]].end = (uint32_t)t.count;
    t.nodes[0].end = (uint32_t)t.count;
    MEM_GROW(t.nodes, capacity, t.count + 1);
    t.nodes[t.count] = (TrieNode){.first = (uint32_t)n};
    note_below(&t);
    return t;
}

static void trie_clear(Trie *t) {
    mem_free(t->nodes);
    mem_free(t->tokens);
}

// ---- texts ----

JsonStr token_trie_text(const TokenTrie *t, int32_t id, bool begun, StrBuf *room) {
    size_t len;
    if (id < 0 || id >= t->tokenizer->vocab_size || tokenizer_is_control(t->tokenizer, id)) return (JsonStr){"", 0};
    if (begun) {
        const char *piece = tokenizer_piece(t->tokenizer, id, &len);
        return len > TRIE_MAX_DEPTH ? (JsonStr){"", 0} : (JsonStr){piece, len};
    }
    DetokenizerState state = {0};
    room->len = 0;
    str_add(room, "", 0);
    tokenizer_decode_next(t->tokenizer, &state, id, room);
    return (JsonStr){room->data, room->len > TRIE_MAX_DEPTH ? 0 : room->len};
}

// Characters of a text of whole characters that a string of JSON holds as they are; -1: it has others.
static int plain_length(JsonStr s) {
    int n = 0;
    if (utf8_valid_prefix(s.data, s.len) != s.len) return -1;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = (uint8_t)s.data[i];
        if (c < 0x20 || c == '"' || c == '\\') return -1;
        n += (c & 0xC0) != 0x80;
    }
    return n <= TRIE_MAX_PLAIN ? n : -1;
}

static void set_bit(uint64_t *mask, int32_t id) { mask[id / 64] |= 1ull << (id % 64); }

// Moves the texts that are not plain to the front; returns how many. Each plain[k] holds plain[k - 1].
static size_t split_plain(TokenTrie *t, TokenText *texts, size_t n) {
    size_t rest = 0;
    for (int k = 0; k <= TRIE_MAX_PLAIN; k++) t->plain[k] = mem_calloc(t->words, sizeof **t->plain);
    for (size_t i = 0; i < n; i++) {
        int length = plain_length(texts[i].text);
        if (length < 0)
            texts[rest++] = texts[i];
        else
            set_bit(t->plain[length], texts[i].id);
    }
    for (int k = 1; k <= TRIE_MAX_PLAIN; k++)
        for (size_t w = 0; w < t->words; w++) t->plain[k][w] |= t->plain[k - 1][w];
    return rest;
}

// The tokens as they begin a text, where that differs.
static Trie first_trie(const TokenTrie *t, TokenText *texts) {
    AUTO_STR StrBuf room = {0}, all = {0};
    size_t n = 0;
    bool differs = false;
    AUTO_FREE size_t *at = mem_alloc((size_t)t->tokenizer->vocab_size + 1, sizeof *at);
    for (int32_t id = 0; id < t->tokenizer->vocab_size; id++) {
        JsonStr text = token_trie_text(t, id, false, &room), later = token_trie_text(t, id, true, NULL);
        differs = differs || !json_str_equal(text, later);
        at[id] = all.len;
        str_add(&all, text.data, text.len);
        if (text.len) texts[n++] = (TokenText){{NULL, text.len}, id};
    }
    if (!differs) return (Trie){0};
    for (size_t i = 0; i < n; i++) texts[i].text.data = all.data + at[texts[i].id];
    qsort(texts, n, sizeof *texts, by_text);
    return trie_of(texts, n);
}

TokenTrie *token_trie_new(const Tokenizer *tokenizer) {
    TokenTrie *t = mem_calloc(1, sizeof *t);
    size_t n = 0;
    AUTO_FREE TokenText *texts = mem_alloc((size_t)tokenizer->vocab_size + 1, sizeof *texts);
    t->tokenizer = tokenizer;
    t->words = ((size_t)tokenizer->vocab_size + 63) / 64;
    for (int32_t id = 0; id < tokenizer->vocab_size; id++) {
        JsonStr text = token_trie_text(t, id, true, NULL);
        if (text.len) texts[n++] = (TokenText){text, id};
    }
    qsort(texts, n, sizeof *texts, by_text);
    t->all = trie_of(texts, n);
    t->rest = trie_of(texts, split_plain(t, texts, n));
    t->first = first_trie(t, texts);
    return t;
}

void token_trie_free(TokenTrie *t) {
    if (!t) return;
    for (int k = 0; k <= TRIE_MAX_PLAIN; k++) mem_free(t->plain[k]);
    trie_clear(&t->all);
    trie_clear(&t->first);
    trie_clear(&t->rest);
    mem_free(t);
}
