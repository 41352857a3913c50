#include "byte_run.h"

#include <string.h>

enum { LONGEST = 1024, STACKS = 4, UNKNOWN = UINT16_MAX - 1 }; // a longer run counts as LONGEST or ENDLESS

typedef struct DfaRuns {
    uint8_t classes[256]; // the automaton's classes of bytes, kind after kind
    uint16_t first[BYTE_KINDS + 1];
    ByteRun *runs; // [states]; NULL: none is known
} DfaRuns;

struct ByteRuns {
    const Grammar *g;
    DfaRuns *dfas;
};

// A class is bytes that are neighbours.
static void set_classes(DfaRuns *r, const ByteDfa *d) {
    uint8_t of[BYTE_KINDS][256];
    uint16_t count[BYTE_KINDS] = {0}, n = 0;
    for (int b = 0; b < 256; b++) {
        int kind = byte_kind((uint8_t)b);
        uint8_t class = d->class_of[b];
        if (!count[kind] || of[kind][count[kind] - 1] != class) of[kind][count[kind]++] = class;
    }
    for (int kind = 0; kind < BYTE_KINDS; kind++) {
        r->first[kind] = n;
        memcpy(r->classes + n, of[kind], count[kind]);
        n += count[kind];
    }
    r->first[BYTE_KINDS] = n;
}

ByteRuns *byte_runs_new(const Grammar *g) {
    ByteRuns *r = mem_calloc(1, sizeof *r);
    r->g = g;
    r->dfas = mem_calloc(g->n_dfas + 1, sizeof *r->dfas);
    for (size_t i = 0; i < g->n_dfas; i++) set_classes(&r->dfas[i], g->dfas[i]);
    return r;
}

void byte_runs_free(ByteRuns *r) {
    if (!r) return;
    for (size_t i = 0; i < r->g->n_dfas; i++) mem_free(r->dfas[i].runs);
    mem_free(r->dfas);
    mem_free(r);
}

// ---- of a state ----

// The state that all bytes of a kind lead to; DFA_DEAD: there is none.
static uint32_t next_of_kind(const DfaRuns *r, const ByteDfa *d, uint32_t state, int kind) {
    const uint32_t *next = d->next + (size_t)state * d->classes;
    uint32_t to = next[r->classes[r->first[kind]]];
    for (int i = r->first[kind] + 1; i < r->first[kind + 1]; i++)
        if (next[r->classes[i]] != to) return DFA_DEAD;
    return to;
}

// The kinds that lead back to the state; without any, those that lead to the state that most kinds lead to.
static ByteKinds common_kinds(const DfaRuns *r, const ByteDfa *d, uint32_t state, uint32_t *target) {
    uint32_t to[BYTE_KINDS];
    ByteKinds best = 0;
    for (int k = 0; k < BYTE_KINDS; k++) to[k] = next_of_kind(r, d, state, k);
    for (int k = 0; k < BYTE_KINDS && !(best && *target == state); k++) {
        ByteKinds kinds = 0;
        for (int j = k; j < BYTE_KINDS && to[k] != DFA_DEAD; j++) kinds |= (ByteKinds)((to[j] == to[k]) << j);
        if (!kinds || (to[k] != state && __builtin_popcount(kinds) <= __builtin_popcount(best))) continue;
        best = kinds;
        *target = to[k];
    }
    return best;
}

// Follows the states that runs lead to, up to one that is known or repeats, and then counts backwards.
static ByteRun run_in_dfa(DfaRuns *r, const ByteDfa *d, uint32_t state) {
    AUTO_FREE uint32_t *path = NULL;
    size_t n = 0, capacity = 0;
    uint32_t at = state;
    if (!r->runs) {
        r->runs = mem_alloc(d->states, sizeof *r->runs);
        for (uint32_t s = 0; s < d->states; s++) r->runs[s] = (ByteRun){0, UNKNOWN};
    }
    while (r->runs[at].length == UNKNOWN) {
        uint32_t to = at;
        ByteKinds kinds = common_kinds(r, d, at, &to);
        r->runs[at] = (ByteRun){kinds, !kinds ? 0 : to == at ? BYTE_RUN_ENDLESS : 1};
        MEM_GROW(path, capacity, n + 1);
        path[n++] = at;
        at = to;
    }
    while (n-- > 0) {
        ByteRun *run = &r->runs[path[n]], after = r->runs[at];
        bool goes_on = path[n] != at && !(run->kinds & ~after.kinds);
        if (run->kinds && goes_on) run->length = after.length < LONGEST ? after.length + 1 : after.length;
        at = path[n];
    }
    return r->runs[state];
}

// ---- of a stack ----

// Of min to max texts, of which each of these kinds' bytes is a whole one.
static ByteRun run_of_texts(const DfaRuns *r, const ByteDfa *d, const GrammarInstruction *i, uint64_t data) {
    ByteRun run = {0, BYTE_RUN_ENDLESS};
    if (run_state(data)) return run;
    for (int k = 0; k < BYTE_KINDS; k++) {
        uint32_t to = next_of_kind(r, d, 0, k);
        if (to != DFA_DEAD && d->accepting[to]) run.kinds |= (ByteKinds)(1u << k);
    }
    if (i->max >= 0) run.length = (uint16_t)min64(LONGEST, i->max - (int64_t)run_count(data));
    return run;
}

static ByteRun run_of_stack(ByteRuns *r, MatcherNode n) {
    const GrammarInstruction *i = &r->g->code[n.pc];
    const ByteDfa *d = r->g->dfas[i->a];
    if (i->op == OP_RUN) return run_of_texts(&r->dfas[i->a], d, i, n.data);
    return run_in_dfa(&r->dfas[i->a], d, (uint32_t)n.data);
}

ByteRun byte_run_of(ByteRuns *r, const Matcher *m, uint32_t set) {
    ByteRun best = {0};
    MatcherSet s = matcher_set(m, set);
    for (size_t i = 0; i < s.count && i < STACKS; i++) {
        ByteRun run = run_of_stack(r, matcher_node(m, s.nodes[i]));
        if (__builtin_popcount(run.kinds) * (int)run.length > __builtin_popcount(best.kinds) * (int)best.length)
            best = run;
    }
    return best;
}
