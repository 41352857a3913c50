// bpe: see bpe.h. The tables, built once from the file, and their checks; then encoding.
//
// The hash table of pairs is open-addressed with linear probing, a power of two in size and at most half full.
#include "bpe.h"

#include <string.h>
#include <utf8proc.h>

#include "byte_alphabet.h"
#include "symbol_merge.h"

enum { MAX_MERGES = 1 << 24, SHOWN = 64, JOIN_BITS = 1 << 18 };

typedef struct PairSlot {
    int32_t left, right;
    uint32_t rank; // NO_RANK: free
    int32_t result;
} PairSlot; // 16 bytes: never in two lines of the cache

typedef struct Bpe {
    const Vocab *vocab;
    int32_t n_merges;
    PairSlot *pair_slots;
    size_t pair_mask;
    int pair_shift;
    BpeMerge *merges; // by rank; parts -1: left out
    bool chars, whole_words, byte_fallback, fuse_unk;
    int32_t unk;
    int32_t byte_token[256];  // bytes: of each byte; characters: of "<0xNN>"; -1: none
    int32_t ascii_token[128]; // characters below U+0080; -1: none
    // Characters: bit join_bit(a, b) is set if some merge may join a and b. If it is clear, no token crosses the
    // boundary between a and b, and both sides can be merged independently. NULL: no boundaries are known.
    uint64_t *joins;
} Bpe;

static inline uint32_t join_bit(uint32_t a, uint32_t b) {
    return (uint32_t)(((uint64_t)a << 32 | b) * 0x9E3779B97F4A7C15u >> 46);
}

// The slot of a pair, or a free one (rank NO_RANK) when the pair does not merge.
static inline const PairSlot *pair_slot(const Bpe *b, int32_t left, int32_t right) {
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t i = (size_t)((key * 0x9E3779B97F4A7C15u) >> b->pair_shift);
    for (;; i = (i + 1) & b->pair_mask) {
        const PairSlot *s = &b->pair_slots[i];
        if (s->rank == NO_RANK || (s->left == left && s->right == right)) return s;
    }
}

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

static int32_t ordinary(const Vocab *v, int32_t id) { return id >= 0 && vocab_is_control(v, id) ? -1 : id; }

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

static int shown(size_t len) { return len < SHOWN ? (int)len : SHOWN; }
#define SHOW(s) shown((s).len), (s).data // for "%.*s"

// Id of a part or the result of a merge; -1 with a message if it is not a token, or (unless `control`) is a control
// token.
static int32_t merge_token(const Bpe *b, size_t rank, const BpePair *p, const GgufStr *text, bool control, Err *err) {
    int32_t id = vocab_find(b->vocab, text->data, text->len);
    if (id >= 0 && (control || !vocab_is_control(b->vocab, id))) return id;
    const char *what = id < 0 ? "is not in the vocabulary" : "is a control token; expected normal ones";
    err_input(err, "merge %zu \"%.*s %.*s\": \"%.*s\" %s", rank, SHOW(p->left), SHOW(p->right), SHOW(*text), what);
    return -1;
}

static bool has_control(const Vocab *v, const BpeMerge *m) {
    return vocab_is_control(v, m->left) || vocab_is_control(v, m->right) || vocab_is_control(v, m->result);
}

// Marks the characters that a merge joins. A merge of tokens whose text is not the characters that they encode (bytes,
// unk) leaves no boundary known.
static void mark_join(Bpe *b, const BpePair *p, const BpeMerge *m) {
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
    uint32_t bit = join_bit((uint32_t)before, (uint32_t)after);
    b->joins[bit / 64] |= (uint64_t)1 << bit % 64;
}

static int add_merge(Bpe *b, size_t rank, const BpePair *p, bool skip_control, StrBuf *joined, Err *err) {
    joined->len = 0;
    str_add(joined, p->left.data, p->left.len);
    str_add(joined, p->right.data, p->right.len);
    GgufStr result = {joined->data, joined->len};
    BpeMerge m;
    if ((m.left = merge_token(b, rank, p, &p->left, skip_control, err)) < 0 ||
        (m.right = merge_token(b, rank, p, &p->right, skip_control, err)) < 0 ||
        (m.result = merge_token(b, rank, p, &result, skip_control, err)) < 0)
        return -1;
    if (has_control(b->vocab, &m)) {
        b->merges[rank] = (BpeMerge){-1, -1, -1};
        return 0;
    }
    PairSlot *s = (PairSlot *)pair_slot(b, m.left, m.right);
    if (s->rank != NO_RANK)
        return err_input(err, "merges %u and %zu are both \"%.*s %.*s\"; expected each once", s->rank, rank,
                         SHOW(p->left), SHOW(p->right));
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
    AUTO_STR StrBuf joined = {0};
    for (size_t rank = 0; rank < n; rank++)
        if (add_merge(b, rank, &source->merges[rank], source->skip_control, &joined, err)) return -1;
    return 0;
}

// ---- merging ----

static uint32_t pair_rank(const void *model, const TokenWork *w, size_t i, size_t j, uint32_t end) {
    return pair_slot(model, w->ids[i], w->ids[j])->rank;
}

static int32_t pair_result(const void *model, const TokenWork *w, size_t i, uint32_t end) {
    return ((const Bpe *)model)->merges[w->rank[i]].result;
}

static void merge(const Bpe *b, TokenWork *w, size_t first) {
    merge_symbols(&(MergeRule){pair_rank, pair_result, b, 0}, w, first); // the rules need no byte positions
}

// ---- symbols ----

static void add_bytes(const Bpe *b, TokenWork *w, const char *bytes, size_t len) {
    for (size_t i = 0; i < len; i++) {
        int32_t id = b->byte_token[(uint8_t)bytes[i]];
        if (id >= 0) {
            token_work_add(w, id, i);
        } else {
            bool after_unknown = w->n_tokens > 0 && w->ids[w->n_tokens - 1] == b->unk;
            token_work_add_unknown(w, b->unk, i, 1, b->fuse_unk && after_unknown);
        }
    }
    merge(b, w, 0);
}

// A character that has no token.
static void add_unknown(const Bpe *b, TokenWork *w, const char *text, size_t at, size_t n, bool after_unknown) {
    if (!b->byte_fallback || !token_work_add_bytes(w, b->byte_token, text, at, n))
        token_work_add_unknown(w, b->unk, at, n, b->fuse_unk && after_unknown);
}

static int32_t char_token(const Bpe *b, const char *c, size_t n) {
    if (n == 1) return (uint8_t)*c < 0x80 ? b->ascii_token[(uint8_t)*c] : -1;
    int32_t id = vocab_find(b->vocab, c, n);
    return id >= 0 && vocab_is_control(b->vocab, id) ? -1 : id;
}

static bool may_join(const Bpe *b, int32_t before, int32_t c) {
    if (!b->joins) return true;
    uint32_t bit = join_bit((uint32_t)before, (uint32_t)c);
    return b->joins[bit / 64] >> bit % 64 & 1;
}

static void add_chars(const Bpe *b, TokenWork *w, const char *text, size_t len) {
    utf8proc_int32_t before = -1, c;
    size_t base = 0;
    bool after_unknown = false;
    for (size_t i = 0; i < len; before = c) {
        utf8proc_ssize_t got = utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(len - i), &c);
        size_t n = got > 0 ? (size_t)got : 1; // an invalid byte is a symbol by itself
        int32_t id = char_token(b, text + i, n);
        if (id >= 0 && before >= 0 && !may_join(b, before, c)) {
            merge(b, w, base);
            base = w->n_tokens;
        }
        if (id >= 0)
            token_work_add(w, id, i);
        else
            add_unknown(b, w, text, i, n, after_unknown && w->n_tokens > 0 && w->ids[w->n_tokens - 1] == b->unk);
        after_unknown = id < 0;
        i += n;
    }
    merge(b, w, base);
}

static bool take_whole(const Bpe *b, TokenWork *w, const char *text, size_t len) {
    if (!b->chars) {
        w->spelled.len = 0;
        bytes_spell(text, len, &w->spelled);
        text = w->spelled.data;
        len = w->spelled.len;
    }
    int32_t id = vocab_find(b->vocab, text, len);
    if (id < 0 || vocab_type(b->vocab, id) != TOKEN_NORMAL) return false;
    token_work_add(w, id, 0);
    return true;
}

static void bpe_tokenize(const void *model, TokenWork *w, const char *text, size_t len) {
    const Bpe *b = model;
    token_work_reserve(w, len);
    w->n_tokens = w->left_out = w->unknown = 0;
    if (b->whole_words && take_whole(b, w, text, len)) return;
    if (b->chars)
        add_chars(b, w, text, len);
    else
        add_bytes(b, w, text, len);
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
    *b = (Bpe){.vocab = source->vocab,
               .chars = source->chars,
               .whole_words = source->whole_words,
               .byte_fallback = source->byte_fallback,
               .fuse_unk = source->fuse_unk,
               .unk = source->unk};
    if (b->chars) find_char_tokens(b);
    if ((!b->chars && find_byte_tokens(b, source->skip_control, err)) || add_merges(b, source, err)) {
        bpe_free(b);
        return -1;
    }
    *m = (TokenModel){&BPE, b};
    return 0;
}

// ---- what it was made of ----

bool bpe_form(BpeForm *form, const TokenModel *m) {
    if (m->kind != &BPE) return false;
    const Bpe *b = m->data;
    *form = (BpeForm){b->chars, b->whole_words, b->byte_fallback, b->unk, b->n_merges};
    return true;
}

bool bpe_merge(BpeMerge *merge, const TokenModel *m, int32_t rank) {
    *merge = ((const Bpe *)m->data)->merges[rank];
    return merge->left >= 0;
}
