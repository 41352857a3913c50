// mlm: masked language modelling: which tokens of a sample are hidden from the model, which predicts them.
//
// Each token that is no control or unknown token is chosen with `probability`; of a chosen one the model sees the mask
// token (with probability `replaced`), a random token of the vocabulary (`random`) or the token itself, as
// DataCollatorForLanguageModeling of transformers draws them. A sample in which none was chosen hides the token that
// was nearest to it, so that every sample has a scored position. The draws are a pure function of (seed, epoch, sample,
// token): of no packing, batch or rank. Whole words are chosen by their first tokens and hidden by mask tokens alone.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
    MLM_BEGINS = 1,     // in a mask of supervised tokens: may be hidden
    MLM_CONTINUES = 2,  // whole words: hidden with the token before it
    MLM_EVALUATION = -1 // as an epoch: the draws of evaluation, the same at any time
};

typedef struct MlmRule {
    float probability; // 0: no masked language modelling
    float replaced, random;
    bool words;
    uint64_t seed;
    int32_t mask_token, vocab;
} MlmRule;

struct Sample;
typedef struct MlmMasks { // where a sample's masks are written to
    int32_t *ids;         // [count] what the model sees; the caller has put the sample's ids there
    int32_t *position;    // [hidden] places in the sample, ascending
    int32_t *target;      // [hidden] the tokens there
} MlmMasks;
// Returns the number of hidden tokens. sample: index of s in its data set; out NULL: they are only counted.
int64_t mlm_mask(const MlmRule *r, const struct Sample *s, int64_t sample, int64_t epoch, const MlmMasks *out);

// The number of hidden tokens of several samples, as a distribution.
typedef struct MlmLoad { // init with {0}
    double mean, variance;
    int64_t samples, maskable;
} MlmLoad;
// s: NULL without whole words, where the number of maskable tokens is enough.
void mlm_load_add(MlmLoad *l, const MlmRule *r, const struct Sample *s, int64_t maskable);
int64_t mlm_load_most(const MlmLoad *l); // exceeded once in 10^9
