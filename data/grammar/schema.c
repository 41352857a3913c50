#include "schema.h"

#include <stdlib.h>
#include <string.h>

#include "pattern.h"
#include "schema_internal.h"

// ---- sets ----

void schema_set_add(SchemaSet *s, const Json *schema, SchemaPart part) {
    if (schema->type == JSON_TRUE) return;
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].schema == schema && s->items[i].part == part) return;
    MEM_GROW(s->items, s->capacity, s->count + 1);
    s->items[s->count++] = (SchemaItem){schema, part};
}

void schema_set_clear(SchemaSet *s) {
    mem_free(s->items);
    *s = (SchemaSet){0};
}

static int by_address(const void *a, const void *b) {
    const SchemaItem *x = a, *y = b;
    if (x->schema != y->schema) return x->schema < y->schema ? -1 : 1;
    return (x->part > y->part) - (x->part < y->part);
}

int schema_rule(SchemaCompiler *c, const SchemaSet *s, uint32_t *rule) {
    size_t bytes = s->count * sizeof *s->items;
    AUTO_FREE SchemaItem *key = mem_alloc(s->count + 1, sizeof *key);
    bool is_new;
    if (s->count) memcpy(key, s->items, bytes);
    qsort(key, s->count, sizeof *key, by_address);
    uint32_t set = intern_add(&c->sets, key, bytes, &is_new);
    *rule = set + 1;
    if (!is_new) return 0;
    if (set >= SCHEMA_MAX_RULES)
        return err_input(c->err, "it has more than %d combinations of schemas", SCHEMA_MAX_RULES);
    uint32_t added = grammar_add_rule(c->g, NULL);
    CHECK(added == *rule);
    return 0;
}

// ---- shared automata ----

const char *const schema_lex[LEX_COUNT] = {
    [LEX_SPACE] = " ?|\\n{1,2}[ \\t]{0,40}",
    [LEX_QUOTE] = "\"",
    [LEX_CHARACTER] = ("[^\"\\\\\\x00-\\x1f]|\\\\(?:[\"\\\\/bfnrt]|u(?:[0-9a-cefA-CEF][0-9a-fA-F]{3}|"
                       "[dD](?:[0-7][0-9a-fA-F]{2}|[89abAB][0-9a-fA-F]{2}\\\\u[dD][c-fC-F][0-9a-fA-F]{2})))"),
    [LEX_NULL] = "null",
    [LEX_BOOLEAN] = "true|false",
    [LEX_INTEGER] = "-?(?:0|[1-9][0-9]{0,17})",
    [LEX_NUMBER] = "-?(?:0|[1-9][0-9]{0,17})(?:\\.[0-9]{1,18})?(?:[eE][+-]?[0-9]{1,2})?",
    [LEX_OPEN_ARRAY] = "\\[",
    [LEX_CLOSE_ARRAY] = "\\]",
    [LEX_OPEN_OBJECT] = "\\{",
    [LEX_CLOSE_OBJECT] = "\\}",
    [LEX_COMMA] = ",",
    [LEX_COLON] = ":",
    [LEX_KEY] = "\"(?:[^\"\\\\\\x00-\\x1f]|\\\\[\"\\\\bfnrt])*\"",
};

int schema_lex_dfa(SchemaCompiler *c, SchemaLex which, uint32_t *dfa) {
    if (!c->lex[which]) {
        ByteDfa *d;
        if (pattern_compile(&d, schema_lex[which], strlen(schema_lex[which]), true, c->err)) return -1;
        c->lex[which] = grammar_add_dfa(c->g, d) + 1;
    }
    *dfa = c->lex[which] - 1;
    return 0;
}

int schema_lex_program(SchemaCompiler *c, SchemaLex which, uint32_t next, uint32_t *pc) {
    uint32_t dfa;
    if (schema_lex_dfa(c, which, &dfa)) return -1;
    *pc = grammar_dfa(c->g, dfa, next);
    return 0;
}

// ---- a set of schemas as what is left to say about it ----

// Replaces item i, a whole schema, by its parts; parts of it that are already there are not added again, so that
// references in a circle end.
static int expand(SchemaSet *s, size_t i, const SchemaCompiler *c) {
    const Json *schema = s->items[i].schema, *target;
    if (schema_check_keywords(c, schema)) return -1;
    if (schema_has_plain(schema)) schema_set_add(s, schema, PART_PLAIN);
    if (json_get(schema, "anyOf")) schema_set_add(s, schema, PART_ANY_OF);
    if (json_get(schema, "oneOf")) schema_set_add(s, schema, PART_ONE_OF);
    if (json_get(schema, "$ref")) {
        if (schema_resolve(c, schema, &target)) return -1;
        schema_set_add(s, target, PART_WHOLE);
    }
    const Json *all = json_get(schema, "allOf");
    for (size_t k = 0; all && k < all->count; k++) schema_set_add(s, &all->items[k], PART_WHOLE);
    return 0;
}

// *never: a part of it is false.
static int expand_all(SchemaSet *out, const SchemaCompiler *c, const SchemaItem *items, size_t n, bool *never) {
    AUTO_SCHEMA_SET SchemaSet all = {0};
    *never = false;
    for (size_t i = 0; i < n; i++) schema_set_add(&all, items[i].schema, (SchemaPart)items[i].part);
    for (size_t i = 0; i < all.count; i++) {
        const Json *schema = all.items[i].schema;
        if (schema->type == JSON_FALSE) *never = true;
        if (all.items[i].part != PART_WHOLE)
            schema_set_add(out, schema, (SchemaPart)all.items[i].part);
        else if (schema->type == JSON_OBJECT) {
            if (expand(&all, i, c)) return -1;
        } else if (schema->type != JSON_FALSE) {
            return schema_refuse(c, schema, "a schema is %s; expected an object, true or false",
                                 json_type_name(schema));
        }
    }
    return 0;
}

// ---- alternatives ----

static int check_exclusive(SchemaCompiler *c, const Json *list) {
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].type == JSON_OBJECT && schema_check_keywords(c, &list->items[i])) return -1;
    for (size_t i = 0; i < list->count; i++)
        for (size_t k = 0; k < i; k++)
            if (!schema_disjoint(c, &list->items[k], &list->items[i], 0))
                return schema_refuse(c, list,
                                     "\"oneOf\": alternatives %zu and %zu may both fit; expected ones that exclude "
                                     "each other by type, enum, const or required members, or \"anyOf\"",
                                     k + 1, i + 1);
    return 0;
}

// The set without item i, and with one of its alternatives, for each of them.
static int alternatives(SchemaCompiler *c, const SchemaSet *s, size_t i, uint32_t *pc) {
    bool one = s->items[i].part == PART_ONE_OF;
    const Json *list = json_get(s->items[i].schema, one ? "oneOf" : "anyOf");
    if (one && check_exclusive(c, list)) return -1;
    AUTO_FREE uint32_t *targets = mem_alloc(list->count, sizeof *targets);
    for (size_t k = 0; k < list->count; k++) {
        AUTO_SCHEMA_SET SchemaSet chosen = {0};
        uint32_t rule;
        for (size_t j = 0; j < s->count; j++)
            if (j != i) schema_set_add(&chosen, s->items[j].schema, (SchemaPart)s->items[j].part);
        schema_set_add(&chosen, &list->items[k], PART_WHOLE);
        if (schema_rule(c, &chosen, &rule)) return -1;
        targets[k] = grammar_call(c->g, rule, GRAMMAR_RETURN);
    }
    *pc = grammar_either(c->g, targets, list->count);
    return 0;
}

// ---- plain sets ----

enum { MAX_ENUM_PAIRS = 1 << 20 };

// Whether the value of the set's enum number `first` is among those of every other one, and is what each const is.
static bool is_in_all(const SchemaSet *s, size_t first, const Json *value) {
    for (size_t i = 0; i < s->count; i++) {
        size_t n, k = 0;
        const Json *values = schema_enum(s->items[i].schema, &n), *only = json_get(s->items[i].schema, "const");
        if (only && !json_values_equal(value, only)) return false;
        if (i == first) continue;
        while (values && k < n && !json_values_equal(value, &values[k])) k++;
        if (values && k == n) return false;
    }
    return true;
}

static int check_pairs(const SchemaCompiler *c, const SchemaSet *s, size_t first, size_t n_values) {
    for (size_t i = 0; i < s->count; i++) {
        size_t n;
        if (i != first && schema_enum(s->items[i].schema, &n) && n_values * n > MAX_ENUM_PAIRS)
            return schema_refuse(c, s->items[i].schema, "enums of %zu and %zu values at once are too large", n_values,
                                 n);
    }
    return 0;
}

static int enumerated(SchemaCompiler *c, const SchemaSet *s, size_t first, unsigned types, uint32_t *pc) {
    size_t n_values, n = 0;
    const Json *values = schema_enum(s->items[first].schema, &n_values);
    AUTO_FREE const Json **kept = mem_alloc(n_values + 1, sizeof *kept);
    unsigned kept_types = 0;
    if (check_pairs(c, s, first, n_values)) return -1;
    for (size_t v = 0; v < n_values; v++) {
        unsigned type = schema_type_of(&values[v]);
        if (!(type & types) || !is_in_all(s, first, &values[v])) continue;
        kept[n++] = &values[v];
        kept_types |= type;
    }
    for (size_t i = 0; i < s->count; i++)
        if (schema_check_enum(c, s->items[i].schema, kept_types)) return -1;
    return schema_values(c, kept, n, pc);
}

static int boolean(SchemaCompiler *c, const SchemaSet *s, unsigned types, uint32_t *pc) {
    return schema_lex_program(c, LEX_BOOLEAN, GRAMMAR_RETURN, pc);
}

static int null(SchemaCompiler *c, const SchemaSet *s, unsigned types, uint32_t *pc) {
    return schema_lex_program(c, LEX_NULL, GRAMMAR_RETURN, pc);
}

static int by_type(SchemaCompiler *c, const SchemaSet *s, unsigned types, uint32_t *pc) {
    static const struct {
        unsigned types;
        SchemaProgram *make;
    } kinds[] = {{TYPE_OBJECT, schema_object}, {TYPE_ARRAY, schema_array}, {TYPE_STRING, schema_string},
                 {TYPE_NUMBER, schema_number}, {TYPE_BOOLEAN, boolean},    {TYPE_NULL, null}};
    enum { KINDS = sizeof kinds / sizeof *kinds };
    uint32_t targets[KINDS];
    size_t n = 0;
    for (size_t k = 0; k < KINDS; k++)
        if (kinds[k].types & types && kinds[k].make(c, s, types, &targets[n++])) return -1;
    *pc = grammar_either(c->g, targets, n);
    return 0;
}

static int make_program(SchemaCompiler *c, const SchemaSet *s, bool never, uint32_t *pc) {
    unsigned types = TYPE_ALL;
    if (never) {
        *pc = grammar_either(c->g, NULL, 0);
        return 0;
    }
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].part != PART_PLAIN) return alternatives(c, s, i, pc);
    for (size_t i = 0; i < s->count; i++) types &= schema_types(s->items[i].schema);
    for (size_t i = 0; i < s->count; i++)
        if (schema_enum(s->items[i].schema, &(size_t){0})) return enumerated(c, s, i, types, pc);
    return by_type(c, s, types, pc);
}

static int define(SchemaCompiler *c, uint32_t set) {
    AUTO_SCHEMA_SET SchemaSet parts = {0};
    JsonStr key = intern_key(&c->sets, set);
    size_t n = key.len / sizeof(SchemaItem);
    AUTO_FREE SchemaItem *items = mem_alloc(n + 1, sizeof *items);
    bool never;
    uint32_t pc;
    if (n) memcpy(items, key.data, key.len);
    if (expand_all(&parts, c, items, n, &never) || make_program(c, &parts, never, &pc)) return -1;
    c->g->rules[set + 1].start = pc;
    return c->g->full
               ? err_input(c->err, "it is too large: its automata take more than %d MB", GRAMMAR_MAX_DFA_BYTES >> 20)
               : 0;
}

// Rule 0: white space, the value. None after it: models that are not taught to stop would go on with it.
static int compile(SchemaCompiler *c) {
    AUTO_SCHEMA_SET SchemaSet whole = {0};
    uint32_t value;
    grammar_add_rule(c->g, NULL);
    schema_set_add(&whole, c->root, PART_WHOLE);
    if (schema_rule(c, &whole, &value)) return -1;
    value = grammar_call(c->g, value, GRAMMAR_RETURN);
    if (schema_lex_program(c, LEX_SPACE, value, &c->g->rules[0].start)) return -1;
    for (uint32_t set = 0; set < c->sets.count; set++)
        if (define(c, set)) return -1;
    return 0;
}

int schema_compile(Grammar **out, JsonStr text, Err *err) {
    AUTO_JSON JsonDoc *doc = NULL;
    AUTO_GRAMMAR Grammar *g = grammar_new();
    if (text.len > SCHEMA_MAX_BYTES)
        return err_input(err, "schema of %zu bytes; expected at most %d", text.len, SCHEMA_MAX_BYTES);
    if (json_parse(&doc, text.data, text.len, "schema", 1, err)) return -1;
    SchemaCompiler c = {.root = json_root(doc), .g = g, .err = err};
    int rc = compile(&c);
    intern_clear(&c.sets);
    if (rc) return -1;
    *out = mem_take(&g);
    return 0;
}
