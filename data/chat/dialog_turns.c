// dialog_turns: conversations: the formats messages and sharegpt, and messages for the other formats.
#include <stdio.h>
#include <string.h>

#include "dialog_internal.h"

Json *dialog_new_messages(Dialog *d, size_t n) { return json_pool_alloc(&d->pool, n, sizeof(Json)); }

int dialog_set_messages(Dialog *d, const Json *messages, size_t n, Err *err) {
    if (!n) return err_input(err, "found a conversation without messages; expected at least one");
    d->kind = DIALOG_CHAT;
    d->messages = json_list(messages, n);
    return 0;
}

size_t dialog_add_system(Dialog *d, Json *messages, JsonStr system) {
    if (system.len) messages[0] = message_new(&d->pool, "system", system);
    return system.len != 0;
}

// A turn whose content is a function call as JSON text.
static int read_call(Dialog *d, Json *out, const Json *message, const char *what, Err *err) {
    const Json *content = json_get(message, "content");
    if (!content || content->type != JSON_STRING)
        return err_input(err, "%s.content: found %s; expected a function call as JSON text", what,
                         json_type_name(content));
    if (json_get(message, "tool_calls"))
        return err_input(err, "%s: found tool_calls in a function_call; expected one of them", what);
    if (message_from_call(out, &d->pool, content->str, what, err)) return -1;
    for (size_t i = 0; i < message->count; i++)
        if (!json_get(out, message->keys[i].data))
            *out = json_with(&d->pool, out, message->keys[i].data, message->items[i]);
    return 0;
}

static int read_message(Dialog *d, Json *out, const Json *message, const char *what, Err *err) {
    if (message->type == JSON_STRING && message->str.data[strspn(message->str.data, " \t\r\n")] != '{')
        return err_input(err, "%s: found the text \"%.40s\"; expected an object with role and content", what,
                         message->str.data);
    if (message->type == JSON_STRING && !(message = json_pool_parse(&d->pool, message->str, what, err))) return -1;
    Json call;
    if (json_is_string(json_get(message, "role"), "function_call")) {
        if (read_call(d, &call, message, what, err)) return -1;
        message = &call;
    }
    if (dialog_check_turn(message, err) || message_normalise(out, &d->pool, message, what, err)) return -1;
    return message_check_role(out, d->template, what, err);
}

int dialog_add_all(Dialog *d, Json *out, const Json *list, const char *key, Err *err) {
    for (size_t i = 0; i < list->count; i++) {
        char what[64];
        snprintf(what, sizeof what, "%s[%zu]", key, i);
        if (read_message(d, &out[i], &list->items[i], what, err)) return -1;
    }
    return 0;
}

// The list of turns, maybe as JSON text; a record may be the list itself.
static int take_turns(const Json **turns, Dialog *d, const Json *record, Err *err) {
    *turns = record;
    d->turns = d->answer_key = "messages";
    if (record->type == JSON_ARRAY) return 0;
    *turns = dialog_take_first(d, record, turns_keys, &d->answer_key);
    if (*turns && json_text_is_list(*turns) && !(*turns = json_pool_parse(&d->pool, (*turns)->str, d->answer_key, err)))
        return -1;
    if (*turns)
        return (*turns)->type == JSON_ARRAY ? 0 : dialog_fail_type(d->answer_key, *turns, "a list of messages", err);
    AUTO_STR StrBuf keys = {0};
    dialog_list_keys(&keys, record);
    return err_input(err, "no \"messages\"; keys found: %s", keys.data ? keys.data : "none");
}

// The message of a turn, with the turn's other keys.
static Json message_of_turn(Dialog *d, const Json *turn, const Json *message) {
    size_t n = message->count;
    JsonStr *keys = json_pool_alloc(&d->pool, n + turn->count, sizeof *keys);
    Json *items = json_pool_alloc(&d->pool, n + turn->count, sizeof *items);
    memcpy(keys, message->keys, n * sizeof *keys);
    memcpy(items, message->items, n * sizeof *items);
    for (size_t i = 0; i < turn->count; i++) {
        JsonStr key = turn->keys[i];
        if (turn->items[i].type == JSON_NULL || json_str_is(key, "from") || json_str_is(key, "value")) continue;
        if (json_get(message, key.data)) {
            key_notes_add(&d->unread, "conversations[].", key);
            continue;
        }
        keys[n] = key;
        items[n++] = turn->items[i];
    }
    return (Json){.type = JSON_OBJECT, .count = n, .items = items, .keys = keys};
}

static int fail_turn(const Json *turn, const char *what, Err *err) {
    AUTO_STR StrBuf keys = {0};
    if (turn->type == JSON_OBJECT && !(json_given(turn, "from") && json_given(turn, "value")))
        dialog_list_keys(&keys, turn);
    return err_input(err, "%s: found %s%s%s%s; expected {\"from\": \"...\", \"value\": \"...\"}", what,
                     json_type_name(turn), keys.len ? " with the keys {" : "", keys.len ? keys.data : "",
                     keys.len ? "}" : "");
}

static int read_turn(Dialog *d, Json *out, const Json *turn, const char *what, Err *err) {
    if (turn->type == JSON_STRING && !(turn = json_pool_parse(&d->pool, turn->str, what, err))) return -1;
    const Json *from = json_get(turn, "from"), *value = json_get(turn, "value");
    if (!from || from->type != JSON_STRING || !value || value->type != JSON_STRING) return fail_turn(turn, what, err);
    Json m = json_with(&d->pool, NULL, "role", *from);
    m = json_with(&d->pool, &m, "content", *value);
    m = message_of_turn(d, turn, &m);
    return read_message(d, out, &m, what, err);
}

int dialog_add_turns(Dialog *d, Json *out, const Json *turns, const char *key, Err *err) {
    for (size_t i = 0; i < turns->count; i++) {
        char what[64];
        snprintf(what, sizeof what, "%s[%zu]", key, i);
        if (read_turn(d, &out[i], &turns->items[i], what, err)) return -1;
    }
    return 0;
}

int dialog_read_turns(Dialog *d, const Json *record, bool sharegpt, Err *err) {
    const Json *turns;
    JsonStr system;
    if (take_turns(&turns, d, record, err) || dialog_take_optional(&system, d, record, "system", err) ||
        dialog_take_variables(d, record, err))
        return -1;
    if (sharegpt) d->turns = "conversations";
    Json *messages = dialog_new_messages(d, turns->count + 1);
    size_t n = dialog_add_system(d, messages, system);
    if ((sharegpt ? dialog_add_turns : dialog_add_all)(d, messages + n, turns, d->answer_key, err)) return -1;
    return dialog_set_messages(d, messages, n + turns->count, err);
}
