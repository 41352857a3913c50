// spm: see spm.h. Ranks are made of the scores once, so that the merge loops compare integers.
//
// Most vocabularies have no token with U+2581 (a space) after another character. Nothing merges across such a place,
// so text is cut there and merged word by word, which keeps the work in cache; the result is the same.
#include "spm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "unicode.h"

enum { SCAN_MAX = 32 }; // above this many symbols the heap is faster
#define NO_RANK UINT32_MAX
#define NONE UINT32_MAX
#define SPACE "\xE2\x96\x81"

typedef struct Spm {
    const Vocab *vocab;
    uint32_t *rank; // by id: 0 is the highest score; NO_RANK: a token that text must not become
    size_t longest; // bytes of the longest token with a rank
    bool words;     // no token with a rank crosses from another character into U+2581
    int32_t byte_token[256], unknown;
} Spm;

// ---- made once ----

typedef struct Scored {
    float score;
    int32_t id;
} Scored;

static int by_score(const void *a, const void *b) {
    float x = ((const Scored *)a)->score, y = ((const Scored *)b)->score;
    return (x < y) - (x > y);
}

static bool crosses_words(const char *text, size_t len) {
    for (size_t i = 1; i + 3 <= len; i++)
        if (memcmp(text + i, SPACE, 3) == 0 && (i < 3 || memcmp(text + i - 3, SPACE, 3) != 0)) return true;
    return false;
}

static void rank_tokens(Spm *s, const float *scores, int32_t n) {
    Scored *order = mem_alloc((size_t)n, sizeof *order);
    int32_t count = 0;
    s->words = true;
    for (int32_t id = 0; id < n; id++) {
        s->rank[id] = NO_RANK;
        if (vocab_type(s->vocab, id) != TOKEN_NORMAL) continue;
        size_t len;
        const char *text = vocab_text(s->vocab, id, &len);
        if (len > s->longest) s->longest = len;
        if (crosses_words(text, len)) s->words = false;
        order[count++] = (Scored){scores[id], id};
    }
    qsort(order, (size_t)count, sizeof *order, by_score);
    for (int32_t i = 0; i < count; i++) {
        bool equal = i > 0 && order[i].score == order[i - 1].score;
        s->rank[order[i].id] = equal ? s->rank[order[i - 1].id] : (uint32_t)i;
    }
    mem_free(order);
}

static void spm_free(void *model) {
    Spm *s = model;
    if (!s) return;
    mem_free(s->rank);
    mem_free(s);
}

static void spm_hash(const void *model, Fingerprint *f) {
    const Spm *s = model;
    for (int32_t id = 0; id < vocab_size(s->vocab); id++) fingerprint_number(f, s->rank[id]);
    fingerprint_number(f, s->unknown);
}

// ---- symbols ----

// A run of symbols being merged: symbol i has ids[i], begins at text + begin[i], and ends where the next one begins.
typedef struct Run {
    const Spm *s;
    TokenWork *w;
    const char *text;
    size_t first; // its symbols are w->ids[first, n_tokens)
    uint32_t end; // of the text
} Run;

static int32_t token_of(const Spm *s, const char *text, size_t len) {
    if (len > s->longest) return -1;
    int32_t id = vocab_find(s->vocab, text, len);
    return id >= 0 && s->rank[id] != NO_RANK ? id : -1;
}

static uint32_t pair_rank(const Run *r, int32_t left, int32_t right, uint32_t begin, uint32_t end) {
    if (r->s->rank[left] == NO_RANK || r->s->rank[right] == NO_RANK) return NO_RANK; // bytes and unknown characters
    int32_t id = token_of(r->s, r->text + begin, end - begin);
    return id < 0 ? NO_RANK : r->s->rank[id];
}

static void add_unknown(const Spm *s, TokenWork *w, size_t at, size_t len, bool fuse) {
    if (s->unknown < 0) {
        w->left_out += len;
        return;
    }
    w->unknown += len;
    if (!fuse) token_work_add(w, s->unknown, at);
}

// The character of `len` bytes at text + at. `after_unknown`: the symbol before it is the unknown token.
static void add_character(const Spm *s, TokenWork *w, const char *text, size_t at, size_t len, bool *after_unknown) {
    int32_t id = token_of(s, text + at, len);
    bool fuse = *after_unknown;
    *after_unknown = false;
    if (id >= 0) {
        token_work_add(w, id, at);
        return;
    }
    bool bytes = true;
    for (size_t i = 0; i < len; i++) bytes = bytes && s->byte_token[(uint8_t)text[at + i]] >= 0;
    for (size_t i = 0; bytes && i < len; i++) token_work_add(w, s->byte_token[(uint8_t)text[at + i]], at + i);
    if (bytes) return;
    add_unknown(s, w, at, len, fuse);
    *after_unknown = s->unknown >= 0;
}

// ---- merging ----

static void scan_ranks(const Run *r, size_t i) {
    TokenWork *w = r->w;
    uint32_t end = i + 2 < w->n_tokens ? w->begin[i + 2] : r->end;
    w->rank[i] = pair_rank(r, w->ids[i], w->ids[i + 1], w->begin[i], end);
}

// Symbols stay packed: a merge moves the tail down by one. Quadratic, but without any bookkeeping.
static void merge_by_scan(const Run *r) {
    TokenWork *w = r->w;
    for (size_t i = r->first; i + 1 < w->n_tokens; i++) scan_ranks(r, i);
    while (w->n_tokens - r->first > 1) {
        size_t best = r->first;
        for (size_t i = best + 1; i + 1 < w->n_tokens; i++)
            if (w->rank[i] < w->rank[best]) best = i;
        if (w->rank[best] == NO_RANK) break;
        uint32_t end = best + 2 < w->n_tokens ? w->begin[best + 2] : r->end;
        w->ids[best] = token_of(r->s, r->text + w->begin[best], end - w->begin[best]);
        size_t tail = w->n_tokens - best - 2;
        memmove(w->ids + best + 1, w->ids + best + 2, tail * sizeof *w->ids);
        memmove(w->begin + best + 1, w->begin + best + 2, tail * sizeof *w->begin);
        memmove(w->rank + best, w->rank + best + 1, tail * sizeof *w->rank);
        w->n_tokens--;
        if (best > r->first) scan_ranks(r, best - 1);
        if (best + 1 < w->n_tokens) scan_ranks(r, best);
    }
}

static uint32_t symbol_end(const Run *r, uint32_t i) {
    return r->w->next[i] == NONE ? r->end : r->w->begin[r->w->next[i]];
}

// The pair of symbol i and its right neighbour gets its present rank, and a place in the heap if it merges.
static void refresh_pair(const Run *r, uint32_t i) {
    TokenWork *w = r->w;
    uint32_t right = w->next[i];
    w->rank[i] = right == NONE ? NO_RANK : pair_rank(r, w->ids[i], w->ids[right], w->begin[i], symbol_end(r, right));
    if (w->rank[i] != NO_RANK) token_heap_push(w, (uint64_t)w->rank[i] << 32 | i);
}

// Symbols are a linked list. An entry of the heap is stale, and skipped, when its pair's rank is no longer the same. (A
// pair that came to the same rank again is as good a candidate as the one that was pushed.)
static void merge_by_heap(const Run *r) {
    TokenWork *w = r->w;
    uint32_t first = (uint32_t)r->first, n = (uint32_t)w->n_tokens;
    w->n_heap = 0;
    for (uint32_t i = first; i < n; i++) {
        w->previous[i] = i == first ? NONE : i - 1;
        w->next[i] = i + 1 == n ? NONE : i + 1;
    }
    for (uint32_t i = first; i < n; i++) refresh_pair(r, i);
    while (w->n_heap > 0) {
        uint64_t top = token_heap_pop(w);
        uint32_t i = (uint32_t)top;
        if (w->rank[i] != (uint32_t)(top >> 32)) continue;
        uint32_t gone = w->next[i];
        w->ids[i] = token_of(r->s, r->text + w->begin[i], symbol_end(r, gone) - w->begin[i]);
        w->rank[gone] = NO_RANK;
        w->next[i] = w->next[gone];
        if (w->next[i] != NONE) w->previous[w->next[i]] = i;
        refresh_pair(r, i);
        if (w->previous[i] != NONE) refresh_pair(r, w->previous[i]);
    }
    size_t kept = first;
    for (uint32_t i = first; i != NONE; i = w->next[i], kept++) {
        w->ids[kept] = w->ids[i];
        w->begin[kept] = w->begin[i];
    }
    w->n_tokens = kept;
}

// The symbols from w->ids[first] on, which end with the text at `end`.
static void merge_run(const Spm *s, TokenWork *w, const char *text, size_t first, size_t end) {
    Run r = {.s = s, .w = w, .text = text, .first = first, .end = (uint32_t)end};
    if (w->n_tokens - first > SCAN_MAX)
        merge_by_heap(&r);
    else if (w->n_tokens - first > 1)
        merge_by_scan(&r);
}

static void spm_tokenize(const void *model, TokenWork *w, const char *text, size_t len) {
    const Spm *s = model;
    token_work_reserve(w, len);
    w->n_tokens = w->left_out = w->unknown = 0;
    size_t first = 0;
    bool after_unknown = false, was_space = true;
    for (size_t i = 0, n; i < len; i += n) {
        n = (size_t)utf8_char_len((uint8_t)text[i]);
        if (n == 0 || n > len - i) n = 1; // an invalid byte is a symbol by itself
        bool space = n == 3 && memcmp(text + i, SPACE, 3) == 0;
        if (s->words && space && !was_space) {
            merge_run(s, w, text, first, i);
            first = w->n_tokens;
        }
        was_space = space;
        add_character(s, w, text, i, n, &after_unknown);
    }
    merge_run(s, w, text, first, len);
}

static const TokenModelKind KIND = {"SPM", spm_tokenize, spm_hash, spm_free};

int spm_new(TokenModel *m, const SpmSource *source, Err *err) {
    int32_t n = vocab_size(source->vocab);
    if (source->n_scores != (size_t)n)
        return err_input(err, "%zu scores; expected %d, one per token", source->n_scores, n);
    if (source->unknown < -1 || source->unknown >= n)
        return err_input(err, "unknown token id %d; expected an id below %d", source->unknown, n);
    for (int32_t id = 0; id < n; id++)
        if (!isfinite(source->scores[id])) return err_input(err, "the score of token %d is not a finite number", id);
    Spm *s = mem_calloc(1, sizeof *s);
    *s = (Spm){.vocab = source->vocab, .rank = mem_alloc((size_t)n, sizeof *s->rank), .unknown = source->unknown};
    vocab_byte_tokens(s->vocab, s->byte_token);
    for (int byte = 0; byte < 256; byte++)
        if (s->byte_token[byte] >= 0 && vocab_type(s->vocab, s->byte_token[byte]) != TOKEN_BYTE)
            s->byte_token[byte] = -1;
    rank_tokens(s, source->scores, n);
    *m = (TokenModel){&KIND, s};
    return 0;
}
