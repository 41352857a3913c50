// generate: text from a model with a KV cache, several prompts at once.
//
// Greedy equals the arg max of the full forward pass. Sampling is counter-based: token n of prompt p is a pure function
// of (seed, p, n, logits). A sequence that ends frees its slot for the next prompt.
#pragma once

#include "adapter.h"
#include "constraint.h"
#include "model.h"

typedef struct GenerateOptions {
    int64_t max_new_tokens;
    float temperature; // 0: greedy
    float top_p;       // 1: off
    uint64_t seed;
    int64_t batch;       // sequences at once
    const int32_t *stop; // ids that end a sequence (not part of the answer)
    size_t n_stop;
    Constraint *constraint; // of every answer: it ends where it is complete only. NULL: none
    // Called after every new token with the index of the prompt; nonzero ends this sequence. NULL: not called.
    int (*on_token)(void *user, int64_t prompt, int32_t id);
    void *user;
} GenerateOptions;

typedef struct GeneratePrompt { // borrowed
    const int32_t *ids;
    int64_t count;
} GeneratePrompt;

typedef struct Generation { // one answer; init with {0}, generation_clear frees
    int32_t *ids;
    int64_t count;
    bool stopped;  // by a stop token rather than by max_new_tokens or the context's end
    bool complete; // it is a text that the constraint describes
} Generation;
void generation_clear(Generation *g);

// One answer for each of n prompts. An empty prompt or one longer than the context: ERR_INPUT.
int generate(const Model *m, const Adapter *adapter, const GeneratePrompt *prompts, int64_t n, const GenerateOptions *o,
             Generation *answers, Err *err);
// Bytes that it takes on the device besides the model: `sequences` at once, of at most `capacity` tokens each.
size_t generate_bytes(const Model *m, int64_t sequences, int64_t capacity);

// The ids at which a model stops: its EOS, other end tokens of its vocabulary, the chat template's end of turn (-1:
// none). The caller frees.
int32_t *generate_stop_ids(const Model *m, int32_t end_of_turn, size_t *count);

// A session keeps the KV cache between turns (chat) and computes only new tokens. Another adapter than before drops the
// cache; nothing is reloaded.
typedef struct GenerateSession GenerateSession;
GenerateSession *generate_session_new(const Model *m, int64_t capacity);
void generate_session_free(GenerateSession *s);
// Drops the cache of an adapter: before it is freed, because the next one may have the same address.
void generate_session_forget(GenerateSession *s, const Adapter *a);
int generate_session_run(GenerateSession *s, const Adapter *adapter, GeneratePrompt prompt, const GenerateOptions *o,
                         Generation *answer, Err *err);
