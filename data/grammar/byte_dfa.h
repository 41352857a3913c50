// byte_dfa: deterministic automata over bytes. All ways that cannot end in an accepting state are cut off, so that a
// text that is not dead can be completed.
#pragma once

#include "byte_nfa.h"
#include "json.h"

enum { DFA_MAX_STATES = 1 << 16 };
#define DFA_DEAD UINT32_MAX

typedef struct ByteDfa { // the start is state 0; read-only after it was built
    uint32_t states, classes;
    uint8_t class_of[256];
    uint32_t *next;         // [states][classes]
    bool *accepting, *open; // [states]; open: some byte leads on
    bool empty;             // nothing is accepted
} ByteDfa;

// States are byte strings that only the source understands.
typedef struct DfaSource {
    void *user;
    bool (*step)(void *user, JsonStr state, uint8_t byte, StrBuf *to); // appends to the empty *to; false: dead
    bool (*accepts)(void *user, JsonStr state);
    const bool *cut; // [256] whether a byte may behave otherwise than the one before it
} DfaSource;

// Refused: more than DFA_MAX_STATES, or too much work; the message has no subject.
int dfa_build(ByteDfa **out, const DfaSource *s, JsonStr start, Err *err);
void dfa_free(ByteDfa *d);
DEFINE_AUTO(ByteDfa, dfa_free)
#define AUTO_DFA AUTO(dfa_free)

int dfa_of_nfa(ByteDfa **out, const ByteNfa *n, NfaPart part, Err *err);
int dfa_of_text(ByteDfa **out, const char *text, size_t len, Err *err);
// Texts of a that b accepts, too; with `except` those that b does not accept.
int dfa_both(ByteDfa **out, const ByteDfa *a, const ByteDfa *b, bool except, Err *err);

static inline uint32_t dfa_next(const ByteDfa *d, uint32_t state, uint8_t byte) {
    return d->next[(size_t)state * d->classes + d->class_of[byte]];
}
bool dfa_accepts(const ByteDfa *d, const char *text, size_t len);
