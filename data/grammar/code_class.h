// code_class: a set of characters while it is read: of brackets in regular expressions and grammars.
#pragma once

#include "byte_nfa.h"

typedef struct CodeClass { // init with {0}
    CodeRange *ranges;
    size_t count, capacity;
    bool negated;
} CodeClass;
void code_class_clear(CodeClass *c);
void code_class_add(CodeClass *c, uint32_t lo, uint32_t hi);
void code_class_add_named(CodeClass *c, char name); // one of dDwWsS, of ASCII
void code_class_add_line_ends(CodeClass *c);        // what the . of a regular expression leaves out
void code_class_finish(CodeClass *c);               // sorted, joined; negated: the others

bool code_hex(const char *text, int digits, uint32_t *c); // false: no digits
