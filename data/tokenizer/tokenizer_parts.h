// tokenizer_parts: a Tokenizer as its readers put it together (tokenizer_gguf.c, tokenizer_json.c, ...). Encoding goes
// through the parts in this order: added tokens, normaliser, normalised added tokens, pre-tokeniser, model; decoding
// through the detokenizer alone.
#pragma once

#include "added_tokens.h"
#include "detokenizer.h"
#include "normalize.h"
#include "post_process.h"
#include "pretokenize.h"
#include "token_model.h"
#include "tokenizer.h"

enum { TOKENIZER_ENDS_MAX = 32 };

typedef struct TokenizerParts { // init with {0}, then tokenizer_parts_init
    Vocab *vocab;
    AddedTokens *added;      // searched in the text as it is
    AddedTokens *normalized; // searched in the normalised text; NULL: none
    Normalizer *normalizer;
    Pretokenizer *pre;
    TokenModel model;
    Detokenizer *detokenizer;
    PostProcessor post;
    int32_t bos, eos, pad;            // -1: none
    bool add_bos, add_eos;            // around a single text
    int32_t ends[TOKENIZER_ENDS_MAX]; // tokens that end an answer, eos among them
    int n_ends;
    char *kind;          // "gpt2/smollm"
    char *chat_template; // NULL: none
} TokenizerParts;

void tokenizer_parts_init(
    TokenizerParts *p); // all ids -1, empty normaliser, pre-tokeniser, added tokens and detokenizer
void tokenizer_parts_clear(TokenizerParts *p);               // frees all members
void tokenizer_parts_add_end(TokenizerParts *p, int32_t id); // once each; -1 and what exceeds the table are ignored
// Checks the special ids, finishes the detokenizer and takes the parts, which are cleared also on error. What post has
// no items for becomes the default with bos and eos by their flags.
int tokenizer_assemble(Tokenizer **t, TokenizerParts *p, Err *err);
