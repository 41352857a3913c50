// grammar: a set of texts as rules of a stack machine over bytes. pattern.h, schema.h and gbnf.h write them, matcher.h
// runs them.
//
// An instruction has a number (pc) and, but for members and RETURN, a `next`. Rules and key programs end with RETURN.
// Instructions are added from the last to the first, or `next` is set later.
#pragma once

#include "byte_dfa.h"

enum { GRAMMAR_MAX_INSTRUCTIONS = 1 << 18, GRAMMAR_MAX_DFA_BYTES = 64 << 20, GRAMMAR_MAX_MEMBERS = 63 };
#define GRAMMAR_NONE UINT32_MAX
#define GRAMMAR_RETURN 0u // the pc of a RETURN

typedef enum {
    OP_RETURN,
    OP_DFA,    // a text of dfa `a`
    OP_RUN,    // min to max texts of dfa `a`, none of which begins another one
    OP_EITHER, // one of the targets [a, a + n), and then that one's next
    OP_CALL,   // rule `a`
    OP_LOOP,   // min to max times the program at pc `a`
    OP_FIRST,  // of members `a`: after the opening bracket
    OP_NEXT,   // after a member
    OP_MEMBER  // where one begins
} GrammarOp;

typedef struct GrammarInstruction {
    GrammarOp op;
    bool json_text; // OP_RUN: of the characters between the quotes of a string of JSON
    uint32_t next, a, n;
    int64_t min, max; // max -1: no limit
} GrammarInstruction;

// What stands between brackets: of an object in any order, of an array one after the other.
typedef struct GrammarMembers {
    bool object;
    uint32_t first, next, member; // pcs of its OP_FIRST, OP_NEXT, OP_MEMBER
    uint32_t close, comma, space; // programs
    uint32_t *items;              // [n] programs: key and value, or item i
    uint32_t n, other;            // other: of further ones; GRAMMAR_NONE: there are none
    uint64_t required;            // object: bit i for items[i]
    int64_t min, max;             // array
    uint64_t possible;            // object: items that some text fits
} GrammarMembers;

typedef struct GrammarRule {
    uint32_t start; // pc; GRAMMAR_NONE: not defined yet
    char *name;     // for messages; NULL: none
} GrammarRule;

typedef struct Grammar { // read-only after grammar_finish
    GrammarInstruction *code;
    uint32_t *targets;
    GrammarRule *rules;
    GrammarMembers *members;
    ByteDfa **dfas;
    size_t n_code, n_targets, n_rules, n_members, n_dfas;
    size_t code_capacity, targets_capacity, rules_capacity, members_capacity, dfas_capacity;
    size_t dfa_bytes;
    bool full;      // more than it may hold: what was added is lost
    bool *possible; // [n_code] whether some text leads from here to the end of the rule
    bool *nullable; // [n_code] whether the empty text does
} Grammar;

Grammar *grammar_new(void);
void grammar_free(Grammar *g);
DEFINE_AUTO(Grammar, grammar_free)
#define AUTO_GRAMMAR AUTO(grammar_free)

uint32_t grammar_add(Grammar *g, GrammarInstruction i);
uint32_t grammar_add_dfa(Grammar *g, ByteDfa *d); // takes it; returns its number
uint32_t grammar_add_rule(Grammar *g, const char *name);
// The program that accepts what one of the programs accepts, each of which ends with RETURN or goes on by itself.
uint32_t grammar_either(Grammar *g, const uint32_t *targets, size_t n);
uint32_t grammar_dfa(Grammar *g, uint32_t dfa, uint32_t next);
uint32_t grammar_call(Grammar *g, uint32_t rule, uint32_t next);
// Takes m.items; sets first, next and member. Returns the pc of OP_FIRST.
uint32_t grammar_add_members(Grammar *g, GrammarMembers m);

// Once all rules are defined; rule 0 is the whole text. Refused: too large, a rule that calls itself before it has read
// anything, no text at all.
int grammar_finish(Grammar *g, Err *err);

static inline bool members_may_close(const GrammarMembers *m, uint64_t data) {
    return m->object ? !(m->required & ~data) : (int64_t)data >= m->min;
}
// The program of member `data` of an array; GRAMMAR_NONE: there may be none.
static inline uint32_t members_item(const GrammarMembers *m, uint64_t data) {
    if (m->max >= 0 && (int64_t)data >= m->max) return GRAMMAR_NONE;
    return data < m->n ? m->items[data] : m->other;
}
