// schema_one_of: whether two schemas exclude each other. "oneOf" is then "anyOf".
#include <string.h>

#include "schema_internal.h"

enum { MAX_DEPTH = 8, MAX_WORK = 1 << 20 }; // of references and members; of comparisons, all together

static bool all_disjoint(SchemaCompiler *c, const Json *list, const Json *b, int depth) {
    for (size_t i = 0; i < list->count; i++)
        if (!schema_disjoint(c, &list->items[i], b, depth)) return false;
    return true;
}

static bool any_disjoint(SchemaCompiler *c, const Json *list, const Json *b, int depth) {
    for (size_t i = 0; list && i < list->count; i++)
        if (schema_disjoint(c, &list->items[i], b, depth)) return true;
    return false;
}

// Whether a part of `a` that every value of it fits excludes b.
static bool part_disjoint(SchemaCompiler *c, const Json *a, const Json *b, int depth) {
    const Json *target, *any = json_get(a, "anyOf"), *one = json_get(a, "oneOf");
    if (json_get(a, "$ref") && schema_resolve(c, a, &target) == 0 && schema_disjoint(c, target, b, depth)) return true;
    return (any && all_disjoint(c, any, b, depth)) || (one && all_disjoint(c, one, b, depth)) ||
           any_disjoint(c, json_get(a, "allOf"), b, depth);
}

static unsigned possible_types(const Json *schema) {
    size_t n;
    const Json *values = schema_enum(schema, &n);
    unsigned types = values ? 0 : TYPE_ALL;
    for (size_t i = 0; values && i < n; i++) types |= schema_type_of(&values[i]);
    return types & schema_types(schema);
}

static bool values_disjoint(SchemaCompiler *c, const Json *a, const Json *b) {
    size_t n_a, n_b;
    const Json *of_a = schema_enum(a, &n_a), *of_b = schema_enum(b, &n_b);
    if (!of_a || !of_b) return false;
    for (size_t i = 0; i < n_a; i++)
        for (size_t k = 0; k < n_b; k++)
            if (++c->comparisons > MAX_WORK || json_values_equal(&of_a[i], &of_b[k])) return false;
    return true;
}

// ---- objects ----

static const Json *member(const Json *schema, JsonStr name) {
    const Json *of = json_get(schema, "properties");
    for (size_t k = 0; of && k < of->count; k++)
        if (json_str_equal(of->keys[k], name)) return &of->items[k];
    return json_get(schema, "additionalProperties");
}

// A member that `a` requires and that cannot fit both, or is not there in a value of b.
static bool required_disjoint(SchemaCompiler *c, const Json *a, const Json *b, int depth) {
    const Json *required = json_get(a, "required"), *also = json_get(b, "required");
    for (size_t i = 0; required && i < required->count; i++) {
        JsonStr name = required->items[i].str;
        const Json *of_a = member(a, name), *of_b = member(b, name);
        bool both = false;
        for (size_t k = 0; also && k < also->count; k++) both = both || json_str_equal(also->items[k].str, name);
        if (of_b && of_b->type == JSON_FALSE) return true;
        if (both && of_a && of_b && schema_disjoint(c, of_a, of_b, depth)) return true;
    }
    return false;
}

bool schema_disjoint(SchemaCompiler *c, const Json *a, const Json *b, int depth) {
    if (a->type == JSON_FALSE || b->type == JSON_FALSE) return true;
    if (a->type != JSON_OBJECT || b->type != JSON_OBJECT || depth > MAX_DEPTH || ++c->comparisons > MAX_WORK)
        return false;
    if (schema_check_keywords(c, a) || schema_check_keywords(c, b)) return false; // refused where it is compiled
    unsigned types = possible_types(a) & possible_types(b);
    if (!types || values_disjoint(c, a, b)) return true;
    if (types == TYPE_OBJECT && (required_disjoint(c, a, b, depth + 1) || required_disjoint(c, b, a, depth + 1)))
        return true;
    return part_disjoint(c, a, b, depth + 1) || part_disjoint(c, b, a, depth + 1);
}
