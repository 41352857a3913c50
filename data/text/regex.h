// regex: the regular expressions of tokenizer.json, run by PCRE2 but meaning what they mean in Hugging Face tokenizers
// (Oniguruma with Unicode 16): \s is White_Space (PCRE2 adds U+180E), \p{L} and \p{N} know the characters that came
// after PCRE2's tables.
#pragma once

#include "base.h"

typedef struct Regex Regex; // read-only after it was made: one for all threads

// `pattern` is translated (see regex.c) and compiled. Refused: what does not compile, what has no translation (verbs
// like (*NO_JIT), recursion, callouts, ...), longer than 4096 bytes or compiled to more than 256 KB.
int regex_new(Regex **r, const char *pattern, size_t len, Err *err);
void regex_free(Regex *r);
const char *regex_pattern(const Regex *r); // as PCRE2 gets it

// Matches of one walk over a text; one per thread. Init with {0}, regex_walk_clear frees.
typedef struct RegexWalk {
    void *data, *context; // of PCRE2
    const Regex *regex;
    const char *text;
    size_t len, at;
    bool failed; // a match ran into the limit, which bounds hostile expressions
} RegexWalk;
void regex_walk_begin(RegexWalk *w, const Regex *r, const char *text, size_t len); // valid UTF-8, borrowed
// The next match that is not empty; false when there is none (or failed was set: the rest has no more matches).
bool regex_walk_next(RegexWalk *w, size_t *begin, size_t *end);
void regex_walk_clear(RegexWalk *w);
