// pattern: regular expressions as automata: the part of the syntax of ECMAScript, Python and PCRE that describes
// regular languages and means the same in all three.
//
// Characters; . (any but line ends); [a-z], [^...]; \d \w \s \D \W \S (of ASCII); \n \t \r \f \v \xHH \uHHHH and
// escaped punctuation; ( ), (?: ), (?<name> ), (?P<name> ); |; * + ? {m} {m,} {m,n}, also lazy, which accepts the same
// texts; ^ and $ at the ends of the whole or of one of its alternatives. Refused by name: look-around, back-references,
// \b, \p, flags, possessive quantifiers, sets in brackets, ^ and $ elsewhere.
#pragma once

#include "byte_dfa.h"

enum { PATTERN_MAX = 1 << 14, PATTERN_MAX_DEPTH = 64, PATTERN_MAX_COUNT = 10000 };

// whole: of the texts that it matches; else of those that it is found in, as JSON schema's "pattern". The message names
// the pattern.
int pattern_compile(ByteDfa **out, const char *pattern, size_t len, bool whole, Err *err);
