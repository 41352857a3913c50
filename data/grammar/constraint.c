#include "constraint.h"

#include <string.h>

#include "byte_run.h"
#include "gbnf.h"
#include "pattern.h"
#include "schema.h"

// All tokens of bytes of some kinds.
typedef struct KindMask {
    ByteKinds kinds;
    uint16_t longest; // of them, in bytes
    uint64_t *mask;
} KindMask;
enum { MAX_KIND_MASKS = 16 };

struct Constraint {
    const TokenTrie *tokens;
    Grammar *grammar;
    Matcher *matcher;
    ByteRuns *runs;
    KindMask kinds[MAX_KIND_MASKS];
    int n_kinds;
    uint64_t *first; // the mask of an empty text, where its tokens differ; NULL: not computed yet
    StrBuf room;
    uint32_t *string_nodes, *other_nodes; // of one set
    size_t string_capacity, other_capacity;
};

// ---- compilation ----

static int compile_regex(Grammar **out, JsonStr text, Err *err) {
    ByteDfa *d;
    if (pattern_compile(&d, text.data, text.len, true, err)) return -1;
    Grammar *g = *out = grammar_new();
    grammar_add_rule(g, NULL);
    g->rules[0].start = grammar_dfa(g, grammar_add_dfa(g, d), GRAMMAR_RETURN);
    return 0;
}

static int compile(Grammar **out, ConstraintKind kind, JsonStr text, Err *err) {
    AUTO_GRAMMAR Grammar *g = NULL;
    int rc = kind == CONSTRAINT_SCHEMA  ? schema_compile(&g, text, err)
             : kind == CONSTRAINT_REGEX ? compile_regex(&g, text, err)
                                        : gbnf_compile(&g, text, err);
    if (rc || grammar_finish(g, err)) return -1;
    *out = mem_take(&g);
    return 0;
}

int constraint_new(Constraint **out, const TokenTrie *tokens, ConstraintKind kind, JsonStr text, Err *err) {
    Grammar *g;
    if (compile(&g, kind, text, err)) return -1;
    Constraint *c = *out = mem_calloc(1, sizeof *c);
    c->tokens = tokens;
    c->grammar = g;
    c->matcher = matcher_new(g);
    c->runs = byte_runs_new(g);
    if (!matcher_gave_up(c->matcher)) return 0;
    constraint_free(c);
    *out = NULL;
    return err_input(err, "it is too ambiguous: too many ways lead on from its beginning");
}

void constraint_free(Constraint *c) {
    if (!c) return;
    byte_runs_free(c->runs);
    matcher_free(c->matcher);
    grammar_free(c->grammar);
    for (int i = 0; i < c->n_kinds; i++) mem_free(c->kinds[i].mask);
    mem_free(c->first);
    mem_free(c->string_nodes);
    mem_free(c->other_nodes);
    str_clear(&c->room);
    mem_free(c);
}

// ---- one text ----

void constraint_begin(Constraint *c, ConstraintText *t) {
    t->begun = false;
    matcher_begin(c->matcher, &t->place);
}

void constraint_end(ConstraintText *t) { matcher_end(&t->place); }

bool constraint_complete(const Constraint *c, const ConstraintText *t) {
    return matcher_set(c->matcher, t->place.set).accepting;
}

static uint32_t set_after(Constraint *c, const ConstraintText *t, int32_t id) {
    JsonStr text = token_trie_text(c->tokens, id, t->begun, &c->room);
    matcher_begin_work(c->matcher);
    uint32_t set = text.len ? t->place.set : MATCHER_DEAD;
    for (size_t i = 0; i < text.len && set != MATCHER_DEAD; i++)
        set = matcher_step(c->matcher, set, (uint8_t)text.data[i]);
    return set;
}

bool constraint_allows(Constraint *c, const ConstraintText *t, int32_t id) {
    return set_after(c, t, id) != MATCHER_DEAD;
}

void constraint_add(Constraint *c, ConstraintText *t, int32_t id) {
    t->place.set = set_after(c, t, id);
    t->begun = true;
    CHECK(t->place.set != MATCHER_DEAD, "token %d", id);
    matcher_trim(c->matcher);
}

bool constraint_accepts(Constraint *c, JsonStr text) {
    MatcherPlace place;
    matcher_begin(c->matcher, &place);
    for (size_t i = 0; i < text.len && place.set != MATCHER_DEAD; i++) {
        matcher_begin_work(c->matcher);
        place.set = matcher_step(c->matcher, place.set, (uint8_t)text.data[i]);
        matcher_trim(c->matcher);
    }
    bool accepting = matcher_set(c->matcher, place.set).accepting;
    matcher_end(&place);
    return accepting;
}

bool constraint_gave_up(const Constraint *c) { return matcher_gave_up(c->matcher); }

size_t constraint_words(const Constraint *c) { return c->tokens->words; }

// ---- masks ----

static void add_tokens(const Trie *t, uint32_t first, uint32_t end, uint64_t *mask) {
    for (uint32_t i = first; i < end; i++) mask[t->tokens[i] / 64] |= 1ull << (t->tokens[i] % 64);
}

// Whether all texts below a node can follow at `set`.
static bool reads_all(Constraint *c, uint32_t set, const TrieNode *node) {
    ByteRun run = byte_run_of(c->runs, c->matcher, set);
    return !(node->below & ~run.kinds) && node->deepest - node->depth <= run.length;
}

// Adds the tokens of a trie that lead somewhere from `set`. Where all that is below a node can be read whatever it is,
// it is not walked; nor are tokens of bytes of the kinds `known`, which the mask has already.
static void walk(Constraint *c, const Trie *t, uint32_t set, ByteKinds known, uint64_t *mask) {
    enum { WORTH_A_LOOK = 16 }; // nodes below
    uint32_t path[TRIE_MAX_DEPTH + 1];
    ByteKinds kinds[TRIE_MAX_DEPTH + 1];
    path[0] = set;
    kinds[0] = 0;
    for (uint32_t n = 1; n < t->count;) {
        const TrieNode *node = &t->nodes[n];
        kinds[node->depth] = kinds[node->depth - 1] | byte_kind_bit(node->byte);
        bool is_known = !((kinds[node->depth] | node->below) & ~known);
        uint32_t to = is_known ? MATCHER_DEAD : matcher_step(c->matcher, path[node->depth - 1], node->byte);
        if (to == MATCHER_DEAD) {
            n = node->end;
            continue;
        }
        path[node->depth] = to;
        uint32_t next = node->end > n + WORTH_A_LOOK && reads_all(c, to, node) ? node->end : n + 1;
        add_tokens(t, node->first, t->nodes[next].first, mask);
        n = next;
    }
}

// The mask of all tokens of these kinds of bytes; NULL: there are too many masks.
static const KindMask *mask_of_kinds(Constraint *c, ByteKinds kinds) {
    const Trie *t = &c->tokens->all;
    for (int i = 0; i < c->n_kinds; i++)
        if (c->kinds[i].kinds == kinds) return &c->kinds[i];
    if (c->n_kinds == MAX_KIND_MASKS) return NULL;
    KindMask *k = &c->kinds[c->n_kinds++];
    *k = (KindMask){.kinds = kinds, .mask = mem_calloc(c->tokens->words + 1, sizeof *k->mask)};
    for (uint32_t n = 1; n < t->count;) {
        const TrieNode *node = &t->nodes[n];
        bool of_kinds = kinds & byte_kind_bit(node->byte), all = of_kinds && !(node->below & ~kinds);
        uint32_t next = of_kinds && !all ? n + 1 : node->end;
        if (of_kinds) add_tokens(t, node->first, t->nodes[next].first, k->mask);
        if (of_kinds && k->longest < (all ? node->deepest : node->depth))
            k->longest = all ? node->deepest : node->depth;
        n = next;
    }
    return k;
}

// Adds tokens that can follow whatever their bytes are; returns the kinds of these.
static ByteKinds add_run(Constraint *c, uint32_t set, uint64_t *mask) {
    ByteRun run = byte_run_of(c->runs, c->matcher, set);
    const KindMask *k = run.length > 1 ? mask_of_kinds(c, run.kinds) : NULL;
    if (!k || k->longest > run.length) return 0;
    for (size_t w = 0; w < c->tokens->words; w++) mask[w] |= k->mask[w];
    return run.kinds;
}

// A stack that waits for a character between the quotes of a JSON string: the characters that may follow, -1: it is
// none; TRIE_MAX_PLAIN: as many as there are.
static int64_t string_room(const Constraint *c, MatcherNode n) {
    const GrammarInstruction *i = &c->grammar->code[n.pc];
    if (i->op != OP_RUN || !i->json_text || run_state(n.data)) return -1;
    return i->max < 0 ? TRIE_MAX_PLAIN : min64(TRIE_MAX_PLAIN, i->max - (int64_t)run_count(n.data));
}

// Most tokens may follow within a string, whatever they are: those are known by their length, and only the others are
// walked.
static void fill_mask(Constraint *c, uint32_t set, uint64_t *mask) {
    MatcherSet s = matcher_set(c->matcher, set);
    size_t strings = 0, others = 0;
    MEM_GROW(c->string_nodes, c->string_capacity, s.count);
    MEM_GROW(c->other_nodes, c->other_capacity, s.count);
    for (size_t i = 0; i < s.count; i++) {
        int64_t room = string_room(c, matcher_node(c->matcher, s.nodes[i]));
        if (room < 0) {
            c->other_nodes[others++] = s.nodes[i];
            continue;
        }
        c->string_nodes[strings++] = s.nodes[i];
        for (size_t w = 0; w < c->tokens->words; w++) mask[w] |= c->tokens->plain[room][w];
    }
    uint32_t other = matcher_add_set(c->matcher, false, c->other_nodes, others);
    walk(c, &c->tokens->all, other, add_run(c, other, mask), mask);
    if (strings) walk(c, &c->tokens->rest, matcher_add_set(c->matcher, false, c->string_nodes, strings), 0, mask);
}

static uint64_t *first_mask(Constraint *c, uint32_t set) {
    if (c->first) return c->first;
    c->first = mem_calloc(c->tokens->words + 1, sizeof *c->first);
    walk(c, &c->tokens->first, set, 0, c->first);
    return c->first;
}

static uint64_t *mask_of(Constraint *c, uint32_t set) {
    size_t bytes = (c->tokens->words + 1) * sizeof(uint64_t);
    if (!*matcher_note(c->matcher, set, bytes)) {
        uint64_t *mask = mem_calloc(bytes, 1);
        fill_mask(c, set, mask);
        *matcher_note(c->matcher, set, bytes) = mask;
    }
    return *matcher_note(c->matcher, set, 0);
}

const uint64_t *constraint_mask(Constraint *c, const ConstraintText *t) {
    bool own = !t->begun && c->tokens->first.count;
    matcher_begin_work(c->matcher);
    return own ? first_mask(c, t->place.set) : mask_of(c, t->place.set);
}
