// unigram: SentencePiece's Unigram: of all ways to cut a text into tokens the one with the largest sum of scores (Kudo
// 2018), as Hugging Face tokenizers finds it, whose sums and ties are those of float64 from left to right. Characters
// without a token count as unknown, 10 below the smallest score each; neighbouring ones become one unknown token.
#pragma once

#include "token_model.h"

typedef struct UnigramSource { // borrowed during unigram_new, but for the vocabulary
    const Vocab *vocab;        // must outlive the model
    double *scores;            // of each id, finite; taken over
    int32_t unknown;           // id of the unknown token
    bool byte_fallback;        // unknown text becomes the tokens of its bytes, if all have one
} UnigramSource;

int unigram_new(TokenModel *m, const UnigramSource *source, Err *err);
