// schema_containers: arrays and objects.
#include <string.h>

#include "pattern.h"
#include "schema_internal.h"

// The rule of a member as a program.
static int member_program(SchemaCompiler *c, const SchemaSet *s, uint32_t *pc) {
    uint32_t rule;
    if (schema_rule(c, s, &rule)) return -1;
    *pc = grammar_call(c->g, rule, GRAMMAR_RETURN);
    return 0;
}

// White space, then a token; after a comma white space again.
static int spaced(SchemaCompiler *c, SchemaLex token, bool after, uint32_t *pc) {
    uint32_t end = GRAMMAR_RETURN;
    if (after && schema_lex_program(c, LEX_SPACE, end, &end)) return -1;
    return schema_lex_program(c, token, end, &end) || schema_lex_program(c, LEX_SPACE, end, pc) ? -1 : 0;
}

// What all members share; then the program: the opening bracket and the members.
static int brackets(SchemaCompiler *c, GrammarMembers *m, uint32_t *pc) {
    if (spaced(c, m->object ? LEX_CLOSE_OBJECT : LEX_CLOSE_ARRAY, false, &m->close) ||
        spaced(c, LEX_COMMA, true, &m->comma) || schema_lex_program(c, LEX_SPACE, GRAMMAR_RETURN, &m->space))
        return -1;
    GrammarMembers taken = *m;
    m->items = NULL;
    return schema_lex_program(c, m->object ? LEX_OPEN_OBJECT : LEX_OPEN_ARRAY, grammar_add_members(c->g, taken), pc);
}

// ---- arrays ----

static size_t prefix_length(const Json *schema) {
    const Json *prefix = json_get(schema, "prefixItems");
    return prefix ? prefix->count : 0;
}

// What the schemas say about item i.
static int item_program(SchemaCompiler *c, const SchemaSet *s, size_t i, uint32_t *pc) {
    AUTO_SCHEMA_SET SchemaSet item = {0};
    for (size_t k = 0; k < s->count; k++) {
        const Json *schema = s->items[k].schema, *items = json_get(schema, "items");
        if (i < prefix_length(schema))
            schema_set_add(&item, &json_get(schema, "prefixItems")->items[i], PART_WHOLE);
        else if (items)
            schema_set_add(&item, items, PART_WHOLE);
    }
    return member_program(c, &item, pc);
}

int schema_array(SchemaCompiler *c, const SchemaSet *s, unsigned types, uint32_t *pc) {
    GrammarMembers m = {.max = -1};
    size_t prefix = 0;
    for (size_t i = 0; i < s->count; i++) {
        const Json *least = json_get(s->items[i].schema, "minItems"), *most = json_get(s->items[i].schema, "maxItems");
        int64_t n;
        if (least && json_whole(least, &n)) m.min = max64(m.min, n);
        if (most && json_whole(most, &n)) m.max = m.max < 0 ? n : min64(m.max, n);
        size_t own = prefix_length(s->items[i].schema);
        if (own > prefix) prefix = own;
    }
    AUTO_FREE uint32_t *items = mem_alloc(prefix + 1, sizeof *items);
    for (size_t i = 0; i < prefix; i++)
        if (item_program(c, s, i, &items[i])) return -1;
    if (item_program(c, s, prefix, &m.other)) return -1;
    m.n = (uint32_t)prefix;
    m.items = mem_take(&items);
    int rc = brackets(c, &m, pc);
    mem_free(m.items);
    return rc;
}

// ---- objects ----

typedef struct Names {
    JsonStr names[GRAMMAR_MAX_MEMBERS];
    size_t count;
    uint64_t required;
} Names;

static int add_name(const SchemaCompiler *c, Names *n, JsonStr name, const Json *at, size_t *which) {
    for (*which = 0; *which < n->count; ++*which)
        if (json_str_equal(n->names[*which], name)) return 0;
    if (n->count == GRAMMAR_MAX_MEMBERS)
        return schema_refuse(c, at, "more than %d members of an object are not supported", GRAMMAR_MAX_MEMBERS);
    n->names[n->count++] = name;
    return 0;
}

static int collect_names(const SchemaCompiler *c, const SchemaSet *s, Names *n) {
    size_t which;
    for (size_t i = 0; i < s->count; i++) {
        const Json *of = json_get(s->items[i].schema, "properties"),
                   *required = json_get(s->items[i].schema, "required");
        for (size_t k = 0; of && k < of->count; k++)
            if (add_name(c, n, of->keys[k], of, &which)) return -1;
        for (size_t k = 0; required && k < required->count; k++) {
            if (add_name(c, n, required->items[k].str, required, &which)) return -1;
            n->required |= 1ull << which;
        }
    }
    return 0;
}

// What the schemas say about a member; name NULL: about those that none of them names.
static SchemaSet member_set(const SchemaSet *s, const JsonStr *name) {
    SchemaSet member = {0};
    for (size_t i = 0; i < s->count; i++) {
        const Json *of = json_get(s->items[i].schema, "properties"), *own = NULL;
        for (size_t k = 0; name && of && k < of->count; k++)
            if (json_str_equal(of->keys[k], *name)) own = &of->items[k];
        if (!own) own = json_get(s->items[i].schema, "additionalProperties");
        if (own) schema_set_add(&member, own, PART_WHOLE);
    }
    return member;
}

// After a key: a colon and the value.
static int value_program(SchemaCompiler *c, const SchemaSet *s, const JsonStr *name, uint32_t *pc) {
    AUTO_SCHEMA_SET SchemaSet member = member_set(s, name);
    uint32_t at;
    return member_program(c, &member, &at) || schema_lex_program(c, LEX_SPACE, at, &at) ||
                   schema_lex_program(c, LEX_COLON, at, &at) || schema_lex_program(c, LEX_SPACE, at, pc)
               ? -1
               : 0;
}

static bool never_others(const SchemaSet *s) {
    for (size_t i = 0; i < s->count; i++) {
        const Json *other = json_get(s->items[i].schema, "additionalProperties");
        if (other && other->type == JSON_FALSE) return true;
    }
    return false;
}

// All keys but the names.
static int other_keys(SchemaCompiler *c, const Names *n, ByteDfa **out) {
    AUTO_DFA ByteDfa *any = NULL, *named = NULL;
    AUTO_CALL(nfa_clear) ByteNfa nfa = {0};
    NfaPart all = nfa_nothing(&nfa);
    for (size_t i = 0; i < n->count; i++) {
        AUTO_STR StrBuf key = {0};
        schema_quote(&key, n->names[i]);
        all = nfa_either(&nfa, all, nfa_text(&nfa, key.data, key.len));
    }
    if (pattern_compile(&any, schema_lex[LEX_KEY], strlen(schema_lex[LEX_KEY]), true, c->err) ||
        dfa_of_nfa(&named, &nfa, all, c->err))
        return -1;
    return dfa_both(out, any, named, true, c->err);
}

static int other_pair(SchemaCompiler *c, const SchemaSet *s, const Names *n, uint32_t *pc) {
    ByteDfa *key;
    uint32_t value;
    if (value_program(c, s, NULL, &value)) return -1;
    if (!n->count) return schema_text_program(c, 0, -1, value, pc);
    if (other_keys(c, n, &key)) return -1;
    *pc = grammar_dfa(c->g, grammar_add_dfa(c->g, key), value);
    return 0;
}

static int named_pair(SchemaCompiler *c, const SchemaSet *s, const JsonStr *name, uint32_t *pc) {
    AUTO_STR StrBuf text = {0};
    ByteDfa *key;
    uint32_t value;
    schema_quote(&text, *name);
    if (value_program(c, s, name, &value) || dfa_of_text(&key, text.data, text.len, c->err)) return -1;
    *pc = grammar_dfa(c->g, grammar_add_dfa(c->g, key), value);
    return 0;
}

static int pairs(SchemaCompiler *c, const SchemaSet *s, const Names *n, GrammarMembers *m) {
    for (; m->n < n->count; m->n++)
        if (named_pair(c, s, &n->names[m->n], &m->items[m->n])) return -1;
    m->other = GRAMMAR_NONE;
    return never_others(s) ? 0 : other_pair(c, s, n, &m->other);
}

int schema_object(SchemaCompiler *c, const SchemaSet *s, unsigned types, uint32_t *pc) {
    Names n = {.count = 0};
    if (collect_names(c, s, &n)) return -1;
    GrammarMembers m = {.object = true, .required = n.required, .items = mem_alloc(n.count + 1, sizeof *m.items)};
    int rc = pairs(c, s, &n, &m) || brackets(c, &m, pc) ? -1 : 0;
    mem_free(m.items);
    return rc;
}
