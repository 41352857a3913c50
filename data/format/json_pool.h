// json_pool: builds JSON values next to a parsed document and owns them.
#pragma once

#include "json.h"

// init with {0}
typedef struct JsonPool {
    void **blocks;
    size_t n_blocks, blocks_capacity;
    JsonDoc **docs;
    size_t n_docs, docs_capacity;
} JsonPool;
void *json_pool_alloc(JsonPool *pool, size_t count, size_t size);
void json_pool_clear(JsonPool *pool);
// Takes the text.
JsonStr json_pool_text(JsonPool *pool, StrBuf *text);
// Parses JSON text from a string; `what` names it in messages. NULL: an error.
const Json *json_pool_parse(JsonPool *pool, JsonStr text, const char *what, Err *err);
JsonStr json_str(const char *text);                      // borrowed
bool json_text_is_integer(const char *text, size_t len); // as JSON has them, of at most 18 digits; not 007, 1-2
Json json_string(JsonStr text);
Json json_list(const Json *items, size_t count); // borrowed
// A copy of `object` (NULL: empty) with `key` set to value.
Json json_with(JsonPool *pool, const Json *object, const char *key, Json value);
// `object` without its null keys: null is absence. `keep` stays (NULL: none).
Json json_without_nulls(JsonPool *pool, const Json *object, const char *keep);
// Of the same type and content; keys of objects are compared in their order, which keeps it linear.
bool json_equal(const Json *a, const Json *b);
