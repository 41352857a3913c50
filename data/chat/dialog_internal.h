// dialog_internal: shared by the files dialog*.c.
#pragma once

#include "dialog.h"

// ---- keys ----

// The first of the keys (NULL ends them) that a record has, with a value that is not null; else NULL.
const char *first_given(const Json *record, const char *const *keys);
extern const char *const turns_keys[], *const prompt_keys[], *const answer_keys[], *const output_keys[];
// Text that begins as a JSON list: lists are stored so where a column must be text.
bool json_text_is_list(const Json *v);

// Each takes a key of the record, which counts as read then. Values may be absent or null unless stated.
const Json *dialog_take(Dialog *d, const Json *record, const char *key); // NULL: absent
const Json *dialog_take_first(Dialog *d, const Json *record, const char *const *keys, const char **key);
int dialog_take_string(JsonStr *out, Dialog *d, const Json *record, const char *key, Err *err); // required
int dialog_take_optional(JsonStr *out, Dialog *d, const Json *record, const char *key, Err *err);
// A list or an object, which may be stored as JSON text.
int dialog_take_value(const Json **out, Dialog *d, const Json *record, const char *key, JsonType type, Err *err);
int dialog_take_variables(Dialog *d, const Json *record, Err *err); // tools, chat_template_kwargs: of chat only

// ---- messages ----

Json *dialog_new_messages(Dialog *d, size_t n);                      // room for n
size_t dialog_add_system(Dialog *d, Json *messages, JsonStr system); // 1, or 0 where it is empty
int dialog_add_all(Dialog *d, Json *out, const Json *list, const char *key, Err *err);
int dialog_set_messages(Dialog *d, const Json *messages, size_t n, Err *err);
int dialog_read_contents(Dialog *d, const Json *record, Err *err);
int dialog_read_turns(Dialog *d, const Json *record, bool sharegpt, Err *err);
// As dialog_add_all, of turns {"from", "value"}.
int dialog_add_turns(Dialog *d, Json *out, const Json *turns, const char *key, Err *err);
int dialog_read_alpaca(Dialog *d, const Json *record, bool has_template, Err *err);
int dialog_read_preference(Dialog *d, const Json *record, bool has_template, bool raw_pairs, Err *err);
JsonStr dialog_join(Dialog *d, JsonStr a, const char *separator, JsonStr b); // without the separator when b is empty

// Refuse labels of answers: of the record, of one of its messages.
int dialog_check_preference(const Json *record, Err *err);
int dialog_check_turn(const Json *turn, Err *err);
