// vocab: see vocab.h. All texts are concatenated; the hash table is open-addressed with linear probing, a power
// of two in size and at most half full.
#include "vocab.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "unicode.h"

enum { MAX_TOKENS = 1 << 24, SHOWN = 64 };

typedef struct Slot {
    uint32_t hash;
    int32_t id; // -1: free
} Slot;

struct Vocab {
    int32_t n_tokens;
    uint8_t *types;
    StrBuf texts;
    size_t *text_at; // where token i begins; n_tokens + 1 entries
    Slot *slots;
    size_t mask;
};

static uint32_t text_hash(const char *text, size_t len) { return (uint32_t)XXH3_64bits(text, len); }

// The slot that holds the token, or the free one where it belongs.
static Slot *slot_of(const Vocab *v, const char *text, size_t len) {
    uint32_t hash = text_hash(text, len);
    for (size_t i = hash & v->mask;; i = (i + 1) & v->mask) {
        Slot *s = &v->slots[i];
        if (s->id < 0 || (s->hash == hash && json_str_equal(vocab_text(v, s->id), (JsonStr){text, len}))) return s;
    }
}

static int check_token(const VocabSource *source, size_t i, Err *err) {
    GgufStr text = source->tokens[i];
    int32_t type = source->types[i];
    if (type < TOKEN_NORMAL || type > source->last_type)
        return err_input(err, "token %zu has type %d; expected %d to %d", i, type, TOKEN_NORMAL, source->last_type);
    if (type == TOKEN_ABSENT) return 0;
    if (text.len == 0) return err_input(err, "token %zu is empty; expected text", i);
    if (utf8_valid_prefix(text.data, text.len) != text.len)
        return err_input(err, "token %zu is not valid UTF-8; expected text", i);
    return 0;
}

static void make_tables(Vocab *v, size_t n) {
    size_t slots = 16;
    while (slots < 2 * n) slots *= 2;
    v->types = mem_alloc(n, 1);
    v->text_at = mem_alloc(n + 1, sizeof *v->text_at);
    v->text_at[0] = 0;
    v->slots = mem_alloc(slots, sizeof *v->slots);
    memset(v->slots, 0xFF, slots * sizeof *v->slots);
    v->mask = slots - 1;
    str_add(&v->texts, "", 0); // a vocabulary of holes only has texts too
}

static int add_token(Vocab *v, const VocabSource *source, size_t i, Err *err) {
    if (check_token(source, i, err)) return -1;
    GgufStr text = source->tokens[i];
    v->types[i] = (uint8_t)source->types[i];
    v->text_at[i + 1] = v->texts.len;
    if (source->types[i] != TOKEN_ABSENT) {
        Slot *s = slot_of(v, text.data, text.len);
        if (s->id >= 0)
            return err_input(err, "tokens %d and %zu are both \"%.*s\"; expected each once", s->id, i,
                             text.len < SHOWN ? (int)text.len : SHOWN, text.data);
        *s = (Slot){.hash = text_hash(text.data, text.len), .id = (int32_t)i};
        str_add(&v->texts, text.data, text.len);
        v->text_at[i + 1] = v->texts.len;
    }
    v->n_tokens++;
    return 0;
}

int vocab_new(Vocab **out, const VocabSource *source, Err *err) {
    if (source->n_tokens == 0 || source->n_tokens > MAX_TOKENS)
        return err_input(err, "vocabulary of %zu tokens; expected 1 to %d", source->n_tokens, MAX_TOKENS);
    Vocab *v = mem_calloc(1, sizeof *v);
    make_tables(v, source->n_tokens);
    for (size_t i = 0; i < source->n_tokens; i++) {
        if (!add_token(v, source, i, err)) continue;
        vocab_free(v);
        return -1;
    }
    *out = v;
    return 0;
}

void vocab_free(Vocab *v) {
    if (!v) return;
    str_clear(&v->texts);
    mem_free(v->types);
    mem_free(v->text_at);
    mem_free(v->slots);
    mem_free(v);
}

int32_t vocab_size(const Vocab *v) { return v->n_tokens; }

int vocab_type(const Vocab *v, int32_t id) { return v->types[id]; }

bool vocab_is_control(const Vocab *v, int32_t id) {
    return v->types[id] == TOKEN_CONTROL || v->types[id] == TOKEN_UNKNOWN;
}

int32_t vocab_find(const Vocab *v, const char *text, size_t len) { return slot_of(v, text, len)->id; }

void vocab_make_control(Vocab *v, int32_t id) { v->types[id] = TOKEN_CONTROL; }

JsonStr vocab_text(const Vocab *v, int32_t id) {
    return (JsonStr){v->texts.data + v->text_at[id], v->text_at[id + 1] - v->text_at[id]};
}

static int hex_digit(char c) { // upper case only, as the format writes them
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int vocab_byte_of(const char *text, size_t len) {
    if (len != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int high = hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

void vocab_byte_tokens(const Vocab *v, int32_t byte_token[256]) {
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", byte);
        byte_token[byte] = vocab_find(v, text, 6);
    }
}
