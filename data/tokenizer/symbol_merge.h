// symbol_merge: the merge loop that BPE and SentencePiece BPE share: the pair of neighbours of lowest rank first, the
// leftmost of equal ones, until no pair merges. Two forms with the same result: a scan for the lowest rank in short
// words (nearly all are), a heap in long ones, O(n log n).
//
// Inlined into each model, with its two functions: a call for each pair would be most of the time.
#pragma once

#include <string.h>

#include "token_model.h"

#define NO_RANK UINT32_MAX // of a pair that does not merge

typedef struct MergeRule {
    // Of the neighbours i and j of w, which begin at w->begin[i] and end before byte `end` of the pre-token.
    uint32_t (*rank)(const void *model, const TokenWork *w, size_t i, size_t j, uint32_t end);
    int32_t (*result)(const void *model, const TokenWork *w, size_t i, uint32_t end); // w->rank[i] is its rank
    const void *model;
    uint32_t end; // of the last symbol
} MergeRule;

#define ALWAYS_INLINE static inline __attribute__((always_inline))

// The packed symbol i with its right neighbour.
ALWAYS_INLINE uint32_t packed_end(const MergeRule *m, const TokenWork *w, size_t i) {
    return i + 2 < w->n_tokens ? w->begin[i + 2] : m->end;
}

// Symbols stay packed: a merge moves the tail down by one. Quadratic, but without any bookkeeping.
ALWAYS_INLINE void merge_by_scan(const MergeRule *m, TokenWork *w, size_t first) {
    for (size_t i = first; i + 1 < w->n_tokens; i++) w->rank[i] = m->rank(m->model, w, i, i + 1, packed_end(m, w, i));
    while (w->n_tokens - first > 1) {
        size_t best = first;
        for (size_t i = best + 1; i + 1 < w->n_tokens; i++)
            if (w->rank[i] < w->rank[best]) best = i;
        if (w->rank[best] == NO_RANK) break;
        w->ids[best] = m->result(m->model, w, best, packed_end(m, w, best));
        size_t tail = w->n_tokens - best - 2;
        memmove(w->ids + best + 1, w->ids + best + 2, tail * sizeof *w->ids);
        memmove(w->begin + best + 1, w->begin + best + 2, tail * sizeof *w->begin);
        memmove(w->rank + best, w->rank + best + 1, tail * sizeof *w->rank);
        w->n_tokens--;
        for (size_t i = best > first ? best - 1 : best; i <= best && i + 1 < w->n_tokens; i++)
            w->rank[i] = m->rank(m->model, w, i, i + 1, packed_end(m, w, i));
    }
}

#define NO_SYMBOL UINT32_MAX

ALWAYS_INLINE uint32_t linked_end(const MergeRule *m, const TokenWork *w, uint32_t i) {
    return w->next[i] == NO_SYMBOL ? m->end : w->begin[w->next[i]];
}

// The pair of symbol i and its right neighbour gets its present rank, and a place in the heap if it merges.
ALWAYS_INLINE void refresh_pair(const MergeRule *m, TokenWork *w, uint32_t i) {
    uint32_t right = w->next[i];
    w->rank[i] = right == NO_SYMBOL ? NO_RANK : m->rank(m->model, w, i, right, linked_end(m, w, right));
    if (w->rank[i] != NO_RANK) token_heap_push(w, (uint64_t)w->rank[i] << 32 | i);
}

// Symbols are a linked list. An entry of the heap is stale, and skipped, when its pair's rank is no longer the same. (A
// pair that came to the same rank again is as good a candidate as the one that was pushed.)
ALWAYS_INLINE void merge_by_heap(const MergeRule *m, TokenWork *w, uint32_t first) {
    uint32_t n = (uint32_t)w->n_tokens;
    w->n_heap = 0;
    for (uint32_t i = first; i < n; i++) {
        w->previous[i] = i == first ? NO_SYMBOL : i - 1;
        w->next[i] = i + 1 == n ? NO_SYMBOL : i + 1;
    }
    for (uint32_t i = first; i < n; i++) refresh_pair(m, w, i);
    while (w->n_heap > 0) {
        uint64_t top = token_heap_pop(w);
        uint32_t i = (uint32_t)top, gone = w->next[i];
        if (w->rank[i] != (uint32_t)(top >> 32)) continue;
        w->ids[i] = m->result(m->model, w, i, linked_end(m, w, gone));
        w->rank[gone] = NO_RANK;
        w->next[i] = w->next[gone];
        if (w->next[i] != NO_SYMBOL) w->previous[w->next[i]] = i;
        refresh_pair(m, w, i);
        if (w->previous[i] != NO_SYMBOL) refresh_pair(m, w, w->previous[i]);
    }
    w->n_tokens = first;
    for (uint32_t i = first; i != NO_SYMBOL; i = w->next[i]) token_work_add(w, w->ids[i], w->begin[i]);
}

// Merges the symbols w->ids[first, n_tokens).
ALWAYS_INLINE void merge_symbols(const MergeRule *m, TokenWork *w, size_t first) {
    enum { SCAN_MAX = 32 }; // above this many symbols the heap is faster
    if (w->n_tokens - first > SCAN_MAX)
        merge_by_heap(m, w, (uint32_t)first);
    else if (w->n_tokens - first > 1)
        merge_by_scan(m, w, first);
}
