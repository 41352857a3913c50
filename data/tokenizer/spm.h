// spm: the merging of a SentencePiece BPE vocabulary with scores (tokenizer.ggml.model "llama": Llama 2, TinyLlama,
// Mistral, Yi, Phi-3, Gemma). There is no list of merges: two neighbours merge when their texts together are a token,
// the token of highest score first, the leftmost of equal ones.
//
// Symbols begin as characters. One without a token becomes the byte tokens "<0x00>" ... of its bytes if the vocabulary
// has all of them, else the unknown token (a run of them is one token); neither merges, as in Hugging Face tokenizers.
// Hugging Face's conversions list merges with a rank instead of a score: two derivations of one token then have
// different ranks, where here the leftmost wins. The results can differ only for a token that overlaps itself; the only
// known case is spaces: a run of more than 31 spaces in Gemma, which SentencePiece and llama.cpp cut into 31 and the
// rest.
#pragma once

#include "token_model.h"

typedef struct SpmSource { // borrowed during spm_new, but for the vocabulary
    const Vocab *vocab;    // must outlive the model; only its normal tokens are made of text
    const float *scores;
    size_t n_scores;
    int32_t unknown; // id of the unknown token, -1: none (what has no token is then left out and counted)
} SpmSource;

// Refused: scores that are not finite, another number of scores than of tokens, an unknown id outside the vocabulary.
int spm_new(TokenModel *m, const SpmSource *source, Err *err);
