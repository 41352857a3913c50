#include "byte_dfa.h"

#include <stdlib.h>
#include <string.h>

#include "intern.h"

enum { MAX_WORK = 100 << 20 }; // bytes of states that are compared and stored

void dfa_free(ByteDfa *d) {
    if (!d) return;
    mem_free(d->next);
    mem_free(d->accepting);
    mem_free(d->open);
    mem_free(d);
}

bool dfa_accepts(const ByteDfa *d, const char *text, size_t len) {
    uint32_t s = d->empty ? DFA_DEAD : 0;
    for (size_t i = 0; i < len && s != DFA_DEAD; i++) s = dfa_next(d, s, (uint8_t)text[i]);
    return s != DFA_DEAD && d->accepting[s];
}

// ---- from any source ----

// representative[c]: a byte of class c.
static void set_classes(ByteDfa *d, const bool *cut, uint8_t representative[256]) {
    uint32_t c = 0;
    for (int b = 0; b < 256; b++) {
        if (b > 0 && cut[b]) c++;
        if (b == 0 || cut[b]) representative[c] = (uint8_t)b;
        d->class_of[b] = (uint8_t)c;
    }
    d->classes = c + 1;
}

static int explore(ByteDfa *d, const DfaSource *s, JsonStr start, Err *err) {
    AUTO_CALL(intern_clear) Intern states = {0};
    AUTO_STR StrBuf to = {0}, from = {0};
    uint8_t representative[256];
    size_t rows = 0, work = 0;
    set_classes(d, s->cut, representative);
    intern_add(&states, start.data, start.len, NULL);
    for (uint32_t i = 0; i < states.count; i++) {
        if (states.count > DFA_MAX_STATES || work > MAX_WORK)
            return err_input(err, "its automaton is too large: more than %u states", i);
        MEM_GROW(d->next, rows, (size_t)(i + 1) * d->classes);
        JsonStr key = intern_key(&states, i);
        from.len = 0;
        str_add(&from, key.data, key.len); // keys move when one is added
        for (uint32_t c = 0; c < d->classes; c++) {
            to.len = 0;
            str_add(&to, "", 0);
            bool alive = s->step(s->user, (JsonStr){from.data, from.len}, representative[c], &to);
            work += to.len + from.len;
            d->next[(size_t)i * d->classes + c] = alive ? intern_add(&states, to.data, to.len, NULL) : DFA_DEAD;
        }
    }
    d->states = states.count;
    d->accepting = mem_calloc(d->states, sizeof *d->accepting);
    d->open = mem_calloc(d->states, sizeof *d->open);
    for (uint32_t i = 0; i < d->states; i++) d->accepting[i] = s->accepts(s->user, intern_key(&states, i));
    return 0;
}

// Cuts off what cannot end: a walk from the accepting states against the ways.
static void trim(ByteDfa *d) {
    size_t n = d->states, ways = n * d->classes, count = 0;
    AUTO_FREE size_t *first = mem_calloc(n + 1, sizeof *first);
    AUTO_FREE uint32_t *from = mem_alloc(ways + 1, sizeof *from), *queue = mem_alloc(n, sizeof *queue);
    AUTO_FREE bool *alive = mem_calloc(n, sizeof *alive);
    for (size_t w = 0; w < ways; w++)
        if (d->next[w] != DFA_DEAD) first[d->next[w]]++;
    for (size_t s = 1; s <= n; s++) first[s] += first[s - 1]; // the end of each list; filled from behind
    for (size_t w = 0; w < ways; w++)
        if (d->next[w] != DFA_DEAD) from[--first[d->next[w]]] = (uint32_t)(w / d->classes);
    for (uint32_t s = 0; s < n; s++)
        if (d->accepting[s]) alive[s] = true, queue[count++] = s;
    for (size_t q = 0; q < count; q++)
        for (size_t w = first[queue[q]]; w < first[queue[q] + 1]; w++)
            if (!alive[from[w]]) alive[from[w]] = true, queue[count++] = from[w];
    for (size_t w = 0; w < ways; w++) {
        if (d->next[w] == DFA_DEAD) continue;
        if (alive[d->next[w]])
            d->open[w / d->classes] = true;
        else
            d->next[w] = DFA_DEAD;
    }
    d->empty = !alive[0];
}

int dfa_build(ByteDfa **out, const DfaSource *s, JsonStr start, Err *err) {
    AUTO_DFA ByteDfa *d = mem_calloc(1, sizeof *d);
    if (explore(d, s, start, err)) return -1;
    trim(d);
    *out = mem_take(&d);
    return 0;
}

// ---- from an NFA: a state is the sorted list of the nodes that wait for a byte, and of the end ----

typedef struct Subsets {
    const ByteNfa *n;
    uint32_t end;
    uint32_t *stamp; // [nodes] of the last closure that reached it
    uint32_t now;
    uint32_t *stack; // [nodes]
    uint32_t *found; // [nodes]
    size_t n_found;
} Subsets;

static int by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void reach(Subsets *s, uint32_t node) {
    size_t depth = 0;
    if (node == NFA_NOWHERE || s->stamp[node] == s->now) return;
    s->stamp[node] = s->now;
    s->stack[depth++] = node;
    while (depth) {
        node = s->stack[--depth];
        const NfaNode *at = &s->n->nodes[node];
        if (at->bytes || node == s->end) s->found[s->n_found++] = node;
        uint32_t next[2] = {at->bytes ? NFA_NOWHERE : at->a, at->b};
        for (int i = 0; i < 2; i++) {
            if (next[i] == NFA_NOWHERE || s->stamp[next[i]] == s->now) continue;
            s->stamp[next[i]] = s->now;
            s->stack[depth++] = next[i];
        }
    }
}

static void begin_closure(Subsets *s) {
    s->now++;
    s->n_found = 0;
}

static bool end_closure(Subsets *s, StrBuf *to) {
    qsort(s->found, s->n_found, sizeof *s->found, by_number);
    str_add(to, (const char *)s->found, s->n_found * sizeof *s->found);
    return s->n_found > 0;
}

static bool subset_step(void *user, JsonStr state, uint8_t byte, StrBuf *to) {
    Subsets *s = user;
    begin_closure(s);
    for (size_t i = 0; i < state.len; i += sizeof(uint32_t)) {
        uint32_t node;
        memcpy(&node, state.data + i, sizeof node);
        const NfaNode *at = &s->n->nodes[node];
        if (at->bytes && byte >= at->lo && byte <= at->hi) reach(s, at->a);
    }
    return end_closure(s, to);
}

static bool subset_accepts(void *user, JsonStr state) {
    const Subsets *s = user;
    for (size_t i = 0; i < state.len; i += sizeof s->end)
        if (memcmp(state.data + i, &s->end, sizeof s->end) == 0) return true;
    return false;
}

int dfa_of_nfa(ByteDfa **out, const ByteNfa *n, NfaPart part, Err *err) {
    if (n->full) return err_input(err, "its automaton is too large: more than %d nodes", NFA_MAX_NODES);
    bool cut[257] = {0};
    for (size_t i = 0; i < n->count; i++)
        if (n->nodes[i].bytes) cut[n->nodes[i].lo] = cut[n->nodes[i].hi + 1] = true;
    AUTO_FREE uint32_t *stamp = mem_calloc(n->count, sizeof *stamp), *stack = mem_alloc(n->count, sizeof *stack),
                       *found = mem_alloc(n->count, sizeof *found);
    AUTO_STR StrBuf start = {0};
    Subsets s = {.n = n, .end = part.end, .stamp = stamp, .stack = stack, .found = found};
    begin_closure(&s);
    reach(&s, part.start);
    str_add(&start, "", 0);
    end_closure(&s, &start);
    const DfaSource source = {&s, subset_step, subset_accepts, cut};
    return dfa_build(out, &source, (JsonStr){start.data, start.len}, err);
}

int dfa_of_text(ByteDfa **out, const char *text, size_t len, Err *err) {
    AUTO_CALL(nfa_clear) ByteNfa n = {0};
    return dfa_of_nfa(out, &n, nfa_text(&n, text, len), err);
}

// ---- of two: a state is a pair ----

typedef struct Pair {
    const ByteDfa *a, *b;
    bool except;
} Pair;
typedef struct PairState {
    uint32_t a, b; // b DFA_DEAD: only with `except`
} PairState;

static bool pair_step(void *user, JsonStr state, uint8_t byte, StrBuf *to) {
    const Pair *p = user;
    PairState s;
    memcpy(&s, state.data, sizeof s);
    s.a = dfa_next(p->a, s.a, byte);
    s.b = s.b == DFA_DEAD ? DFA_DEAD : dfa_next(p->b, s.b, byte);
    str_add(to, (const char *)&s, sizeof s);
    return s.a != DFA_DEAD && (p->except || s.b != DFA_DEAD);
}

static bool pair_accepts(void *user, JsonStr state) {
    const Pair *p = user;
    PairState s;
    memcpy(&s, state.data, sizeof s);
    bool second = s.b != DFA_DEAD && p->b->accepting[s.b];
    return p->a->accepting[s.a] && second != p->except;
}

int dfa_both(ByteDfa **out, const ByteDfa *a, const ByteDfa *b, bool except, Err *err) {
    bool cut[256] = {0};
    for (int i = 1; i < 256; i++) cut[i] = a->class_of[i] != a->class_of[i - 1] || b->class_of[i] != b->class_of[i - 1];
    Pair p = {a, b, except};
    const DfaSource source = {&p, pair_step, pair_accepts, cut};
    const PairState start = {0, 0};
    return dfa_build(out, &source, (JsonStr){(const char *)&start, sizeof start}, err);
}
