// added_tokens: finds the tokens that are cut out of text as they are written (control and user-defined ones), leftmost
// and longest first, with a trie over bytes.
#pragma once

#include "hash.h"
#include "unicode.h"
#include "vocab.h"

typedef struct AddedTokens AddedTokens; // read-only once all are added

enum { ADDED_TOKEN_MAX = 1024 }; // bytes; bounds the work per byte of text

typedef struct AddedToken {
    JsonStr text; // copied
    int32_t id;
    bool control;
    bool single_word;    // only between characters that are not of a word
    bool lstrip, rstrip; // includes the white space before, after it
} AddedToken;

AddedTokens *added_tokens_new(void);
// Empty or longer than ADDED_TOKEN_MAX: refused.
int added_tokens_add(AddedTokens *a, const AddedToken *token, Err *err);
// The control and user-defined tokens of v.
int added_tokens_add_vocab(AddedTokens *a, const Vocab *v, Err *err);
void added_tokens_free(AddedTokens *a);
void added_tokens_hash(const AddedTokens *a, Fingerprint *f);

typedef struct AddedMatch {
    size_t begin, end;
    int32_t id;
} AddedMatch;

// Which control tokens count: none without `control`, else those with origin 0 on each of their bytes (origin has one
// entry for each byte of the source; NULL: all are 0).
typedef struct AddedRule {
    bool control;
    const uint32_t *origin;
} AddedRule;
// The first added token in view->text[from, len); false when there is none.
bool added_tokens_find(const AddedTokens *a, const TextView *view, size_t from, const AddedRule *rule, AddedMatch *m);
