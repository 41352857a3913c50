// pretokenize: cuts text into the pieces inside which BPE merges, with the regular expression the model was trained
// with. One table row per GGUF name (tokenizer.ggml.pre); an unknown name is refused, never approximated.
//
// The expressions are run by PCRE2 but mean what they mean in Hugging Face tokenizers: \s is Unicode White_Space (PCRE2
// adds U+180E), \p{L} and \p{N} are those of Unicode 16 (PCRE2 10.42 has Unicode 14).
#pragma once

#include "base.h"

typedef struct Pretokenizer Pretokenizer; // read-only after it was made: one for all threads

// `name` is not NUL-terminated. Unknown: error EXIT_INPUT naming it and the known ones.
int pretokenizer_new(Pretokenizer **p, const char *name, size_t name_len, Err *err);
void pretokenizer_free(Pretokenizer *p);
const char *pretokenizer_name(const Pretokenizer *p);    // the row's own name; aliases give the same one
const char *pretokenizer_pattern(const Pretokenizer *p); // as PCRE2 gets it
bool pretokenizer_nfc(const Pretokenizer *p);            // text is brought to NFC first
bool pretokenizer_whole_words(const Pretokenizer *p);    // a piece that is a token is taken as it is, without merging
bool pretokenizer_adds_bos(const Pretokenizer *p);       // what the family does when the file has no add_bos_token

// The state of one walk over a text; one per thread. Usage: splitter_text, then splitter_next until it returns false.
typedef struct Splitter Splitter;
Splitter *splitter_new(const Pretokenizer *p);
void splitter_free(Splitter *s);
void splitter_text(Splitter *s, const char *text, size_t len); // valid UTF-8, borrowed
bool splitter_next(Splitter *s, size_t *begin, size_t *end);   // the pieces cover the text without gap
