// token_stream: generated tokens as text while they come. Only complete UTF-8 characters are appended; an incomplete
// one waits in the state. Control tokens are left out. Bytes that cannot become a character turn into U+FFFD, one for
// each longest beginning of a character, so that the output is always valid UTF-8.
#pragma once

#include "tokenizer.h"

typedef struct TokenStream { // init with {0}
    uint8_t pending[4];
    int n_pending;
    DetokenizerState state;
} TokenStream;
void token_stream_add(TokenStream *s, const Tokenizer *t, int32_t id, StrBuf *out);
void token_stream_end(TokenStream *s, StrBuf *out); // an incomplete character becomes U+FFFD
