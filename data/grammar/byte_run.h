// byte_run: which bytes an automaton reads one after the other whatever they are: those of a class that repeats, as in
// [a-z]+ or [^\n]{1,200}. Tokens of such bytes need no walk.
#pragma once

#include "byte_kind.h"
#include "matcher.h"

enum { BYTE_RUN_ENDLESS = UINT16_MAX };
typedef struct ByteRun {
    ByteKinds kinds;
    uint16_t length; // at least so many bytes of these kinds, in any order
} ByteRun;

typedef struct ByteRuns ByteRuns;          // of one grammar, which remembers what it has computed
ByteRuns *byte_runs_new(const Grammar *g); // g must outlive it
void byte_runs_free(ByteRuns *r);
// The longest run of one of the set's first stacks.
ByteRun byte_run_of(ByteRuns *r, const Matcher *m, uint32_t set);
