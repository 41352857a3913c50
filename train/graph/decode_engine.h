// decode_engine: the KV cache of several sequences, and runs of new tokens over it. The caller (generate.c) chooses the
// tokens and uses the logits.
#pragma once

#include "adapter.h"

typedef struct DecodeEngine DecodeEngine;

// New tokens of one sequence, after the `past` tokens that are in the cache.
typedef struct DecodePiece {
    const Adapter *adapter; // NULL: the base model
    int64_t sequence, past, count;
    int64_t length;     // of the sequence with the rest of its prompt (rope_is_by_length)
    const int32_t *ids; // [count]
} DecodePiece;

// Cache rows are touched only when used. max_tokens: of all pieces of one run together.
DecodeEngine *decode_engine_new(const Model *m, int64_t sequences, int64_t capacity, int64_t max_tokens);
void decode_engine_free(DecodeEngine *e);
// Bytes that such an engine allocates on the device for runs of at most `rows` adapters at once; computes nothing.
size_t decode_engine_bytes(const Model *m, int64_t sequences, int64_t capacity, int64_t max_tokens, int64_t rows);

// Computes the pieces, at most one for each sequence; neighbours with the same adapter are one packed row, and all
// share the products with weights of the base. Row i of the logits is that of the last token of piece i, until the next
// run.
void decode_engine_run(DecodeEngine *e, const DecodePiece *pieces, int64_t n);
// best[i]: arg max of row i, -1 where a logit is NaN.
void decode_engine_argmax(DecodeEngine *e, int32_t *best);
void decode_engine_logits(DecodeEngine *e, int64_t i, float *logits); // [vocab], host memory
