// grammar_finish: what holds for all texts of a grammar: which programs can end, and that no rule calls itself before
// it has read a byte. Both are the least solutions of equations over the instructions.
#include "grammar.h"

static bool all_items(const Grammar *g, const GrammarMembers *m) {
    for (int64_t i = 0; i < m->min; i++) {
        uint32_t item = members_item(m, (uint64_t)i);
        if (item == GRAMMAR_NONE || !g->possible[item]) return false;
        if (i >= m->n) break; // the rest is alike
    }
    return m->max < 0 || m->min <= m->max;
}

static uint64_t possible_items(const Grammar *g, const GrammarMembers *m) {
    uint64_t possible = 0;
    for (uint32_t i = 0; i < m->n; i++)
        if (g->possible[m->items[i]]) possible |= 1ull << i;
    return possible;
}

static bool any_target(const Grammar *g, const GrammarInstruction *i, const bool *of) {
    for (uint32_t k = 0; k < i->n; k++)
        if (of[g->targets[i->a + k]]) return true;
    return false;
}

static bool is_possible(const Grammar *g, const GrammarInstruction *i) {
    const bool *p = g->possible;
    switch (i->op) {
    case OP_RETURN: return true;
    case OP_DFA: return !g->dfas[i->a]->empty && p[i->next];
    case OP_RUN: return (i->min == 0 || !g->dfas[i->a]->empty) && p[i->next];
    case OP_EITHER: return any_target(g, i, p);
    case OP_CALL: return p[g->rules[i->a].start] && p[i->next];
    case OP_LOOP: return (i->min == 0 || p[i->a]) && p[i->next];
    case OP_FIRST: {
        const GrammarMembers *m = &g->members[i->a];
        return m->object ? !(m->required & ~possible_items(g, m)) : all_items(g, m);
    }
    case OP_NEXT:
    case OP_MEMBER: return true;
    }
    return false;
}

static bool is_nullable(const Grammar *g, const GrammarInstruction *i) {
    const bool *n = g->nullable;
    switch (i->op) {
    case OP_RETURN: return true;
    case OP_DFA: return g->dfas[i->a]->accepting[0] && n[i->next];
    case OP_RUN: return i->min == 0 && n[i->next];
    case OP_EITHER: return any_target(g, i, n);
    case OP_CALL: return n[g->rules[i->a].start] && n[i->next];
    case OP_LOOP: return (i->min == 0 || n[i->a]) && n[i->next];
    default: return false;
    }
}

// What is said about instruction i depends on that about pc number k; GRAMMAR_NONE after the last one.
static uint32_t needed(const Grammar *g, const GrammarInstruction *i, uint32_t k) {
    const GrammarMembers *m;
    switch (i->op) {
    case OP_EITHER: return k < i->n ? g->targets[i->a + k] : GRAMMAR_NONE;
    case OP_DFA:
    case OP_RUN: return k == 0 ? i->next : GRAMMAR_NONE;
    case OP_CALL: return k == 0 ? g->rules[i->a].start : k == 1 ? i->next : GRAMMAR_NONE;
    case OP_LOOP: return k == 0 ? i->a : k == 1 ? i->next : GRAMMAR_NONE;
    case OP_FIRST: m = &g->members[i->a]; return k < m->n ? m->items[k] : k == m->n ? m->other : GRAMMAR_NONE;
    default: return GRAMMAR_NONE;
    }
}

// The instructions that need pc are list[first[pc]] to list[first[pc + 1] - 1].
typedef struct Needs {
    size_t *first;
    uint32_t *list;
} Needs;

static Needs needs_of(const Grammar *g) {
    Needs d = {.first = mem_calloc(g->n_code + 1, sizeof *d.first)};
    uint32_t to;
    for (size_t pc = 0; pc < g->n_code; pc++)
        for (uint32_t k = 0; (to = needed(g, &g->code[pc], k)) != GRAMMAR_NONE; k++) d.first[to]++;
    for (size_t pc = 1; pc <= g->n_code; pc++) d.first[pc] += d.first[pc - 1]; // the ends; filled from behind
    d.list = mem_alloc(d.first[g->n_code] + 1, sizeof *d.list);
    for (size_t pc = 0; pc < g->n_code; pc++)
        for (uint32_t k = 0; (to = needed(g, &g->code[pc], k)) != GRAMMAR_NONE; k++)
            d.list[--d.first[to]] = (uint32_t)pc;
    return d;
}

// Each instruction is looked at again when something that it needs begins to hold: the time does not depend on the
// order of the rules.
static void solve(const Grammar *g, const Needs *d, bool *value,
                  bool (*holds)(const Grammar *g, const GrammarInstruction *i)) {
    AUTO_FREE uint32_t *queue = mem_alloc(g->n_code, sizeof *queue);
    AUTO_FREE bool *waits = mem_alloc(g->n_code, sizeof *waits);
    size_t n = g->n_code;
    for (size_t pc = 0; pc < n; pc++) queue[pc] = (uint32_t)pc, waits[pc] = true;
    while (n) {
        uint32_t pc = queue[--n];
        waits[pc] = false;
        if (value[pc] || !holds(g, &g->code[pc])) continue;
        value[pc] = true;
        for (size_t i = d->first[pc]; i < d->first[pc + 1]; i++)
            if (!value[d->list[i]] && !waits[d->list[i]]) waits[d->list[i]] = true, queue[n++] = d->list[i];
    }
}

// ---- left recursion: a cycle of ways that read nothing ----

// Way number k of an instruction: where it leads without a byte; GRAMMAR_NONE after the last one.
static uint32_t way(const Grammar *g, const GrammarInstruction *i, uint32_t k) {
    bool through = false;
    uint32_t inner = GRAMMAR_NONE;
    switch (i->op) {
    case OP_EITHER: return k < i->n ? g->targets[i->a + k] : GRAMMAR_NONE;
    case OP_DFA: through = g->dfas[i->a]->accepting[0]; break;
    case OP_RUN: through = i->min == 0; break;
    case OP_CALL:
        inner = g->rules[i->a].start;
        through = g->nullable[inner];
        break;
    case OP_LOOP:
        inner = i->a;
        through = i->min == 0 || g->nullable[inner];
        break;
    default: break;
    }
    if (inner != GRAMMAR_NONE && k-- == 0) return inner;
    return through && k == 0 ? i->next : GRAMMAR_NONE;
}

typedef struct Visit {
    uint32_t pc, way;
} Visit;

enum { UNSEEN, OPEN, DONE };

// The pc where a cycle closes; GRAMMAR_NONE: there is none.
static uint32_t find_cycle(const Grammar *g, uint8_t *seen, Visit *path, uint32_t start) {
    size_t depth = 0;
    if (seen[start] == DONE) return GRAMMAR_NONE;
    seen[start] = OPEN;
    path[depth++] = (Visit){start, 0};
    while (depth) {
        Visit *v = &path[depth - 1];
        uint32_t to = way(g, &g->code[v->pc], v->way++);
        if (to == GRAMMAR_NONE) {
            seen[v->pc] = DONE;
            depth--;
        } else if (seen[to] == OPEN) {
            return to;
        } else if (seen[to] == UNSEEN) {
            seen[to] = OPEN;
            path[depth++] = (Visit){to, 0};
        }
    }
    return GRAMMAR_NONE;
}

static int refuse_left_recursion(const Grammar *g, Err *err) {
    AUTO_FREE uint8_t *seen = mem_calloc(g->n_code, sizeof *seen);
    AUTO_FREE Visit *path = mem_alloc(g->n_code, sizeof *path);
    for (size_t r = 0; r < g->n_rules; r++) {
        if (find_cycle(g, seen, path, g->rules[r].start) == GRAMMAR_NONE) continue;
        return err_input(err, "%s%s leads to itself before anything is written; expected no left recursion",
                         g->rules[r].name ? "rule " : "", g->rules[r].name ? g->rules[r].name : "a $ref");
    }
    return 0;
}

int grammar_finish(Grammar *g, Err *err) {
    if (g->full) return err_input(err, "it is too large: more than %d instructions", GRAMMAR_MAX_INSTRUCTIONS);
    for (size_t r = 0; r < g->n_rules; r++)
        if (g->rules[r].start == GRAMMAR_NONE)
            return err_input(err, "rule %s is not defined", g->rules[r].name ? g->rules[r].name : "?");
    g->possible = mem_calloc(g->n_code, sizeof *g->possible);
    g->nullable = mem_calloc(g->n_code, sizeof *g->nullable);
    Needs d = needs_of(g);
    solve(g, &d, g->possible, is_possible);
    solve(g, &d, g->nullable, is_nullable);
    mem_free(d.first);
    mem_free(d.list);
    for (size_t i = 0; i < g->n_members; i++)
        if (g->members[i].object) g->members[i].possible = possible_items(g, &g->members[i]);
    if (refuse_left_recursion(g, err)) return -1;
    return g->possible[g->rules[0].start] ? 0 : err_input(err, "no text fits");
}
