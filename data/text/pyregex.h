// pyregex: regular expressions of Python's re module, as PEFT's configs hold them, run by PCRE2. For short texts of
// ASCII (names of modules). What Python does not know is refused, and so is what PCRE2 would take for something else.
#pragma once

#include "base.h"

typedef struct PyRegex PyRegex;

// `pattern`, NUL-terminated; whole: re.fullmatch, else re.match.
int pyregex_new(PyRegex **r, const char *pattern, bool whole, Err *err);
void pyregex_free(PyRegex *r); // NULL is allowed
// 1: text matches; 0: it does not; -1: ERR_INPUT, the match takes too many steps. *number (may be NULL): the digits of
// the group called "idx", -1 where it has none or too many of them.
int pyregex_match(const PyRegex *r, const char *text, int64_t *number, Err *err);
