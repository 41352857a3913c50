// detokenizer: token ids back to text, by the steps of tokenizer.json's decoder. Each step works on one token, except
// for what is stripped from the beginning of the whole text. So a token adds the same bytes at any place after the
// first.
#pragma once

#include "vocab.h"

typedef enum {
    DETOKENIZE_BYTE_LEVEL,    // the alphabet of byte_alphabet.h back to bytes; added tokens keep their text
    DETOKENIZE_REPLACE,       // the literal .from by .text
    DETOKENIZE_BYTE_FALLBACK, // "<0x0A>" to its byte
    DETOKENIZE_STRIP,         // at most .count spaces at the beginning of each token, or with .whole of the whole text
    DETOKENIZE_METASPACE,     // .from to a space; in the first token, with .whole, to nothing
    DETOKENIZE_WORDPIECE // tokens joined with spaces but for those that begin with .from; .cleanup: English punctuation
} DetokenizerStepKind;

typedef struct DetokenizerStep {
    DetokenizerStepKind kind;
    JsonStr from, text; // copied
    size_t count;
    bool whole, cleanup;
} DetokenizerStep;

typedef struct Detokenizer Detokenizer; // read-only after detokenizer_finish: shared by all threads
Detokenizer *detokenizer_new(void);     // without a step tokens are joined with spaces
void detokenizer_add(Detokenizer *d, const DetokenizerStep *step);
// v must outlive d. Refused: steps that expand the tokens too far.
int detokenizer_finish(Detokenizer *d, const Vocab *v, Err *err);
void detokenizer_free(Detokenizer *d);

// The bytes that a token adds to a text after its first token.
JsonStr detokenizer_piece(const Detokenizer *d, int32_t id); // not NUL-terminated

// One text being decoded; init with {0}.
typedef struct DetokenizerState {
    bool begun;    // a token was added
    bool stripped; // the beginning of the text is past: nothing more is stripped
    size_t n_stripped;
} DetokenizerState;
// Appends the token's bytes.
void detokenizer_add_token(const Detokenizer *d, DetokenizerState *s, int32_t id, StrBuf *out);
