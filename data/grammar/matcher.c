#include "matcher.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 1 << 14, MAX_BYTES = 64 << 20, WAYS = 256 };
enum { MAX_WORK = 1 << 21, MAX_BYTES_AT_ONCE = 512 << 20 }; // between two calls of matcher_begin_work
#define UNKNOWN UINT32_MAX

struct Matcher {
    const Grammar *g;
    Intern nodes, sets; // of a set: whether it is accepting, and its nodes in order
    uint32_t **ways;    // [sets] to the set after each byte; NULL: none is known
    uint64_t **notes;   // [sets]
    size_t ways_capacity, notes_capacity, extra_bytes;
    uint32_t start;
    MatcherPlace *places;
    bool gave_up;
    size_t work; // stacks that were looked at
    // of one step
    uint32_t *stamps; // [nodes] of the step that reached it
    uint32_t now;
    uint32_t *pending, *found;
    size_t stamps_capacity, pending_capacity, found_capacity, n_pending, n_found;
    bool accepting;
};

MatcherNode matcher_node(const Matcher *m, uint32_t node) {
    MatcherNode n;
    memcpy(&n, intern_key(&m->nodes, node).data, sizeof n);
    return n;
}

MatcherSet matcher_set(const Matcher *m, uint32_t set) {
    JsonStr key = intern_key(&m->sets, set);
    const uint32_t *words = (const void *)key.data;
    return (MatcherSet){words[0], words + 1, key.len / sizeof *words - 1};
}

static int by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

uint32_t matcher_add_set(Matcher *m, bool accepting, uint32_t *nodes, size_t count) {
    AUTO_FREE uint32_t *key = mem_alloc(count + 1, sizeof *key);
    bool is_new;
    key[0] = accepting;
    if (count) memcpy(key + 1, nodes, count * sizeof *nodes);
    qsort(key + 1, count, sizeof *key, by_number);
    uint32_t set = intern_add(&m->sets, key, (count + 1) * sizeof *key, &is_new);
    if (is_new) {
        MEM_GROW(m->ways, m->ways_capacity, (size_t)set + 1);
        MEM_GROW(m->notes, m->notes_capacity, (size_t)set + 1);
        m->ways[set] = NULL;
        m->notes[set] = NULL;
    }
    return set;
}

// ---- what is reached without a byte ----

static uint32_t add_node(Matcher *m, uint32_t pc, uint64_t data, uint32_t parent) {
    const MatcherNode n = {pc, parent, data};
    bool is_new;
    uint32_t node = intern_add(&m->nodes, &n, sizeof n, &is_new);
    if (is_new) {
        MEM_GROW(m->stamps, m->stamps_capacity, (size_t)node + 1);
        m->stamps[node] = 0;
    }
    return node;
}

static void reach_node(Matcher *m, uint32_t node) {
    if (m->stamps[node] == m->now) return;
    m->stamps[node] = m->now;
    m->work++;
    if (m->n_pending == MAX_NODES || m->n_found == MAX_NODES || m->work > MAX_WORK) {
        m->gave_up = true;
        return;
    }
    MEM_GROW(m->pending, m->pending_capacity, m->n_pending + 1);
    m->pending[m->n_pending++] = node;
}

static void reach(Matcher *m, uint32_t pc, uint64_t data, uint32_t parent) {
    if (m->g->code[pc].op != OP_RETURN) {
        if (m->g->possible[pc]) reach_node(m, add_node(m, pc, data, parent));
    } else if (parent == MATCHER_BOTTOM) {
        m->accepting = true;
    } else {
        reach_node(m, parent);
    }
}

// What follows when a call at `pc` returns: a RETURN is left out, so that calls at the end need no stack.
static uint32_t after(Matcher *m, uint32_t pc, uint32_t parent) {
    return m->g->code[pc].op == OP_RETURN ? parent : add_node(m, pc, 0, parent);
}

static void wait_for_byte(Matcher *m, uint32_t node) {
    MEM_GROW(m->found, m->found_capacity, m->n_found + 1);
    m->found[m->n_found++] = node;
}

static void enter_loop(Matcher *m, MatcherNode n, const GrammarInstruction *i) {
    int64_t count = (int64_t)n.data, more = i->max < 0 ? min64(count + 1, i->min) : count + 1;
    if ((i->max < 0 || count < i->max) && m->g->possible[i->a])
        reach(m, i->a, 0, add_node(m, n.pc, (uint64_t)more, n.parent));
    if (count >= i->min) reach(m, i->next, 0, n.parent);
}

// ---- members: data is a bit for each that was read of an object, and its last bit; the count of an array ----

#define HAS_MEMBER (1ull << GRAMMAR_MAX_MEMBERS)

static bool may_add(const Matcher *m, const GrammarMembers *b, uint64_t data) {
    if (b->object && b->possible & ~data) return true;
    uint32_t other = b->object ? b->other : members_item(b, data);
    return other != GRAMMAR_NONE && m->g->possible[other];
}

static void begin_array_item(Matcher *m, MatcherNode n, const GrammarMembers *b) {
    uint64_t last = (uint64_t)max64(b->min, b->n), more = n.data + 1;
    if (b->max < 0 && more > last) more = last; // all the following ones are alike
    reach(m, members_item(b, n.data), 0, add_node(m, b->next, more, n.parent));
}

static void begin_object_member(Matcher *m, MatcherNode n, const GrammarMembers *b) {
    uint64_t read = n.data | HAS_MEMBER;
    for (uint32_t i = 0; i < b->n; i++)
        if (b->possible & ~n.data & 1ull << i)
            reach(m, b->items[i], 0, add_node(m, b->next, read | 1ull << i, n.parent));
    if (b->other != GRAMMAR_NONE) reach(m, b->other, 0, add_node(m, b->next, read, n.parent));
}

static void enter_members(Matcher *m, MatcherNode n, const GrammarInstruction *i) {
    const GrammarMembers *b = &m->g->members[i->a];
    if (i->op == OP_MEMBER) {
        if (b->object)
            begin_object_member(m, n, b);
        else
            begin_array_item(m, n, b);
        return;
    }
    if (members_may_close(b, n.data)) reach(m, b->close, 0, n.parent);
    if (may_add(m, b, n.data))
        reach(m, i->op == OP_FIRST ? b->space : b->comma, 0, add_node(m, b->member, n.data, n.parent));
}

static void enter(Matcher *m, uint32_t node) {
    const MatcherNode n = matcher_node(m, node);
    const GrammarInstruction *i = &m->g->code[n.pc];
    const ByteDfa *d;
    switch (i->op) {
    case OP_RETURN: break;
    case OP_DFA:
        d = m->g->dfas[i->a];
        if (d->open[n.data]) wait_for_byte(m, node);
        if (d->accepting[n.data]) reach(m, i->next, 0, n.parent);
        break;
    case OP_RUN:
        if (run_state(n.data) || i->max < 0 || (int64_t)run_count(n.data) < i->max) wait_for_byte(m, node);
        if (!run_state(n.data) && (int64_t)run_count(n.data) >= i->min) reach(m, i->next, 0, n.parent);
        break;
    case OP_EITHER:
        for (uint32_t k = 0; k < i->n; k++) reach(m, m->g->targets[i->a + k], 0, n.parent);
        break;
    case OP_CALL: reach(m, m->g->rules[i->a].start, 0, after(m, i->next, n.parent)); break;
    case OP_LOOP: enter_loop(m, n, i); break;
    case OP_FIRST:
    case OP_NEXT:
    case OP_MEMBER: enter_members(m, n, i); break;
    }
}

static void begin_step(Matcher *m) {
    if (++m->now == 0) {
        memset(m->stamps, 0, m->nodes.count * sizeof *m->stamps);
        m->now = 1;
    }
    m->n_found = m->n_pending = 0;
    m->accepting = false;
}

static uint32_t end_step(Matcher *m) {
    while (m->n_pending) enter(m, m->pending[--m->n_pending]);
    return matcher_add_set(m, m->accepting, m->found, m->n_found);
}

// ---- bytes ----

static void read_byte(Matcher *m, MatcherNode n, uint8_t byte) {
    const GrammarInstruction *i = &m->g->code[n.pc];
    const ByteDfa *d = m->g->dfas[i->a];
    bool run = i->op == OP_RUN;
    uint32_t state = dfa_next(d, run ? run_state(n.data) : (uint32_t)n.data, byte);
    if (state == DFA_DEAD) return;
    uint64_t data = state;
    if (run) {
        int64_t count = (int64_t)run_count(n.data);
        bool whole = d->accepting[state];
        if (whole) count = i->max < 0 ? min64(count + 1, i->min) : count + 1;
        data = (uint64_t)count << 20 | (whole ? 0 : state);
    }
    reach_node(m, add_node(m, n.pc, data, n.parent));
}

static uint32_t step(Matcher *m, uint32_t set, uint8_t byte) {
    begin_step(m);
    for (size_t k = 0; k < matcher_set(m, set).count; k++)
        read_byte(m, matcher_node(m, matcher_set(m, set).nodes[k]), byte);
    return end_step(m);
}

static size_t bytes_held(const Matcher *m) { return intern_bytes(&m->nodes) + intern_bytes(&m->sets) + m->extra_bytes; }

void matcher_begin_work(Matcher *m) { m->work = 0; }

uint32_t matcher_step(Matcher *m, uint32_t set, uint8_t byte) {
    if (m->ways[set] && m->ways[set][byte] != UNKNOWN) return m->ways[set][byte];
    m->work += matcher_set(m, set).count;
    if (m->work > MAX_WORK || bytes_held(m) > MAX_BYTES_AT_ONCE) m->gave_up = true;
    if (m->gave_up) return MATCHER_DEAD;
    if (!m->ways[set]) {
        m->ways[set] = mem_alloc(WAYS, sizeof **m->ways);
        memset(m->ways[set], 0xFF, WAYS * sizeof **m->ways);
        m->extra_bytes += WAYS * sizeof **m->ways;
    }
    uint32_t to = step(m, set, byte);
    return m->ways[set][byte] = to;
}

uint64_t **matcher_note(Matcher *m, uint32_t set, size_t bytes) {
    if (!m->notes[set]) m->extra_bytes += bytes;
    return &m->notes[set];
}

bool matcher_gave_up(const Matcher *m) { return m->gave_up; }

// ---- places ----

static void clear_tables(Matcher *m) {
    for (uint32_t s = 0; s < m->sets.count; s++) {
        mem_free(m->ways[s]);
        mem_free(m->notes[s]);
    }
    intern_clear(&m->nodes);
    intern_clear(&m->sets);
    m->extra_bytes = 0;
    m->now = 0;
}

static void make_start(Matcher *m) {
    uint32_t dead = matcher_add_set(m, false, NULL, 0);
    CHECK(dead == MATCHER_DEAD);
    begin_step(m);
    reach(m, m->g->rules[0].start, 0, MATCHER_BOTTOM);
    m->start = end_step(m);
}

Matcher *matcher_new(const Grammar *g) {
    Matcher *m = mem_calloc(1, sizeof *m);
    m->g = g;
    make_start(m);
    return m;
}

void matcher_free(Matcher *m) {
    if (!m) return;
    CHECK(!m->places);
    clear_tables(m);
    mem_free(m->ways);
    mem_free(m->notes);
    mem_free(m->stamps);
    mem_free(m->pending);
    mem_free(m->found);
    mem_free(m);
}

void matcher_begin(Matcher *m, MatcherPlace *p) {
    *p = (MatcherPlace){m->start, m->places, &m->places};
    if (p->next) p->next->link = &p->next;
    m->places = p;
}

void matcher_end(MatcherPlace *p) {
    if (!p->link) return;
    *p->link = p->next;
    if (p->next) p->next->link = p->link;
    *p = (MatcherPlace){0};
}

// The same stack among the nodes of m; old: of before.
static uint32_t copy_stack(Matcher *m, const Intern *old, uint32_t node) {
    AUTO_FREE MatcherNode *path = NULL;
    size_t n = 0, capacity = 0;
    for (uint32_t at = node; at != MATCHER_BOTTOM; at = path[n - 1].parent) {
        MEM_GROW(path, capacity, n + 1);
        memcpy(&path[n++], intern_key(old, at).data, sizeof *path);
    }
    uint32_t parent = MATCHER_BOTTOM;
    while (n-- > 0) parent = add_node(m, path[n].pc, path[n].data, parent);
    return parent;
}

static uint32_t copy_set(Matcher *m, const Matcher *old, uint32_t set) {
    MatcherSet s = matcher_set(old, set);
    AUTO_FREE uint32_t *nodes = mem_alloc(s.count + 1, sizeof *nodes);
    for (size_t i = 0; i < s.count; i++) nodes[i] = copy_stack(m, &old->nodes, s.nodes[i]);
    return matcher_add_set(m, s.accepting, nodes, s.count);
}

bool matcher_trim(Matcher *m) {
    if (bytes_held(m) < MAX_BYTES) return false;
    Matcher old = *m;
    m->nodes = m->sets = (Intern){0};
    m->ways = NULL;
    m->notes = NULL;
    m->ways_capacity = m->notes_capacity = 0;
    m->extra_bytes = 0;
    m->now = 0;
    make_start(m);
    for (MatcherPlace *p = m->places; p; p = p->next) p->set = copy_set(m, &old, p->set);
    clear_tables(&old);
    mem_free(old.ways);
    mem_free(old.notes);
    return true;
}
