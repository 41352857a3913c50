#include "grammar.h"

#include <string.h>

Grammar *grammar_new(void) {
    Grammar *g = mem_calloc(1, sizeof *g);
    grammar_add(g, (GrammarInstruction){.op = OP_RETURN});
    return g;
}

void grammar_free(Grammar *g) {
    if (!g) return;
    for (size_t i = 0; i < g->n_rules; i++) mem_free(g->rules[i].name);
    for (size_t i = 0; i < g->n_members; i++) mem_free(g->members[i].items);
    for (size_t i = 0; i < g->n_dfas; i++) dfa_free(g->dfas[i]);
    mem_free(g->code);
    mem_free(g->targets);
    mem_free(g->rules);
    mem_free(g->members);
    mem_free(g->dfas);
    mem_free(g->possible);
    mem_free(g->nullable);
    mem_free(g);
}

uint32_t grammar_add(Grammar *g, GrammarInstruction i) {
    if (g->n_code == GRAMMAR_MAX_INSTRUCTIONS) {
        g->full = true;
        return GRAMMAR_RETURN;
    }
    MEM_GROW(g->code, g->code_capacity, g->n_code + 1);
    g->code[g->n_code] = i;
    return (uint32_t)g->n_code++;
}

uint32_t grammar_add_dfa(Grammar *g, ByteDfa *d) {
    MEM_GROW(g->dfas, g->dfas_capacity, g->n_dfas + 1);
    g->dfas[g->n_dfas] = d;
    g->dfa_bytes += sizeof *d + (size_t)d->states * (d->classes * sizeof *d->next + 2);
    if (g->dfa_bytes > GRAMMAR_MAX_DFA_BYTES) g->full = true;
    return (uint32_t)g->n_dfas++;
}

uint32_t grammar_add_rule(Grammar *g, const char *name) {
    MEM_GROW(g->rules, g->rules_capacity, g->n_rules + 1);
    g->rules[g->n_rules] = (GrammarRule){GRAMMAR_NONE, name ? mem_strdup(name) : NULL};
    if (g->n_rules >= GRAMMAR_MAX_INSTRUCTIONS) g->full = true;
    return (uint32_t)g->n_rules++;
}

uint32_t grammar_either(Grammar *g, const uint32_t *targets, size_t n) {
    if (n == 1) return targets[0];
    if (g->n_targets + n > GRAMMAR_MAX_INSTRUCTIONS) {
        g->full = true;
        return GRAMMAR_RETURN;
    }
    MEM_GROW(g->targets, g->targets_capacity, g->n_targets + n + 1);
    if (n) memcpy(g->targets + g->n_targets, targets, n * sizeof *targets);
    g->n_targets += n;
    return grammar_add(g, (GrammarInstruction){OP_EITHER, .a = (uint32_t)(g->n_targets - n), .n = (uint32_t)n});
}

uint32_t grammar_dfa(Grammar *g, uint32_t dfa, uint32_t next) {
    return grammar_add(g, (GrammarInstruction){OP_DFA, .next = next, .a = dfa});
}

uint32_t grammar_call(Grammar *g, uint32_t rule, uint32_t next) {
    return grammar_add(g, (GrammarInstruction){OP_CALL, .next = next, .a = rule});
}

uint32_t grammar_add_members(Grammar *g, GrammarMembers m) {
    MEM_GROW(g->members, g->members_capacity, g->n_members + 1);
    uint32_t number = (uint32_t)g->n_members++;
    m.first = grammar_add(g, (GrammarInstruction){OP_FIRST, .a = number});
    m.next = grammar_add(g, (GrammarInstruction){OP_NEXT, .a = number});
    m.member = grammar_add(g, (GrammarInstruction){OP_MEMBER, .a = number});
    g->members[number] = m;
    return m.first;
}
