// wordpiece: BERT's vocabulary: the longest token that a word begins with, then the longest that the rest begins with
// after a prefix ("##"), and so on. A word that cannot be made of tokens becomes one unknown token as a whole.
#pragma once

#include "token_model.h"

typedef struct WordPieceSource { // borrowed during wordpiece_new, but for the vocabulary
    const Vocab *vocab;          // must outlive the model
    const char *prefix;          // continuing_subword_prefix, at most 64 bytes
    int64_t max_chars;           // max_input_chars_per_word, 1 to 1000; a longer word is unknown
    int32_t unknown;             // id of the unknown token
} WordPieceSource;

// Refused: an unknown id outside the vocabulary, a prefix or max_chars outside their limits (which bound the work).
int wordpiece_new(TokenModel *m, const WordPieceSource *source, Err *err);
