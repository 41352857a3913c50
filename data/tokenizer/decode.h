// decode: token ids back to text, by the steps of tokenizer.json's decoder. Every step works on one token, but for what
// is taken from the beginning of the whole text, so a token adds the same bytes wherever it stands behind the first.
#pragma once

#include "vocab.h"

typedef enum {
    DECODE_BYTE_LEVEL,    // the alphabet of byte_alphabet.h back to bytes; added tokens stand for their own text
    DECODE_REPLACE,       // the literal .from by .text
    DECODE_BYTE_FALLBACK, // "<0x0A>" to its byte
    DECODE_STRIP,         // at most .count spaces at the beginning of each token, or with .whole of the whole text
    DECODE_METASPACE,     // .from to a space; in the first token, with .whole, to nothing
    DECODE_WORDPIECE // tokens joined with spaces but for those that begin with .from; .cleanup: English punctuation
} DecodeKind;

typedef struct DecodeStep {
    DecodeKind kind;
    const char *from, *text; // copied
    size_t from_len, text_len;
    size_t count;
    bool whole, cleanup;
} DecodeStep;

typedef struct Decoder Decoder; // read-only after decoder_finish: one for all threads
Decoder *decoder_new(void);     // without a step tokens are joined with spaces
void decoder_add(Decoder *d, const DecodeStep *step);
// v must outlive d. Refused: steps that blow the tokens up.
int decoder_finish(Decoder *d, const Vocab *v, Err *err);
void decoder_free(Decoder *d);

// The bytes that a token adds to a text that has begun already.
const char *decoder_piece(const Decoder *d, int32_t id, size_t *len);

// One text being decoded; init with {0}.
typedef struct DecodeState {
    bool begun;    // a token was added
    bool stripped; // what is taken from the beginning has been taken
    size_t n_stripped;
} DecodeState;
// Appends the token's bytes.
void decoder_add_token(const Decoder *d, DecodeState *s, int32_t id, StrBuf *out);
