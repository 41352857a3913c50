// regex: regular expressions of other programs, run by PCRE2 but meaning what they mean there. What has no translation
// is refused.
#pragma once

#include "base.h"

// ---- of tokenizer.json ----

// As in Hugging Face tokenizers (Oniguruma with Unicode 16): \s is White_Space (PCRE2 adds U+180E), \p{L} and \p{N}
// know the characters that came after PCRE2's tables.
typedef struct Regex Regex; // read-only after it was made: one for all threads

// `pattern` is translated (see regex.c) and compiled. Refused: what does not compile, what has no translation (verbs
// like (*NO_JIT), recursion, callouts, ...), longer than 4096 bytes or compiled to more than 256 KB.
int regex_new(Regex **r, const char *pattern, size_t len, Err *err);
void regex_free(Regex *r);
DEFINE_AUTO(Regex, regex_free)
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

// ---- of Python's re module, as PEFT's configs hold them; for short texts of ASCII (names of modules) ----

typedef struct PyRegex PyRegex;

// `pattern`, NUL-terminated; whole: re.fullmatch, else re.match.
int pyregex_new(PyRegex **r, const char *pattern, bool whole, Err *err);
void pyregex_free(PyRegex *r); // NULL is allowed
// 1: text matches; 0: it does not; -1: ERR_INPUT, the match takes too many steps. *number (may be NULL): the digits of
// the group called "idx", -1 where it has none or too many of them.
int pyregex_match(const PyRegex *r, const char *text, int64_t *number, Err *err);
