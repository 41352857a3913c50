// bpe: see bpe.h. The tables, built once from the file, and their checks; the merge loop is in bpe_merge.c.
#include "bpe.h"

#include <string.h>
#include <xxhash.h>

#include "bpe_tables.h"
#include "unicode.h"

enum { MAX_TOKENS = 1 << 24, SHOWN = 64 };

// The alphabet: printable bytes of Latin-1 are themselves, the other 68 are U+0100 and up in order.
static uint32_t alphabet_char(int byte) {
    bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    if (printable) return (uint32_t)byte;
    if (byte <= 0x20) return 0x100 + (uint32_t)byte;
    return byte <= 0xA0 ? 0x100 + 33 + (uint32_t)(byte - 0x7F) : 0x100 + 67;
}

static void init_alphabet(Bpe *b) {
    memset(b->byte_of, 0xFF, sizeof b->byte_of);
    for (int byte = 0; byte < 256; byte++) {
        uint32_t c = alphabet_char(byte);
        b->byte_of[c] = (int16_t)byte;
        uint8_t *s = b->spelling[byte];
        b->spelling_len[byte] = c < 0x80 ? 1 : 2;
        s[0] = (uint8_t)(c < 0x80 ? c : 0xC0 | c >> 6);
        s[1] = (uint8_t)(0x80 | (c & 0x3F));
    }
}

void bpe_spell(const Bpe *b, const char *bytes, size_t len, StrBuf *out) {
    out->len = 0;
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = (uint8_t)bytes[i];
        str_add(out, (const char *)b->spelling[byte], b->spelling_len[byte]);
    }
}

// Appends the bytes that text spells; false (and nothing appended) when a character is not of the alphabet.
static bool unspell(const Bpe *b, GgufStr text, StrBuf *out) {
    size_t before = out->len;
    for (size_t i = 0; i < text.len;) {
        uint8_t lead = (uint8_t)text.data[i];
        uint32_t c = lead;
        if (lead >= 0x80) c = lead < 0xE0 ? (lead & 0x1Fu) << 6 | ((uint8_t)text.data[i + 1] & 0x3Fu) : ALPHABET_END;
        int byte = c < ALPHABET_END ? b->byte_of[c] : -1;
        if (byte < 0) {
            out->len = before;
            return false;
        }
        char one = (char)byte;
        str_add(out, &one, 1);
        i += lead < 0x80 ? 1 : 2;
    }
    return true;
}

static size_t table_size(size_t n) { // a power of two, at most half full
    size_t size = 16;
    while (size < 2 * n) size *= 2;
    return size;
}

static uint32_t text_hash(const char *text, size_t len) {
    return (uint32_t)XXH3_64bits(text, len);
}

static bool token_is(const Bpe *b, int32_t id, const char *text, size_t len) {
    size_t n = b->text_at[id + 1] - b->text_at[id];
    return n == len && memcmp(b->texts.data + b->text_at[id], text, len) == 0;
}

// The slot that holds the token, or the free one where it belongs.
static TokenSlot *token_slot(const Bpe *b, const char *text, size_t len) {
    uint32_t hash = text_hash(text, len);
    for (size_t i = hash & b->token_mask;; i = (i + 1) & b->token_mask) {
        TokenSlot *s = &b->token_slots[i];
        if (s->id < 0 || (s->hash == hash && token_is(b, s->id, text, len))) return s;
    }
}

int32_t bpe_find(const Bpe *b, const char *text, size_t len) {
    return token_slot(b, text, len)->id;
}

static int check_token(const BpeSource *source, size_t i, Err *err) {
    GgufStr text = source->tokens[i];
    int32_t type = source->types[i];
    if (text.len == 0) return err_input(err, "token %zu is empty; expected text", i);
    if (utf8_valid_prefix(text.data, text.len) != text.len)
        return err_input(err, "token %zu is not valid UTF-8; expected byte-level text", i);
    if (type < TOKEN_NORMAL || type > TOKEN_UNUSED)
        return err_input(err, "token %zu has type %d; expected %d to %d", i, type, TOKEN_NORMAL, TOKEN_UNUSED);
    return 0;
}

// Added tokens stand for their own text, the others for the bytes they spell.
static void add_piece(Bpe *b, GgufStr text, int32_t type) {
    bool added = type != TOKEN_NORMAL && type != TOKEN_UNUSED;
    if (added || !unspell(b, text, &b->pieces)) str_add(&b->pieces, text.data, text.len);
}

static int add_tokens(Bpe *b, const BpeSource *source, Err *err) {
    size_t n = source->n_tokens, slots = table_size(n);
    b->types = mem_alloc(n, 1);
    b->text_at = mem_alloc(n + 1, sizeof *b->text_at);
    b->piece_at = mem_alloc(n + 1, sizeof *b->piece_at);
    b->token_slots = mem_alloc(slots, sizeof *b->token_slots);
    memset(b->token_slots, 0xFF, slots * sizeof *b->token_slots);
    b->token_mask = slots - 1;
    b->text_at[0] = b->piece_at[0] = 0;
    for (size_t i = 0; i < n; i++) {
        GgufStr text = source->tokens[i];
        if (check_token(source, i, err) != 0) return -1;
        TokenSlot *s = token_slot(b, text.data, text.len);
        if (s->id >= 0)
            return err_input(err, "tokens %d and %zu are both \"%.*s\"; expected each once", s->id, i,
                             text.len < SHOWN ? (int)text.len : SHOWN, text.data);
        *s = (TokenSlot){.hash = text_hash(text.data, text.len), .id = (int32_t)i};
        b->types[i] = (uint8_t)source->types[i];
        str_add(&b->texts, text.data, text.len);
        add_piece(b, text, source->types[i]);
        b->text_at[i + 1] = b->texts.len;
        b->piece_at[i + 1] = b->pieces.len;
        b->n_tokens++; // only whole tokens are looked at by token_is
    }
    return 0;
}

static bool is_control(const Bpe *b, int32_t id) {
    return b->types[id] == TOKEN_CONTROL || b->types[id] == TOKEN_UNKNOWN;
}

static int find_byte_tokens(Bpe *b, Err *err) {
    for (int byte = 0; byte < 256; byte++) {
        int32_t id = bpe_find(b, (const char *)b->spelling[byte], b->spelling_len[byte]);
        if (id >= 0 && is_control(b, id))
            return err_input(err, "token %d is a control token and the token of byte 0x%02X; expected a normal token",
                             id, byte);
        b->byte_token[byte] = id;
    }
    return 0;
}

// Id of a part or the result of a merge; -1 with a message when it is no token, or one that text must not make.
static int32_t merge_token(const Bpe *b, size_t rank, GgufStr merge, const char *text, size_t len, Err *err) {
    int32_t id = bpe_find(b, text, len);
    int shown = merge.len < SHOWN ? (int)merge.len : SHOWN, part = len < SHOWN ? (int)len : SHOWN;
    if (id < 0)
        return err_input(err, "merge %zu \"%.*s\": \"%.*s\" is not in the vocabulary", rank, shown, merge.data, part,
                         text);
    if (is_control(b, id))
        return err_input(err, "merge %zu \"%.*s\": \"%.*s\" is a control token; expected normal ones", rank, shown,
                         merge.data, part, text);
    return id;
}

const PairSlot *bpe_pair(const Bpe *b, int32_t left, int32_t right) {
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t i = (size_t)((key * 0x9E3779B97F4A7C15u) >> b->pair_shift);
    for (;; i = (i + 1) & b->pair_mask) {
        const PairSlot *s = &b->pair_slots[i];
        if (s->rank == NO_RANK || (s->left == left && s->right == right)) return s;
    }
}

static int add_merge(Bpe *b, size_t rank, GgufStr merge, StrBuf *joined, Err *err) {
    const char *space = merge.len > 1 ? memchr(merge.data + 1, ' ', merge.len - 1) : NULL;
    if (!space || space + 1 == merge.data + merge.len)
        return err_input(err, "merge %zu \"%.*s\" has one part; expected two separated by a space", rank,
                         merge.len < SHOWN ? (int)merge.len : SHOWN, merge.data);
    size_t left_len = (size_t)(space - merge.data), right_len = merge.len - left_len - 1;
    joined->len = 0;
    str_add(joined, merge.data, left_len);
    str_add(joined, space + 1, right_len);
    int32_t left = merge_token(b, rank, merge, merge.data, left_len, err);
    int32_t right = left < 0 ? -1 : merge_token(b, rank, merge, space + 1, right_len, err);
    int32_t result = right < 0 ? -1 : merge_token(b, rank, merge, joined->data, joined->len, err);
    if (result < 0) return -1;
    PairSlot *s = (PairSlot *)bpe_pair(b, left, right);
    if (s->rank != NO_RANK)
        return err_input(err, "merges %u and %zu are both \"%.*s\"; expected each once", s->rank, rank,
                         merge.len < SHOWN ? (int)merge.len : SHOWN, merge.data);
    *s = (PairSlot){.left = left, .right = right, .rank = (uint32_t)rank};
    b->merges[rank] = (Merge){.left = left, .right = right, .result = result};
    return 0;
}

static int add_merges(Bpe *b, const BpeSource *source, Err *err) {
    size_t n = source->n_merges, slots = table_size(n);
    b->merges = mem_alloc(n ? n : 1, sizeof *b->merges);
    b->pair_slots = mem_alloc(slots, sizeof *b->pair_slots);
    memset(b->pair_slots, 0xFF, slots * sizeof *b->pair_slots); // NO_RANK
    b->pair_mask = slots - 1;
    b->pair_shift = 64 - __builtin_ctzll(slots);
    b->n_merges = (int32_t)n;
    StrBuf joined = {0};
    int rc = 0;
    for (size_t rank = 0; rank < n && rc == 0; rank++) rc = add_merge(b, rank, source->merges[rank], &joined, err);
    str_clear(&joined);
    return rc;
}

int bpe_new(Bpe **out, const BpeSource *source, Err *err) {
    if (source->n_tokens == 0 || source->n_tokens > MAX_TOKENS)
        return err_input(err, "vocabulary of %zu tokens; expected 1 to %d", source->n_tokens, MAX_TOKENS);
    if (source->n_merges > MAX_TOKENS)
        return err_input(err, "%zu merges; expected at most %d", source->n_merges, MAX_TOKENS);
    Bpe *b = mem_calloc(1, sizeof *b);
    init_alphabet(b);
    if (add_tokens(b, source, err) != 0 || find_byte_tokens(b, err) != 0 || add_merges(b, source, err) != 0) {
        bpe_free(b);
        return -1;
    }
    *out = b;
    return 0;
}

void bpe_free(Bpe *b) {
    if (!b) return;
    str_clear(&b->texts);
    str_clear(&b->pieces);
    mem_free(b->types);
    mem_free(b->text_at);
    mem_free(b->piece_at);
    mem_free(b->token_slots);
    mem_free(b->pair_slots);
    mem_free(b->merges);
    mem_free(b);
}

int32_t bpe_size(const Bpe *b) {
    return b->n_tokens;
}

int bpe_type(const Bpe *b, int32_t id) {
    return b->types[id];
}

const char *bpe_text(const Bpe *b, int32_t id, size_t *len) {
    *len = b->text_at[id + 1] - b->text_at[id];
    return b->texts.data + b->text_at[id];
}

const char *bpe_piece(const Bpe *b, int32_t id, size_t *len) {
    *len = b->piece_at[id + 1] - b->piece_at[id];
    return b->pieces.data + b->piece_at[id];
}

int32_t bpe_merge_count(const Bpe *b) {
    return b->n_merges;
}

void bpe_merge_at(const Bpe *b, int32_t rank, int32_t *left, int32_t *right) {
    *left = b->merges[rank].left;
    *right = b->merges[rank].right;
}
