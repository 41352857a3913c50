// token_model: what turns one pre-token into ids; the interface between tokenizer.c and the vocabularies' algorithms
// (bpe.h, ...). A model is read-only after it was made and shared by all threads; mutable state is in TokenWork.
#pragma once

#include "hash.h"
#include "vocab.h"

// Result and work space of one thread, reused from call to call; init with {0}.
typedef struct TokenWork {
    int32_t *ids;    // result: n_tokens ids
    uint32_t *begin; // result: where each token begins in the pre-token; never decreasing
    size_t n_tokens;
    size_t left_out; // result: bytes that became no token
    size_t unknown;  // result: bytes that became the unknown token
    // Scratch of merging models: rank of the pair that begins here; the neighbours still alive; a heap of
    // (rank, position), smallest first; the pre-token in another spelling.
    uint32_t *rank, *next, *previous;
    size_t capacity;
    double *score; // of score_capacity symbols
    size_t score_capacity;
    uint64_t *heap;
    size_t n_heap, heap_capacity;
    StrBuf spelled;
} TokenWork;
void token_work_reserve(TokenWork *w, size_t n); // room for n symbols in ids, begin, rank, next and previous
void token_work_reserve_scores(TokenWork *w);    // for as many symbols
static inline void token_work_add(TokenWork *w, int32_t id, size_t begin) { // within the reserved room
    w->ids[w->n_tokens] = id;
    w->begin[w->n_tokens++] = (uint32_t)begin;
}
// text[at, at + n) as the tokens of its bytes (-1: none); false, and nothing added, unless all have one.
bool token_work_add_bytes(TokenWork *w, const int32_t byte_token[256], const char *text, size_t at, size_t n);
// n bytes without a token: the unknown token (-1: none, they are left out), unless it continues (`fuse`) the one
// before.
void token_work_add_unknown(TokenWork *w, int32_t unknown, size_t at, size_t n, bool fuse);
void token_work_clear(TokenWork *w);
void token_heap_push(TokenWork *w, uint64_t entry);
uint64_t token_heap_pop(TokenWork *w); // the smallest

typedef struct TokenModelKind {
    const char *name; // "BPE"
    // Sets the results for text[0, len), len > 0: normalised, without added tokens. Nearly always valid UTF-8; an
    // invalid byte is a pre-token by itself. Time O(len log len); never a control token.
    void (*tokenize)(const void *model, TokenWork *w, const char *text, size_t len);
    void (*hash)(const void *model, Fingerprint *f); // everything that changes ids, but for the vocabulary
    void (*free)(void *model);
} TokenModelKind;

typedef struct TokenModel {
    const TokenModelKind *kind; // NULL: none
    void *data;
} TokenModel;
