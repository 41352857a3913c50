// schema_check: whether a value of JSON is valid under a schema, straight from the definition: for the keywords that
// the random schemas of test_structured.c use. It shares nothing with data/grammar.
#pragma once

#include "json.h"
#include "regex.h"
#include "test.h"

static inline bool check_same(const Json *a, const Json *b) {
    if (json_is_number(a) && json_is_number(b)) return a->number == b->number;
    if (a->type != b->type || a->count != b->count) return false;
    if (a->type == JSON_STRING) return json_str_equal(a->str, b->str);
    for (size_t i = 0; i < a->count; i++) {
        const Json *other = a->type == JSON_ARRAY ? &b->items[i] : json_get(b, a->keys[i].data);
        if (!other || !check_same(&a->items[i], other)) return false;
    }
    return true;
}

static inline bool check_type(const char *name, const Json *v) {
    bool boolean = v->type == JSON_TRUE || v->type == JSON_FALSE;
    return (v->type == JSON_NULL && strcmp(name, "null") == 0) || (boolean && strcmp(name, "boolean") == 0) ||
           (v->type == JSON_INT && strcmp(name, "integer") == 0) ||
           (json_is_number(v) && strcmp(name, "number") == 0) ||
           (v->type == JSON_STRING && strcmp(name, "string") == 0) ||
           (v->type == JSON_ARRAY && strcmp(name, "array") == 0) ||
           (v->type == JSON_OBJECT && strcmp(name, "object") == 0);
}

static inline bool schema_check(const Json *root, const Json *s, const Json *v);

static inline bool check_number(const Json *s, const Json *v) {
    const Json *lo = json_get(s, "minimum"), *hi = json_get(s, "maximum"), *over = json_get(s, "exclusiveMinimum"),
               *under = json_get(s, "exclusiveMaximum");
    return (!lo || v->number >= lo->number) && (!hi || v->number <= hi->number) &&
           (!over || v->number > over->number) && (!under || v->number < under->number);
}

static inline bool check_text(const Json *s, const Json *v) {
    const Json *least = json_get(s, "minLength"), *most = json_get(s, "maxLength"), *pattern = json_get(s, "pattern");
    int64_t n = 0;
    for (size_t i = 0; i < v->str.len; i++) n += ((uint8_t)v->str.data[i] & 0xC0) != 0x80;
    if ((least && n < least->integer) || (most && n > most->integer)) return false;
    if (!pattern) return true;
    PyRegex *r;
    Err err = {0};
    ASSERT_OK(pyregex_new(&r, pattern->str.data, true, &err), &err);
    bool found = pyregex_match(r, v->str.data, NULL, &err) == 1 && strlen(v->str.data) == v->str.len;
    pyregex_free(r);
    return found;
}

static inline bool check_list(const Json *root, const Json *s, const Json *v) {
    const Json *least = json_get(s, "minItems"), *most = json_get(s, "maxItems"), *items = json_get(s, "items");
    if ((least && (int64_t)v->count < least->integer) || (most && (int64_t)v->count > most->integer)) return false;
    for (size_t i = 0; items && i < v->count; i++)
        if (!schema_check(root, items, &v->items[i])) return false;
    return true;
}

static inline bool check_members(const Json *root, const Json *s, const Json *v) {
    const Json *of = json_get(s, "properties"), *required = json_get(s, "required"),
               *others = json_get(s, "additionalProperties");
    for (size_t i = 0; required && i < required->count; i++)
        if (!json_get(v, required->items[i].str.data)) return false;
    for (size_t i = 0; i < v->count; i++) {
        const Json *own = of ? json_get(of, v->keys[i].data) : NULL;
        if (!own) own = others;
        if (own && !schema_check(root, own, &v->items[i])) return false;
    }
    return true;
}

static inline bool check_any(const Json *root, const Json *list, const Json *v) {
    for (size_t i = 0; i < list->count; i++)
        if (schema_check(root, &list->items[i], v)) return true;
    return false;
}

static inline bool schema_check(const Json *root, const Json *s, const Json *v) {
    const Json *type = json_get(s, "type"), *list = json_get(s, "enum"), *only = json_get(s, "const"),
               *any = json_get(s, "anyOf"), *ref = json_get(s, "$ref");
    bool found = false;
    if (s->type != JSON_OBJECT) return s->type == JSON_TRUE;
    if (ref && !schema_check(root, json_get(json_get(root, "$defs"), ref->str.data + strlen("#/$defs/")), v))
        return false;
    if (type && !check_type(type->str.data, v)) return false;
    for (size_t i = 0; list && i < list->count; i++) found = found || check_same(&list->items[i], v);
    if ((list && !found) || (only && !check_same(only, v)) || (any && !check_any(root, any, v))) return false;
    if (json_is_number(v)) return check_number(s, v);
    if (v->type == JSON_STRING) return check_text(s, v);
    if (v->type == JSON_ARRAY) return check_list(root, s, v);
    return v->type != JSON_OBJECT || check_members(root, s, v);
}
