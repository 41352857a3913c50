// gbnf: grammars as llama.cpp writes them. Rules `name ::= ...` of "literals", [classes], ., names, ( ), |, * + ?
// {m} {m,} {m,n}; # comments. The text is what rule root describes. Refused: left recursion, and tokens by name or
// number (<think>, <[1000]>).
#pragma once

#include "grammar.h"

enum { GBNF_MAX = 1 << 20, GBNF_MAX_DEPTH = 64, GBNF_MAX_COUNT = 10000 };

// Not finished yet (grammar_finish).
int gbnf_compile(Grammar **out, JsonStr text, Err *err);
