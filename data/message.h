// message: chat messages as templates expect them, made from what data files contain.
//
// Normalised: the role's usual name (human -> user, gpt -> assistant, ...), content as one string (a list of text parts
// is joined; any other part is refused by name), arguments of tool calls as an object (a JSON string is parsed). All
// other keys stay, so that templates and the mask ("train", "weight") see them.
#pragma once

#include "base.h"
#include "json.h"

// Owns what is built beside a parsed document; init with {0}.
typedef struct JsonPool {
    void **blocks;
    size_t n_blocks, blocks_capacity;
    JsonDoc **docs;
    size_t n_docs, docs_capacity;
} JsonPool;
void *json_pool_alloc(JsonPool *pool, size_t count, size_t size);
void json_pool_clear(JsonPool *pool);
// Parses text that stands inside a string; `what` names it in messages.
const Json *json_pool_parse(JsonPool *pool, JsonStr text, const char *what, Err *err);
JsonStr json_str(const char *text); // borrowed
Json json_string(JsonStr text);
// A copy of `object` (NULL: empty) with `key` set to value.
Json json_with(JsonPool *pool, const Json *object, const char *key, Json value);

// `what` is the message's place in the record: "messages[3]".
int message_normalise(Json *out, JsonPool *pool, const Json *message, const char *what, Err *err);
Json message_new(JsonPool *pool, const char *role, JsonStr content);
// A function call written as JSON text ({"name", "arguments"} or a list of them): an assistant message of tool calls.
int message_from_call(Json *out, JsonPool *pool, JsonStr call, const char *what, Err *err);
