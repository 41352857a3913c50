// tokenizer_parts: the parts of a Tokenizer, and how its readers (data/tokenizer_files) put them together.
#pragma once

#include "added_tokens.h"
#include "normalize.h"
#include "pretokenize.h"
#include "tokenizer.h"

// All ids -1, empty normaliser, pre-tokeniser, added tokens and detokenizer.
Tokenizer *tokenizer_begin(void);
void tokenizer_add_end(Tokenizer *t, int32_t id); // once each; -1 and what exceeds the table are ignored
// The token right before (first true) or after the single text in `post`, -1: none.
int32_t tokenizer_edge(const Tokenizer *t, bool first);
// Checks the special ids and completes the detokenizer. A `post` without items becomes [bos] A [eos], and for pairs
// [bos] A [eos] [bos] B [eos], by the flags.
int tokenizer_finish(Tokenizer *t, Err *err);
