// added_tokens: finds the tokens that are cut out of text as they are written (control and user-defined ones), longest
// first, with a trie over bytes.
#pragma once

#include "base.h"
#include "bpe.h"

typedef struct AddedTokens AddedTokens; // read-only after it was made

enum { ADDED_TOKEN_MAX = 1024 }; // bytes; bounds the work per byte of text

// The control and user-defined tokens of b. Longer than ADDED_TOKEN_MAX: refused.
int added_tokens_new(AddedTokens **a, const Bpe *b, Err *err);
void added_tokens_free(AddedTokens *a);

// The longest added token that text[at, len) begins with: its id, and its length in *n; -1 when there is none. Control
// tokens count only with `control`, and only where origin (unless NULL) is 0 on each of their bytes.
int32_t added_token_at(const AddedTokens *a, const char *text, size_t len, size_t at, const uint16_t *origin,
                       bool control, size_t *n);
// First position from `at` on where an added token may begin (its first byte fits), len when there is none.
size_t added_token_next(const AddedTokens *a, const char *text, size_t len, size_t at);
