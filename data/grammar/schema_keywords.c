// schema_keywords: which keywords a schema may have and what they may hold; those that are about types, values and
// references.
#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema_internal.h"

int schema_refuse(const SchemaCompiler *c, const Json *at, const char *fmt, ...) {
    char text[600];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return err_input(c->err, "schema:%u: %s", at->line, text);
}

// ---- the table ----

typedef enum {
    HOLDS_ANY,
    HOLDS_TEXT,
    HOLDS_TYPES,
    HOLDS_LIST,
    HOLDS_SCHEMAS,
    HOLDS_SCHEMA,
    HOLDS_OBJECT,
    HOLDS_NAMES,
    HOLDS_COUNT,
    HOLDS_NUMBER
} Holds;

static const struct Keyword {
    const char *name;
    bool plain;     // PART_PLAIN stands for it
    unsigned types; // of the values that it is about; 0: of all
    Holds holds;
} keywords[] = {
    {"type", true, 0, HOLDS_TYPES},
    {"enum", true, 0, HOLDS_LIST},
    {"const", true, 0, HOLDS_ANY},
    {"properties", true, TYPE_OBJECT, HOLDS_OBJECT},
    {"required", true, TYPE_OBJECT, HOLDS_NAMES},
    {"additionalProperties", true, TYPE_OBJECT, HOLDS_SCHEMA},
    {"items", true, TYPE_ARRAY, HOLDS_SCHEMA},
    {"prefixItems", true, TYPE_ARRAY, HOLDS_SCHEMAS},
    {"minItems", true, TYPE_ARRAY, HOLDS_COUNT},
    {"maxItems", true, TYPE_ARRAY, HOLDS_COUNT},
    {"minLength", true, TYPE_STRING, HOLDS_COUNT},
    {"maxLength", true, TYPE_STRING, HOLDS_COUNT},
    {"pattern", true, TYPE_STRING, HOLDS_TEXT},
    {"format", true, TYPE_STRING, HOLDS_TEXT},
    {"minimum", true, TYPE_NUMBER, HOLDS_NUMBER},
    {"maximum", true, TYPE_NUMBER, HOLDS_NUMBER},
    {"exclusiveMinimum", true, TYPE_NUMBER, HOLDS_NUMBER},
    {"exclusiveMaximum", true, TYPE_NUMBER, HOLDS_NUMBER},
    {"allOf", false, 0, HOLDS_SCHEMAS},
    {"anyOf", false, 0, HOLDS_SCHEMAS},
    {"oneOf", false, 0, HOLDS_SCHEMAS},
    {"$ref", false, 0, HOLDS_TEXT},
};

// Annotations, and where schemas are kept that $ref names.
static const char annotations[] = "$schema $id $comment $defs definitions title description default example examples "
                                  "deprecated readOnly writeOnly discriminator";

static bool is_schema(const Json *v) { return v->type == JSON_OBJECT || v->type == JSON_TRUE || v->type == JSON_FALSE; }

static bool all_are(const Json *v, bool (*is)(const Json *)) {
    for (size_t i = 0; i < v->count; i++)
        if (!is(&v->items[i])) return false;
    return true;
}

// The text of one of the types; 0: of none.
static unsigned type_named(const Json *v) {
    static const struct {
        const char *name;
        unsigned type;
    } types[] = {{"null", TYPE_NULL},     {"boolean", TYPE_BOOLEAN}, {"integer", TYPE_INTEGER}, {"number", TYPE_NUMBER},
                 {"string", TYPE_STRING}, {"array", TYPE_ARRAY},     {"object", TYPE_OBJECT}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (json_is_string(v, types[i].name)) return types[i].type;
    return 0;
}

static bool is_type(const Json *v) { return type_named(v) != 0; }

// NULL: it holds what it may.
static const char *wrong(Holds holds, const Json *v) {
    int64_t n;
    switch (holds) {
    case HOLDS_ANY: return NULL;
    case HOLDS_TEXT: return json_is_text(v) ? NULL : "a string";
    case HOLDS_TYPES:
        return is_type(v) || (v->type == JSON_ARRAY && all_are(v, is_type)) ? NULL
                                                                            : "names of types, or a list of them";
    case HOLDS_LIST: return v->type == JSON_ARRAY && v->count ? NULL : "a list that is not empty";
    case HOLDS_SCHEMAS: return v->type == JSON_ARRAY && v->count && all_are(v, is_schema) ? NULL : "a list of schemas";
    case HOLDS_SCHEMA: return is_schema(v) ? NULL : "a schema";
    case HOLDS_OBJECT: return v->type == JSON_OBJECT && all_are(v, is_schema) ? NULL : "an object of schemas";
    case HOLDS_NAMES: return v->type == JSON_ARRAY && all_are(v, json_is_text) ? NULL : "a list of strings";
    case HOLDS_COUNT: return json_whole(v, &n) && n >= 0 ? NULL : "a whole number, 0 or more";
    case HOLDS_NUMBER: return json_is_number(v) ? NULL : "a number";
    }
    return NULL;
}

static const struct Keyword *find_keyword(JsonStr name) {
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (json_str_is(name, keywords[i].name)) return &keywords[i];
    return NULL;
}

int schema_check_keywords(const SchemaCompiler *c, const Json *schema) {
    for (size_t i = 0; i < schema->count; i++) {
        JsonStr name = schema->keys[i];
        const Json *v = &schema->items[i];
        const struct Keyword *k = find_keyword(name);
        const char *expected = k ? wrong(k->holds, v) : NULL;
        if (expected) return schema_refuse(c, v, "\"%s\" is %s; expected %s", k->name, json_type_name(v), expected);
        bool note = is_among(name.data, name.len, annotations) || (name.len > 2 && memcmp(name.data, "x-", 2) == 0);
        if (!k && !note) return schema_refuse(c, v, "\"%.60s\" is not supported", name.data);
        if (json_str_is(name, "$id") && schema != c->root)
            return schema_refuse(c, v, "\"$id\" inside is not supported");
    }
    return 0;
}

bool schema_has_plain(const Json *schema) {
    for (size_t i = 0; i < schema->count; i++) {
        const struct Keyword *k = find_keyword(schema->keys[i]);
        if (k && k->plain) return true;
    }
    return false;
}

int schema_check_enum(const SchemaCompiler *c, const Json *schema, unsigned types) {
    for (size_t i = 0; i < schema->count; i++) {
        const struct Keyword *k = find_keyword(schema->keys[i]);
        if (k && k->types & types)
            return schema_refuse(c, &schema->items[i], "\"%s\" together with enum or const is not supported", k->name);
    }
    return 0;
}

// ---- types and values ----

unsigned schema_types(const Json *schema) {
    const Json *v = json_get(schema, "type");
    unsigned types = 0;
    if (!v) return TYPE_ALL;
    if (v->type != JSON_ARRAY) return type_named(v);
    for (size_t i = 0; i < v->count; i++) types |= type_named(&v->items[i]);
    return types;
}

unsigned schema_type_of(const Json *value) {
    int64_t n;
    switch (value->type) {
    case JSON_NULL: return TYPE_NULL;
    case JSON_FALSE:
    case JSON_TRUE: return TYPE_BOOLEAN;
    case JSON_INT: return TYPE_INTEGER;
    case JSON_FLOAT: return json_whole(value, &n) || fabs(value->number) >= 0x1p53 ? TYPE_INTEGER : TYPE_FRACTION;
    case JSON_STRING: return TYPE_STRING;
    case JSON_ARRAY: return TYPE_ARRAY;
    case JSON_OBJECT: return TYPE_OBJECT;
    }
    return 0;
}

bool json_values_equal(const Json *a, const Json *b) {
    if (json_is_number(a) && json_is_number(b))
        return a->type == JSON_INT && b->type == JSON_INT ? a->integer == b->integer : a->number == b->number;
    if (a->type != b->type || a->count != b->count) return false;
    if (a->type == JSON_STRING) return json_str_equal(a->str, b->str);
    for (size_t i = 0; i < a->count; i++) {
        const Json *other = a->type == JSON_ARRAY ? &b->items[i] : json_get(b, a->keys[i].data);
        if (!other || !json_values_equal(&a->items[i], other)) return false;
    }
    return true;
}

const Json *schema_enum(const Json *schema, size_t *n) {
    const Json *list = json_get(schema, "enum"), *value = json_get(schema, "const");
    *n = list ? list->count : value != NULL;
    return list ? list->items : value;
}

// ---- references ----

// The part of a JSON pointer up to the next /, with its escapes undone.
static void unescape(StrBuf *out, const char *at, size_t len) {
    str_puts(out, "");
    for (size_t i = 0; i < len; i++) {
        char c = at[i];
        if (c == '~' && i + 1 < len && (at[i + 1] == '0' || at[i + 1] == '1'))
            c = at[++i] == '0' ? '~' : '/';
        else if (c == '%' && i + 2 < len && isxdigit((unsigned char)at[i + 1]) && isxdigit((unsigned char)at[i + 2]))
            c = (char)strtoul((const char[]){at[i + 1], at[i + 2], 0}, NULL, 16), i += 2;
        str_add(out, &c, 1);
    }
}

static const Json *child(const Json *v, const StrBuf *name) {
    char *end;
    if (v->type == JSON_OBJECT) {
        for (size_t i = 0; i < v->count; i++)
            if (json_str_equal(v->keys[i], (JsonStr){name->data, name->len})) return &v->items[i];
        return NULL;
    }
    if (v->type != JSON_ARRAY || !name->len || strspn(name->data, "0123456789") != name->len || name->len > 9)
        return NULL;
    size_t i = strtoul(name->data, &end, 10);
    return i < v->count ? &v->items[i] : NULL;
}

int schema_resolve(const SchemaCompiler *c, const Json *schema, const Json **out) {
    const Json *ref = json_get(schema, "$ref"), *at = c->root;
    const char *p = ref->str.data, *end = p + ref->str.len;
    if (p == end || *p != '#' || (p[1] && p[1] != '/'))
        return schema_refuse(c, ref, "\"$ref\" is \"%.100s\"; expected one within the schema: #, #/$defs/NAME, ...", p);
    for (p++; p < end && at;) {
        size_t len = strcspn(p + 1, "/");
        AUTO_STR StrBuf name = {0};
        unescape(&name, p + 1, len);
        at = child(at, &name);
        p += 1 + len;
    }
    if (!at) return schema_refuse(c, ref, "\"$ref\": \"%.100s\" names nothing", ref->str.data);
    if (!is_schema(at))
        return schema_refuse(c, ref, "\"$ref\": \"%.100s\" names %s; expected a schema", ref->str.data,
                             json_type_name(at));
    *out = at;
    return 0;
}
