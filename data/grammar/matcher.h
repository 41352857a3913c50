// matcher: a grammar run over bytes. Where it may be is a set of stacks (of pcs with their counters); sets are numbered
// and the ways between them remembered, so that it becomes a deterministic automaton as far as texts need it.
#pragma once

#include "grammar.h"
#include "intern.h"

enum { MATCHER_DEAD = 0 }; // the set that no text leads out of

typedef struct MatcherNode { // the top of a stack
    uint32_t pc, parent;     // MATCHER_BOTTOM: the end of the text
    uint64_t data;           // OP_DFA: its state; OP_RUN: see below; loops and members: what was read
} MatcherNode;
#define MATCHER_BOTTOM UINT32_MAX

static inline uint64_t run_count(uint64_t data) { return data >> 20; }
static inline uint32_t run_state(uint64_t data) { return (uint32_t)(data & 0xFFFFF); }

typedef struct MatcherSet { // borrowed until the next step
    bool accepting;
    const uint32_t *nodes; // those that wait for a byte
    size_t count;
} MatcherSet;

// A place in a text that stays valid when the matcher forgets what it does not need.
typedef struct MatcherPlace {
    uint32_t set;
    struct MatcherPlace *next, **link;
} MatcherPlace;

typedef struct Matcher Matcher;
Matcher *matcher_new(const Grammar *g); // g must outlive it
void matcher_free(Matcher *m);
void matcher_begin(Matcher *m, MatcherPlace *p); // before a text; p stays where it is until matcher_end
void matcher_end(MatcherPlace *p);               // p all 0: nothing
// Forgets what no place needs where it has grown beyond a limit; all sets but those of places are invalid then. True:
// it did.
bool matcher_trim(Matcher *m);

uint32_t matcher_step(Matcher *m, uint32_t set, uint8_t byte);
MatcherSet matcher_set(const Matcher *m, uint32_t set);
MatcherNode matcher_node(const Matcher *m, uint32_t node);
uint32_t matcher_add_set(Matcher *m, bool accepting, uint32_t *nodes, size_t count); // sorts the nodes
// Something of the owner's for each set: NULL at first; freed with the set.
uint64_t **matcher_note(Matcher *m, uint32_t set, size_t bytes); // bytes: that it will have
// The steps until the next call take a limited time and memory.
void matcher_begin_work(Matcher *m);
// The grammar is too ambiguous: some ways were left out. It stays so, and no new way is found.
bool matcher_gave_up(const Matcher *m);
