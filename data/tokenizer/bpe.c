// bpe: see bpe.h. The tables, built once from the file, and their checks; encoding is in bpe_merge.c.
#include "bpe.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#include "bpe_internal.h"
#include "byte_alphabet.h"

enum { MAX_MERGES = 1 << 24, SHOWN = 64 };

bool bpe_pair_split(BpePair *p, GgufStr merge) {
    const char *space = merge.len > 1 ? memchr(merge.data + 1, ' ', merge.len - 1) : NULL;
    if (!space || space + 1 == merge.data + merge.len) return false;
    size_t left = (size_t)(space - merge.data);
    *p = (BpePair){.left = {merge.data, left}, .right = {space + 1, merge.len - left - 1}};
    return true;
}

static int find_byte_tokens(Bpe *b, bool skip_control, Err *err) {
    for (int byte = 0; byte < 256; byte++) {
        char spelled[2];
        int n = byte_spell((uint8_t)byte, spelled);
        int32_t id = vocab_find(b->vocab, spelled, (size_t)n);
        if (id >= 0 && vocab_is_control(b->vocab, id)) {
            if (!skip_control)
                return err_input(
                    err, "token %d is a control token and the token of byte 0x%02X; expected a normal token", id, byte);
            id = -1;
        }
        b->byte_token[byte] = id;
    }
    return 0;
}

static int32_t ordinary(const Vocab *v, int32_t id) {
    return id >= 0 && vocab_is_control(v, id) ? -1 : id;
}

static void find_char_tokens(Bpe *b) {
    vocab_byte_tokens(b->vocab, b->byte_token);
    for (int byte = 0; byte < 256; byte++)
        b->byte_token[byte] = b->byte_fallback ? ordinary(b->vocab, b->byte_token[byte]) : -1;
    for (int c = 0; c < 128; c++) {
        char one = (char)c;
        b->ascii_token[c] = ordinary(b->vocab, vocab_find(b->vocab, &one, 1));
    }
}

// ---- merges ----

// A merge in a message: its parts with a space between, each cut to SHOWN bytes.
typedef struct ShownPair {
    char text[2 * SHOWN + 2];
} ShownPair;

static int shown(size_t len) {
    return len < SHOWN ? (int)len : SHOWN;
}

static ShownPair show_pair(const BpePair *p) {
    ShownPair s;
    snprintf(s.text, sizeof s.text, "%.*s %.*s", shown(p->left.len), p->left.data, shown(p->right.len), p->right.data);
    return s;
}

// Id of a part or the result of a merge; -1 with a message if it is not a token, or (unless `control`) is a control
// token.
static int32_t merge_token(const Bpe *b, size_t rank, const BpePair *p, const GgufStr *text, bool control, Err *err) {
    int32_t id = vocab_find(b->vocab, text->data, text->len);
    if (id >= 0 && (control || !vocab_is_control(b->vocab, id))) return id;
    const char *what = id < 0 ? "is not in the vocabulary" : "is a control token; expected normal ones";
    err_input(err, "merge %zu \"%s\": \"%.*s\" %s", rank, show_pair(p).text, shown(text->len), text->data, what);
    return -1;
}

static bool has_control(const Vocab *v, const Merge *m) {
    return vocab_is_control(v, m->left) || vocab_is_control(v, m->right) || vocab_is_control(v, m->result);
}

// Marks the characters that a merge joins. A merge of tokens whose text is not the characters that they encode (bytes,
// unk) leaves no boundary known.
static void mark_join(Bpe *b, const BpePair *p, const Merge *m) {
    if (!b->joins) return;
    bool other = m->left == b->unk || m->right == b->unk;
    if (b->byte_fallback)
        other =
            other || vocab_byte_of(p->left.data, p->left.len) >= 0 || vocab_byte_of(p->right.data, p->right.len) >= 0;
    if (other) {
        mem_free(b->joins);
        b->joins = NULL;
        return;
    }
    size_t last = p->left.len - 1;
    while (last > 0 && ((uint8_t)p->left.data[last] & 0xC0) == 0x80) last--;
    utf8proc_int32_t before, after;
    utf8proc_iterate((const utf8proc_uint8_t *)p->left.data + last, (utf8proc_ssize_t)(p->left.len - last), &before);
    utf8proc_iterate((const utf8proc_uint8_t *)p->right.data, (utf8proc_ssize_t)p->right.len, &after);
    uint32_t bit = bpe_join_bit((uint32_t)before, (uint32_t)after);
    b->joins[bit / 64] |= (uint64_t)1 << bit % 64;
}

static int add_merge(Bpe *b, size_t rank, const BpePair *p, bool skip_control, StrBuf *joined, Err *err) {
    joined->len = 0;
    str_add(joined, p->left.data, p->left.len);
    str_add(joined, p->right.data, p->right.len);
    GgufStr result = {joined->data, joined->len};
    Merge m;
    if ((m.left = merge_token(b, rank, p, &p->left, skip_control, err)) < 0 ||
        (m.right = merge_token(b, rank, p, &p->right, skip_control, err)) < 0 ||
        (m.result = merge_token(b, rank, p, &result, skip_control, err)) < 0)
        return -1;
    if (has_control(b->vocab, &m)) {
        b->merges[rank] = (Merge){-1, -1, -1};
        return 0;
    }
    PairSlot *s = (PairSlot *)bpe_pair(b, m.left, m.right);
    if (s->rank != NO_RANK)
        return err_input(err, "merges %u and %zu are both \"%s\"; expected each once", s->rank, rank,
                         show_pair(p).text);
    *s = (PairSlot){.left = m.left, .right = m.right, .rank = (uint32_t)rank, .result = m.result};
    b->merges[rank] = m;
    mark_join(b, p, &m);
    return 0;
}

static int add_merges(Bpe *b, const BpeSource *source, Err *err) {
    size_t n = source->n_merges, slots = 16;
    while (slots < 2 * n) slots *= 2;
    b->merges = mem_alloc(n ? n : 1, sizeof *b->merges);
    b->pair_slots = mem_alloc(slots, sizeof *b->pair_slots);
    memset(b->pair_slots, 0xFF, slots * sizeof *b->pair_slots); // NO_RANK
    b->pair_mask = slots - 1;
    b->pair_shift = 64 - __builtin_ctzll(slots);
    b->n_merges = (int32_t)n;
    if (b->chars) b->joins = mem_calloc(JOIN_BITS / 64, sizeof *b->joins);
    StrBuf joined = {0};
    int rc = 0;
    for (size_t rank = 0; rank < n && !rc; rank++)
        rc = add_merge(b, rank, &source->merges[rank], source->skip_control, &joined, err);
    str_clear(&joined);
    return rc;
}

// ---- the model ----

static void bpe_free(void *model) {
    Bpe *b = model;
    mem_free(b->pair_slots);
    mem_free(b->merges);
    mem_free(b->joins);
    mem_free(b);
}

static void bpe_hash(const void *model, Fingerprint *f) {
    const Bpe *b = model;
    fingerprint_number(f, b->chars | b->whole_words << 1 | b->byte_fallback << 2 | b->fuse_unk << 3);
    fingerprint_number(f, b->unk);
    for (int32_t rank = 0; rank < b->n_merges; rank++) fingerprint_pair(f, b->merges[rank].left, b->merges[rank].right);
}

static const TokenModelKind BPE = {.name = "BPE", .tokenize = bpe_tokenize, .hash = bpe_hash, .free = bpe_free};

int bpe_new(TokenModel *m, const BpeSource *source, Err *err) {
    if (source->n_merges > MAX_MERGES)
        return err_input(err, "%zu merges; expected at most %d", source->n_merges, MAX_MERGES);
    Bpe *b = mem_calloc(1, sizeof *b);
    b->vocab = source->vocab;
    b->chars = source->chars;
    b->whole_words = source->whole_words;
    b->byte_fallback = source->byte_fallback;
    b->fuse_unk = source->fuse_unk;
    b->unk = source->unk;
    int rc = 0;
    if (b->chars)
        find_char_tokens(b);
    else
        rc = find_byte_tokens(b, source->skip_control, err);
    if (rc || add_merges(b, source, err)) {
        bpe_free(b);
        return -1;
    }
    *m = (TokenModel){&BPE, b};
    return 0;
}
