// tokenizer_same: does one tokenizer give the tokens of another? Tried on texts of many kinds, on each token's own
// text, and around each token that is cut out of text.
#pragma once

#include "tokenizer.h"

// Ids of both are the same tokens; those that `b` does not have are not tried. Refused (ERR_INPUT): a text whose ids
// differ. Tokens whose texts do, or that are cut out of text differently, are warned of.
int tokenizer_check_same(const Tokenizer *a, const Tokenizer *b, Err *err);
