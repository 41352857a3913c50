// bpe_internal: the inside of the BPE model, shared by bpe.c (which builds it) and bpe_merge.c (which reads it).
//
// The hash table of pairs is open-addressed with linear probing, a power of two in size and at most half full.
#pragma once

#include "bpe.h"

#define NO_RANK UINT32_MAX

typedef struct PairSlot {
    int32_t left, right;
    uint32_t rank; // NO_RANK: free
    int32_t result;
} PairSlot; // 16 bytes: never in two lines of the cache

typedef struct Merge {
    int32_t left, right, result; // -1: left out
} Merge;

enum { JOIN_BITS = 1 << 18 };

typedef struct Bpe {
    const Vocab *vocab;
    int32_t n_merges;
    PairSlot *pair_slots;
    size_t pair_mask;
    int pair_shift;
    Merge *merges; // by rank
    bool chars, whole_words, byte_fallback, fuse_unk;
    int32_t unk;
    int32_t byte_token[256];  // bytes: of each byte; characters: of "<0xNN>"; -1: none
    int32_t ascii_token[128]; // characters below U+0080; -1: none
    // Characters: bit bpe_join_bit(a, b) is set if some merge may join a and b. If it is clear, no token crosses the
    // boundary between a and b, and both sides can be merged independently. NULL: no boundaries are known.
    uint64_t *joins;
} Bpe;

static inline uint32_t bpe_join_bit(uint32_t a, uint32_t b) {
    return (uint32_t)(((uint64_t)a << 32 | b) * 0x9E3779B97F4A7C15u >> 46);
}

// The slot of a pair, or a free one (rank NO_RANK) when the pair does not merge.
static inline const PairSlot *bpe_pair(const Bpe *b, int32_t left, int32_t right) {
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t i = (size_t)((key * 0x9E3779B97F4A7C15u) >> b->pair_shift);
    for (;; i = (i + 1) & b->pair_mask) {
        const PairSlot *s = &b->pair_slots[i];
        if (s->rank == NO_RANK || (s->left == left && s->right == right)) return s;
    }
}
void bpe_tokenize(const void *model, TokenWork *w, const char *text, size_t len);
// Merges the symbols from `base` on: the pair of lowest rank first, the leftmost of equal ones. O(n log n).
void bpe_merge(const Bpe *b, TokenWork *w, size_t base);
