// decode_batch: continuous batching. Requests of any adapters share the runs of one DecodeEngine; one that ends leaves
// its slot to the next, which computes only what the slot's cache does not hold yet.
//
// Sampling is counter-based: token n is a pure function of (seed, index, n, logits).
#pragma once

#include "generate.h"

typedef struct DecodeRequest { // all is borrowed until the request ends
    const Adapter *adapter;    // NULL: the base model
    GeneratePrompt prompt;
    const GenerateOptions *how; // on_token gets `index`; `batch` is not used
    int64_t index;
    Generation *answer; // cleared, then filled
} DecodeRequest;

// NOT_FINITE: a logit was NaN; DEAD_END: no token of the vocabulary continues the answer as its constraint demands;
// GAVE_UP: the constraint is too ambiguous. The
// answer ends before it.
typedef enum {
    DECODE_FREE,
    DECODE_RUNNING,
    DECODE_ENDED,
    DECODE_NOT_FINITE,
    DECODE_DEAD_END,
    DECODE_GAVE_UP
} DecodeState;
const char *decode_fault(DecodeState s); // what went wrong; NULL: it has ended well, or not yet

typedef struct DecodeBatch DecodeBatch;
// `slots` requests at once, each of at most `capacity` tokens.
DecodeBatch *decode_batch_new(const Model *m, int64_t slots, int64_t capacity);
void decode_batch_free(DecodeBatch *b);
// Bytes that it takes on the device besides the model, with up to `adapters` of them at once.
size_t decode_batch_bytes(const Model *m, int64_t slots, int64_t capacity, int64_t adapters);

// Refuses (ERR_INPUT) what the model, the capacity or the options do not allow.
int decode_request_check(const Model *m, const DecodeRequest *r, int64_t capacity, Err *err);
// A request that was checked. CHECKs that a slot is free; returns the one that it takes.
int64_t decode_batch_add(DecodeBatch *b, const DecodeRequest *r);
// One run of all that are RUNNING: each gets one token, or a part of its prompt is computed.
void decode_batch_step(DecodeBatch *b);
// The last three hold until the slot is released. To release one that runs cancels it.
DecodeState decode_batch_state(const DecodeBatch *b, int64_t slot);
void decode_batch_release(DecodeBatch *b, int64_t slot);
// Caches of this adapter are not used again: before it is freed, because the next one may have the same address.
void decode_batch_forget(DecodeBatch *b, const Adapter *a);
