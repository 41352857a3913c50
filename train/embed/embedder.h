// embedder: the vectors of texts, in their order, several to a pass.
#pragma once

#include "text_vectors.h"
#include "tokenizer.h"

typedef struct EmbedderOptions { // all borrowed
    const Model *model;
    const Adapter *adapter; // NULL: the base alone
    Pooling pooling;        // not AUTO
    bool normalize;         // to length 1, after `dims`
    int64_t dims;           // the first numbers of a vector; 0: all
    int64_t limit;          // tokens of a text; longer ones are cut, special tokens stay
    int64_t batch;          // texts of a pass, as long as they have at most EMBEDDER_TOKENS tokens together
    bool parse_special;     // control tokens that are spelled out in texts are tokens
    const char *prompt;     // before each text; NULL: none
} EmbedderOptions;
enum { EMBEDDER_TOKENS = 8192 };

// Takes the vector of the next text. -1: the embedder stops.
typedef int TakeVector(void *user, const char *text, const float *vector, int64_t n, Err *err);

typedef struct Embedder Embedder;
Embedder *embedder_new(const EmbedderOptions *o, TakeVector *take, void *user);
void embedder_free(Embedder *e);
DEFINE_AUTO(Embedder, embedder_free)
int64_t embedder_length(const Embedder *e); // of a vector
// May give earlier vectors to `take`. A text without tokens is refused.
int embedder_add(Embedder *e, const char *text, size_t len, Err *err);
int embedder_finish(Embedder *e, Err *err); // gives the rest
int64_t embedder_cut(const Embedder *e);    // texts that were cut
int64_t embedder_tokens(const Embedder *e); // of all texts so far
