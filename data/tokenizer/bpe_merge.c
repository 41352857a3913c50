// bpe_tokenize: one pre-token to ids. First its symbols, then the merge loop, in two forms with the same result: a scan
// for the lowest rank in short words (nearly all are), a heap in long ones. Texts of characters are first cut at the
// boundaries that no token crosses.
#include <string.h>
#include <utf8proc.h>

#include "bpe_internal.h"
#include "byte_alphabet.h"

enum { SCAN_MAX = 32 }; // above this many symbols the heap is faster
#define NONE UINT32_MAX

// ---- the merge loop ----

static inline __attribute__((always_inline)) uint32_t pair_rank(const Bpe *b, const int32_t *ids, size_t i, size_t j) {
    return bpe_pair(b, ids[i], ids[j])->rank;
}

// Symbols stay packed: a merge moves the tail down by one. Quadratic, but without any bookkeeping.
static size_t merge_by_scan(const Bpe *b, int32_t *ids, uint32_t *begin, uint32_t *ranks, size_t n) {
    for (size_t i = 0; i + 1 < n; i++) ranks[i] = pair_rank(b, ids, i, i + 1);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (ranks[i] < ranks[best]) best = i;
        if (ranks[best] == NO_RANK) break;
        ids[best] = b->merges[ranks[best]].result;
        size_t tail = n - best - 2;
        memmove(ids + best + 1, ids + best + 2, tail * sizeof *ids);
        memmove(begin + best + 1, begin + best + 2, tail * sizeof *begin);
        memmove(ranks + best, ranks + best + 1, tail * sizeof *ranks);
        n--;
        if (best > 0) ranks[best - 1] = pair_rank(b, ids, best - 1, best);
        if (best + 1 < n) ranks[best] = pair_rank(b, ids, best, best + 1);
    }
    return n;
}

// The pair of symbol i and its right neighbour gets its present rank, and a place in the heap if it merges.
static void refresh_pair(const Bpe *b, TokenWork *w, const int32_t *ids, uint32_t i) {
    w->rank[i] = w->next[i] == NONE ? NO_RANK : pair_rank(b, ids, i, w->next[i]);
    if (w->rank[i] != NO_RANK) token_heap_push(w, (uint64_t)w->rank[i] << 32 | i);
}

// Symbols are a linked list. An entry of the heap is stale, and skipped, when its pair's rank is no longer the same
// (equal rank means the same pair, so a matching entry is valid, whenever it was pushed).
static size_t merge_by_heap(const Bpe *b, TokenWork *w, int32_t *ids, uint32_t *begin, uint32_t n) {
    w->n_heap = 0;
    for (uint32_t i = 0; i < n; i++) {
        w->previous[i] = i == 0 ? NONE : i - 1;
        w->next[i] = i + 1 == n ? NONE : i + 1;
    }
    for (uint32_t i = 0; i < n; i++) refresh_pair(b, w, ids, i);
    while (w->n_heap > 0) {
        uint64_t top = token_heap_pop(w);
        uint32_t i = (uint32_t)top, rank = (uint32_t)(top >> 32);
        if (w->rank[i] != rank) continue;
        uint32_t gone = w->next[i];
        ids[i] = b->merges[rank].result;
        w->rank[gone] = NO_RANK;
        w->next[i] = w->next[gone];
        if (w->next[i] != NONE) w->previous[w->next[i]] = i;
        refresh_pair(b, w, ids, i);
        if (w->previous[i] != NONE) refresh_pair(b, w, ids, w->previous[i]);
    }
    size_t kept = 0;
    for (uint32_t i = 0; i != NONE; i = w->next[i], kept++) {
        ids[kept] = ids[i];
        begin[kept] = begin[i];
    }
    return kept;
}

void bpe_merge(const Bpe *b, TokenWork *w, size_t base) {
    size_t n = w->n_tokens - base;
    if (n > SCAN_MAX)
        n = merge_by_heap(b, w, w->ids + base, w->begin + base, (uint32_t)n);
    else if (n > 1)
        n = merge_by_scan(b, w->ids + base, w->begin + base, w->rank, n);
    w->n_tokens = base + n;
}

// ---- symbols ----

static void add_bytes(const Bpe *b, TokenWork *w, const char *bytes, size_t len) {
    for (size_t i = 0; i < len; i++) {
        int32_t id = b->byte_token[(uint8_t)bytes[i]];
        if (id >= 0) {
            token_work_add(w, id, i);
        } else if (b->unk < 0) {
            w->left_out++;
        } else {
            w->unknown++;
            bool fused = b->fuse_unk && w->n_tokens > 0 && w->ids[w->n_tokens - 1] == b->unk;
            if (!fused) token_work_add(w, b->unk, i);
        }
    }
    bpe_merge(b, w, 0);
}

// A character that has no token.
static void add_unknown(const Bpe *b, TokenWork *w, const char *c, size_t n, size_t at, bool after_unknown) {
    bool has_bytes = b->byte_fallback;
    for (size_t k = 0; k < n && has_bytes; k++) has_bytes = b->byte_token[(uint8_t)c[k]] >= 0;
    if (has_bytes) {
        for (size_t k = 0; k < n; k++) token_work_add(w, b->byte_token[(uint8_t)c[k]], at + k);
    } else if (b->unk < 0) {
        w->left_out += n;
    } else {
        w->unknown += n;
        if (!b->fuse_unk || !after_unknown) token_work_add(w, b->unk, at);
    }
}

static int32_t char_token(const Bpe *b, const char *c, size_t n) {
    if (n == 1) return (uint8_t)*c < 0x80 ? b->ascii_token[(uint8_t)*c] : -1;
    int32_t id = vocab_find(b->vocab, c, n);
    return id >= 0 && vocab_is_control(b->vocab, id) ? -1 : id;
}

static bool may_join(const Bpe *b, int32_t before, int32_t c) {
    if (!b->joins) return true;
    uint32_t bit = bpe_join_bit((uint32_t)before, (uint32_t)c);
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
            bpe_merge(b, w, base);
            base = w->n_tokens;
        }
        if (id >= 0)
            token_work_add(w, id, i);
        else
            add_unknown(b, w, text + i, n, i, after_unknown && w->n_tokens > 0 && w->ids[w->n_tokens - 1] == b->unk);
        after_unknown = id < 0;
        i += n;
    }
    bpe_merge(b, w, base);
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

void bpe_tokenize(const void *model, TokenWork *w, const char *text, size_t len) {
    const Bpe *b = model;
    token_work_reserve(w, len);
    w->n_tokens = w->left_out = w->unknown = 0;
    if (b->whole_words && take_whole(b, w, text, len)) return;
    if (b->chars)
        add_chars(b, w, text, len);
    else
        add_bytes(b, w, text, len);
}
