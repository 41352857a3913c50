// message: chat messages as templates expect them, made from what data files contain.
//
// Normalised: the role's usual name (human -> user, gpt -> assistant, ...), null keys left out, tool calls that are
// JSON text parsed. Checked: content is a string or a list of text parts (any other part is refused by name) or, of a
// tool, any value; arguments of tool calls are an object or a string that holds one. In which of these forms the
// template gets them is chat_forms.h. All other keys stay, so that templates and the mask see them.
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
// `object` without its null keys: null is absence. `keep` stays (NULL: none).
Json json_without_nulls(JsonPool *pool, const Json *object, const char *keep);

// A chat message or turn: a list that begins with one is a conversation, not an array of records.
bool json_is_message(const Json *v);

// `what` is the message's place in the record: "messages[3]".
int message_normalise(Json *out, JsonPool *pool, const Json *message, const char *what, Err *err);
// A list whose items all have a "type": parts, not a tool's result.
bool message_has_parts(const Json *content);
// Its content as one string: parts are joined; "" when there is none. Borrowed from the message or the pool.
JsonStr message_text(JsonPool *pool, const Json *message);
// A role that is none of the usual ones and not named in the template's source (NULL: none) is an error.
int message_check_role(const Json *message, const char *template, const char *what, Err *err);
// What a message says of its own training, true or false (or 1 or 0): train, training, trainable, weight, loss,
// loss_mask; masked and mask say the opposite. One that says no is enough. (Axolotl, OpenAI, ms-swift, XTuner,
// torchtune.)
// TRAINED: one says true. A number or masked: false asks for no more than the role gives.
typedef enum { TRAINED_AS_ROLE, TRAINED, NOT_TRAINED, TRAINED_AS_PROMPT } MessageTraining;
MessageTraining message_training(const Json *message);
bool message_is_trained(const Json *message); // an assistant's, without train_on_inputs
bool message_is_mask_key(const char *key);
// The message as a part of a prompt: trained only with train_on_inputs.
Json message_of_prompt(JsonPool *pool, const Json *message);
Json message_new(JsonPool *pool, const char *role, JsonStr content);
// A function call written as JSON text ({"name", "arguments"} or a list of them): an assistant message of tool calls.
int message_from_call(Json *out, JsonPool *pool, JsonStr call, const char *what, Err *err);
