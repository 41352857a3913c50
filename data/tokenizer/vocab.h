// vocab: the tokens of a model: id to text and type, text to id, and the bytes that each token adds to a decoded text.
#pragma once

#include "base.h"
#include "gguf.h"

// The types of tokenizer.ggml.token_type, and one for ids that no token has (files from Hugging Face may have holes).
// Unknown tokens are treated as control tokens; unused ones are never recognised in text.
enum {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 3,
    TOKEN_USER_DEFINED = 4,
    TOKEN_UNUSED = 5,
    TOKEN_BYTE = 6, // "<0x0A>" of byte_fallback
    TOKEN_ABSENT = 7
};

typedef struct VocabSource { // borrowed during vocab_new
    const GgufStr *tokens;   // absent ones are not looked at
    const int32_t *types;    // n_tokens of the above
    size_t n_tokens;
    int32_t last_type; // types 1 to last_type are allowed
} VocabSource;

typedef struct Vocab Vocab; // read-only after it was made

// Refused, naming the token: empty or doubled tokens, text that is not UTF-8, other types, no token at all.
int vocab_new(Vocab **v, const VocabSource *source, Err *err);
void vocab_free(Vocab *v);

int32_t vocab_size(const Vocab *v);
int vocab_type(const Vocab *v, int32_t id);
bool vocab_is_control(const Vocab *v, int32_t id);                // control or unknown
int32_t vocab_find(const Vocab *v, const char *text, size_t len); // the token as the file writes it; -1 when absent
void vocab_make_control(Vocab *v, int32_t id);                    // before it is shared
JsonStr vocab_text(const Vocab *v, int32_t id); // as the file writes it, not NUL-terminated; "" for absent ones
// The byte of a token "<0x0A>", -1 for any other text.
int vocab_byte_of(const char *text, size_t len);
// Ids of "<0x00>" to "<0xFF>"; -1 where there is none.
void vocab_byte_tokens(const Vocab *v, int32_t byte_token[256]);
