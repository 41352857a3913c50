// constraint: which tokens may follow a text so that the whole becomes one that a schema, regular expression or grammar
// describes. What texts a schema describes, and its white space: schema.h.
//
// A constraint remembers what it has computed: all texts of one are computed by one thread.
#pragma once

#include "matcher.h"
#include "token_trie.h"

typedef enum {
    CONSTRAINT_SCHEMA, // a JSON schema
    CONSTRAINT_REGEX,  // a regular expression that matches the whole text
    CONSTRAINT_GRAMMAR // GBNF
} ConstraintKind;

typedef struct Constraint Constraint;
// tokens must outlive it; NULL: constraint_accepts alone is called. ERR_INPUT: what the text asks for and is not
// supported, by name.
int constraint_new(Constraint **c, const TokenTrie *tokens, ConstraintKind kind, JsonStr text, Err *err);
void constraint_free(Constraint *c);
DEFINE_AUTO(Constraint, constraint_free)

typedef struct ConstraintText { // init with {0}; stays where it is while it is in use
    MatcherPlace place;
    bool begun;
} ConstraintText;
void constraint_begin(Constraint *c, ConstraintText *t); // the empty text
void constraint_end(ConstraintText *t);

bool constraint_complete(const Constraint *c, const ConstraintText *t); // the text may end here
bool constraint_allows(Constraint *c, const ConstraintText *t, int32_t id);
// Bit id % 64 of word id / 64: whether the token may follow. Valid until the next call.
const uint64_t *constraint_mask(Constraint *c, const ConstraintText *t);
void constraint_add(Constraint *c, ConstraintText *t, int32_t id); // a token that is allowed
bool constraint_accepts(Constraint *c, JsonStr text);              // a whole text
size_t constraint_words(const Constraint *c);                      // of a mask
// It is too ambiguous for limited time and memory: what it said last, and says from now on, may be wrong.
bool constraint_gave_up(const Constraint *c);
