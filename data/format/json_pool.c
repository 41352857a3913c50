// json_pool: values that are built next to a parsed document; unchanged parts are shared.
#include "json_pool.h"

#include <string.h>

#include "record_faults.h"

// ---- the pool ----

static void *keep(JsonPool *pool, void *block) {
    MEM_GROW(pool->blocks, pool->blocks_capacity, pool->n_blocks + 1);
    return pool->blocks[pool->n_blocks++] = block;
}

void *json_pool_alloc(JsonPool *pool, size_t count, size_t size) {
    return keep(pool, mem_alloc(count ? count : 1, size));
}

void json_pool_clear(JsonPool *pool) {
    for (size_t i = 0; i < pool->n_blocks; i++) mem_free(pool->blocks[i]);
    for (size_t i = 0; i < pool->n_docs; i++) json_free(pool->docs[i]);
    mem_free(pool->blocks);
    mem_free(pool->docs);
    *pool = (JsonPool){0};
}

JsonStr json_pool_text(JsonPool *pool, StrBuf *text) {
    str_add(text, "", 0);
    JsonStr s = {keep(pool, text->data), text->len};
    *text = (StrBuf){0};
    return s;
}

const Json *json_pool_parse(JsonPool *pool, JsonStr text, const char *what, Err *err) {
    JsonDoc *doc;
    if (json_parse_data(&doc, text.data, text.len, what, 0, err)) {
        fault_in_value(what, 0, text.data, text.len, err);
        return NULL;
    }
    MEM_GROW(pool->docs, pool->docs_capacity, pool->n_docs + 1);
    pool->docs[pool->n_docs++] = doc;
    return json_root(doc);
}

// ---- nodes ----

JsonStr json_str(const char *text) { return (JsonStr){text, strlen(text)}; }

bool json_text_is_integer(const char *text, size_t len) {
    bool minus = len && *text == '-';
    const char *digits = text + minus;
    size_t n = len - minus;
    return n && n <= 18 && strspn(digits, "0123456789") >= n && (n == 1 || *digits != '0');
}

Json json_string(JsonStr text) { return (Json){.type = JSON_STRING, .str = text}; }

Json json_with(JsonPool *pool, const Json *object, const char *key, Json value) {
    size_t n = object ? object->count : 0, at = 0;
    JsonStr *keys = json_pool_alloc(pool, n + 1, sizeof *keys);
    Json *items = json_pool_alloc(pool, n + 1, sizeof *items);
    if (n) {
        memcpy(keys, object->keys, n * sizeof *keys);
        memcpy(items, object->items, n * sizeof *items);
    }
    while (at < n && !json_str_is(keys[at], key)) at++;
    keys[at] = json_str(key);
    items[at] = value;
    return (Json){.type = JSON_OBJECT, .count = at == n ? n + 1 : n, .items = items, .keys = keys};
}

Json json_without_nulls(JsonPool *pool, const Json *object, const char *keep) {
    size_t n = 0, nulls = 0;
    for (size_t i = 0; i < object->count; i++) nulls += object->items[i].type == JSON_NULL;
    if (!nulls) return *object;
    JsonStr *keys = json_pool_alloc(pool, object->count, sizeof *keys);
    Json *items = json_pool_alloc(pool, object->count, sizeof *items);
    for (size_t i = 0; i < object->count; i++) {
        if (object->items[i].type == JSON_NULL && !(keep && json_str_is(object->keys[i], keep))) continue;
        keys[n] = object->keys[i];
        items[n++] = object->items[i];
    }
    return (Json){.type = JSON_OBJECT, .count = n, .items = items, .keys = keys};
}

Json json_list(const Json *items, size_t count) { return (Json){.type = JSON_ARRAY, .count = count, .items = items}; }

bool json_equal(const Json *a, const Json *b) {
    bool list = a->type == JSON_ARRAY || a->type == JSON_OBJECT;
    if (a->type != b->type || (list && a->count != b->count)) return false;
    if (a->type == JSON_STRING || json_is_number(a)) return json_str_equal(a->str, b->str);
    for (size_t i = 0; list && i < a->count; i++) {
        if (a->type == JSON_OBJECT && !json_str_equal(a->keys[i], b->keys[i])) return false;
        if (!json_equal(&a->items[i], &b->items[i])) return false;
    }
    return true;
}
