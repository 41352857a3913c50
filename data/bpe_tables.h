// bpe_tables: the inside of Bpe, shared by bpe.c (which builds it) and bpe_merge.c (which reads it).
//
// Both hash tables are open-addressed with linear probing, a power of two in size and at most half full.
#pragma once

#include "bpe.h"

#define NO_RANK UINT32_MAX
enum { ALPHABET_END = 0x144 }; // one more than the alphabet's last character

typedef struct TokenSlot {
    uint32_t hash;
    int32_t id; // -1: free
} TokenSlot;

typedef struct PairSlot {
    int32_t left, right;
    uint32_t rank; // NO_RANK: free
} PairSlot;

typedef struct Merge {
    int32_t left, right, result;
} Merge;

struct Bpe {
    int32_t n_tokens, n_merges;
    uint8_t *types;
    StrBuf texts, pieces;       // all tokens behind one another: as written, and as bytes
    size_t *text_at, *piece_at; // where token i begins; n_tokens + 1 entries
    TokenSlot *token_slots;     // by text as written
    size_t token_mask;
    PairSlot *pair_slots;
    size_t pair_mask;
    int pair_shift;
    Merge *merges;           // by rank
    int32_t byte_token[256]; // -1: the vocabulary has none
    uint8_t spelling[256][2], spelling_len[256];
    int16_t byte_of[ALPHABET_END]; // -1: not of the alphabet
};

// The slot of a pair, or a free one (rank NO_RANK) when the pair does not merge.
const PairSlot *bpe_pair(const Bpe *b, int32_t left, int32_t right);
// *out becomes the bytes in the file's alphabet.
void bpe_spell(const Bpe *b, const char *bytes, size_t len, StrBuf *out);
