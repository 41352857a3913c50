// tokenizer_internal: the inside of Tokenizer, for tokenizer.c and tokenizer_encode.c.
#pragma once

#include "tokenizer_parts.h"

struct Tokenizer {
    TokenizerParts p;
    char fingerprint[33];
};
