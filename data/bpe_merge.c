// bpe_merge: the merge loop of bpe.h, in two forms with the same result: a scan for the lowest rank in short pre-tokens
// (nearly all are), a heap in long ones.
#include <string.h>

#include "bpe_tables.h"

enum { SCAN_MAX = 32 }; // above this many symbols the heap is faster
#define NONE UINT32_MAX

void bpe_work_clear(BpeWork *w) {
    mem_free(w->ids);
    mem_free(w->begin);
    mem_free(w->rank);
    mem_free(w->next);
    mem_free(w->previous);
    mem_free(w->heap);
    str_clear(&w->spelled);
    *w = (BpeWork){0};
}

static void reserve(BpeWork *w, size_t n) {
    if (n <= w->capacity) return;
    size_t capacity = mem_grown_capacity(w->capacity, n);
    w->ids = mem_realloc(w->ids, capacity, sizeof *w->ids);
    w->begin = mem_realloc(w->begin, capacity, sizeof *w->begin);
    w->rank = mem_realloc(w->rank, capacity, sizeof *w->rank);
    w->next = mem_realloc(w->next, capacity, sizeof *w->next);
    w->previous = mem_realloc(w->previous, capacity, sizeof *w->previous);
    w->capacity = capacity;
}

static uint32_t pair_rank(const Bpe *b, const BpeWork *w, size_t i, size_t j) {
    return bpe_pair(b, w->ids[i], w->ids[j])->rank;
}

// Symbols stay packed: a merge moves the tail down by one. Quadratic, but without any bookkeeping.
static void merge_by_scan(const Bpe *b, BpeWork *w) {
    size_t n = w->n_tokens;
    for (size_t i = 0; i + 1 < n; i++) w->rank[i] = pair_rank(b, w, i, i + 1);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (w->rank[i] < w->rank[best]) best = i;
        if (w->rank[best] == NO_RANK) break;
        w->ids[best] = b->merges[w->rank[best]].result;
        size_t tail = n - best - 2;
        memmove(w->ids + best + 1, w->ids + best + 2, tail * sizeof *w->ids);
        memmove(w->begin + best + 1, w->begin + best + 2, tail * sizeof *w->begin);
        memmove(w->rank + best, w->rank + best + 1, tail * sizeof *w->rank);
        n--;
        if (best > 0) w->rank[best - 1] = pair_rank(b, w, best - 1, best);
        if (best + 1 < n) w->rank[best] = pair_rank(b, w, best, best + 1);
    }
    w->n_tokens = n;
}

static void heap_push(BpeWork *w, uint64_t entry) {
    MEM_GROW(w->heap, w->heap_capacity, w->n_heap + 1);
    size_t i = w->n_heap++;
    for (size_t up; i > 0 && w->heap[up = (i - 1) / 2] > entry; i = up) w->heap[i] = w->heap[up];
    w->heap[i] = entry;
}

static uint64_t heap_pop(BpeWork *w) {
    uint64_t top = w->heap[0], last = w->heap[--w->n_heap];
    size_t i = 0;
    for (size_t down; (down = 2 * i + 1) < w->n_heap; i = down) {
        if (down + 1 < w->n_heap && w->heap[down + 1] < w->heap[down]) down++;
        if (w->heap[down] >= last) break;
        w->heap[i] = w->heap[down];
    }
    w->heap[i] = last;
    return top;
}

// The pair of symbol i and its right neighbour gets its present rank, and a place in the heap if it merges.
static void refresh_pair(const Bpe *b, BpeWork *w, uint32_t i) {
    w->rank[i] = w->next[i] == NONE ? NO_RANK : pair_rank(b, w, i, w->next[i]);
    if (w->rank[i] != NO_RANK) heap_push(w, (uint64_t)w->rank[i] << 32 | i);
}

// Symbols are a linked list. An entry of the heap is stale, and passed over, when its pair's rank is no longer the same
// (equal rank means the same pair, so an entry that fits is right whenever it was pushed).
static void merge_by_heap(const Bpe *b, BpeWork *w) {
    uint32_t n = (uint32_t)w->n_tokens;
    w->n_heap = 0;
    for (uint32_t i = 0; i < n; i++) {
        w->previous[i] = i == 0 ? NONE : i - 1;
        w->next[i] = i + 1 == n ? NONE : i + 1;
    }
    for (uint32_t i = 0; i < n; i++) refresh_pair(b, w, i);
    while (w->n_heap > 0) {
        uint64_t top = heap_pop(w);
        uint32_t i = (uint32_t)top, rank = (uint32_t)(top >> 32);
        if (w->rank[i] != rank) continue;
        uint32_t gone = w->next[i];
        w->ids[i] = b->merges[rank].result;
        w->rank[gone] = NO_RANK;
        w->next[i] = w->next[gone];
        if (w->next[i] != NONE) w->previous[w->next[i]] = i;
        refresh_pair(b, w, i);
        if (w->previous[i] != NONE) refresh_pair(b, w, w->previous[i]);
    }
    size_t kept = 0;
    for (uint32_t i = 0; i != NONE; i = w->next[i], kept++) {
        w->ids[kept] = w->ids[i];
        w->begin[kept] = w->begin[i];
    }
    w->n_tokens = kept;
}

static bool take_whole(const Bpe *b, BpeWork *w, const char *bytes, size_t len) {
    bpe_spell(b, bytes, len, &w->spelled);
    int32_t id = bpe_find(b, w->spelled.data, w->spelled.len);
    if (id < 0 || b->types[id] != TOKEN_NORMAL) return false;
    w->ids[0] = id;
    w->begin[0] = 0;
    w->n_tokens = 1;
    return true;
}

void bpe_encode(const Bpe *b, BpeWork *w, const char *bytes, size_t len, bool whole_words) {
    reserve(w, len);
    w->n_tokens = w->left_out = 0;
    if (whole_words && take_whole(b, w, bytes, len)) return;
    for (size_t i = 0; i < len; i++) {
        int32_t id = b->byte_token[(uint8_t)bytes[i]];
        if (id < 0) {
            w->left_out++;
            continue;
        }
        w->ids[w->n_tokens] = id;
        w->begin[w->n_tokens++] = (uint32_t)i;
    }
    if (w->n_tokens > SCAN_MAX)
        merge_by_heap(b, w);
    else if (w->n_tokens > 1)
        merge_by_scan(b, w);
}
