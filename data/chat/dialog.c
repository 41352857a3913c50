// dialog: one reader for each format. Detection: dialog_detect.c.
#include "dialog_internal.h"

#include <stdio.h>
#include <string.h>

// ---- fields ----

static int fail_type(const char *key, const Json *found, const char *expected, Err *err) {
    return err_input(err, "%s: found %s; expected %s", key, json_type_name(found), expected);
}

// A key of the record that is read: its value; NULL when it is absent or null.
static const Json *take(Dialog *d, const Json *record, const char *key) {
    const Json *v = json_given(record, key);
    CHECK(d->n_used < sizeof d->used / sizeof *d->used, "too many keys");
    d->used[d->n_used++] = key;
    return v;
}

static const Json *take_first(Dialog *d, const Json *record, const char *const *keys, const char **key) {
    *key = first_given(record, keys);
    if (!*key) *key = keys[0];
    return take(d, record, *key);
}

static int get_string(JsonStr *out, Dialog *d, const Json *record, const char *key, Err *err) {
    const Json *v = take(d, record, key);
    if (!v || v->type != JSON_STRING) return fail_type(key, json_get(record, key), "a string", err);
    *out = v->str;
    return 0;
}

// Absent or null: empty.
static int get_optional(JsonStr *out, Dialog *d, const Json *record, const char *key, Err *err) {
    *out = json_str("");
    return json_given(record, key) ? get_string(out, d, record, key, err) : 0;
}

// A list or an object, maybe stored as JSON text (empty text: absent). NULL: absent, or -1.
static int take_value(const Json **out, Dialog *d, const Json *record, const char *key, JsonType type, Err *err) {
    const Json *v = take(d, record, key);
    *out = NULL;
    if (!v || json_is_string(v, "")) return 0;
    if (v->type == JSON_STRING && !(v = json_pool_parse(&d->pool, v->str, key, err))) return -1;
    if (v->type == JSON_NULL) return 0;
    if (v->type != type)
        return fail_type(key, v, type == JSON_ARRAY ? "a list, or a list as JSON text" : "an object", err);
    *out = v;
    return 0;
}

// A tool may be JSON text in the list.
static int parse_tools(Dialog *d, Err *err) {
    Json *items = json_pool_alloc(&d->pool, d->tools->count, sizeof *items);
    for (size_t i = 0; i < d->tools->count; i++) {
        const Json *tool = &d->tools->items[i];
        if (tool->type == JSON_STRING && !(tool = json_pool_parse(&d->pool, tool->str, "tools", err))) return -1;
        items[i] = *tool;
    }
    d->given_tools = *d->tools;
    d->given_tools.items = items;
    d->tools = &d->given_tools;
    return 0;
}

// Only for chat: raw text has no place for them.
static int read_template_variables(Dialog *d, const Json *record, Err *err) {
    if (take_value(&d->tools, d, record, "tools", JSON_ARRAY, err) ||
        take_value(&d->extra, d, record, "chat_template_kwargs", JSON_OBJECT, err))
        return -1;
    if (d->tools && !d->tools->count) d->tools = NULL;
    if (d->tools && parse_tools(d, err)) return -1;
    if (d->extra) d->given_extra = json_without_nulls(&d->pool, d->extra, NULL), d->extra = &d->given_extra;
    return 0;
}

// ---- conversations ----

// Room for n messages; set_messages says how many there are.
static Json *new_messages(Dialog *d, size_t n) {
    return json_pool_alloc(&d->pool, n, sizeof(Json));
}

static int set_messages(Dialog *d, const Json *messages, size_t n, Err *err) {
    if (!n) return err_input(err, "found a conversation without messages; expected at least one");
    d->kind = DIALOG_CHAT;
    d->messages = (Json){.type = JSON_ARRAY, .count = n, .items = messages};
    return 0;
}

static size_t add_system(Dialog *d, Json *messages, JsonStr system) {
    if (system.len) messages[0] = message_new(&d->pool, "system", system);
    return system.len != 0;
}

static int read_message(Dialog *d, Json *out, const Json *message, const char *what, Err *err) {
    if (message->type == JSON_STRING && message->str.data[strspn(message->str.data, " \t\r\n")] != '{')
        return err_input(err, "%s: found the text \"%.40s\"; expected an object with role and content", what,
                         message->str.data);
    if (message->type == JSON_STRING && !(message = json_pool_parse(&d->pool, message->str, what, err))) return -1;
    if (dialog_check_turn(message, err) || message_normalise(out, &d->pool, message, what, err)) return -1;
    return message_check_role(out, d->template, what, err);
}

static int normalise_all(Dialog *d, Json *out, const Json *list, const char *key, Err *err) {
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
    *turns = take_first(d, record, turns_keys, &d->answer_key);
    if (*turns && json_text_is_list(*turns) && !(*turns = json_pool_parse(&d->pool, (*turns)->str, d->answer_key, err)))
        return -1;
    if (*turns) return (*turns)->type == JSON_ARRAY ? 0 : fail_type(d->answer_key, *turns, "a list of messages", err);
    StrBuf keys = {0};
    dialog_list_keys(&keys, record);
    err_input(err, "no \"messages\"; keys found: %s", keys.data ? keys.data : "none");
    str_clear(&keys);
    return -1;
}

static int read_messages(Dialog *d, const Json *record, Err *err) {
    const Json *turns;
    JsonStr system;
    if (take_turns(&turns, d, record, err) || get_optional(&system, d, record, "system", err) ||
        read_template_variables(d, record, err))
        return -1;
    Json *messages = new_messages(d, turns->count + 1);
    size_t n = add_system(d, messages, system);
    if (normalise_all(d, messages + n, turns, d->answer_key, err)) return -1;
    return set_messages(d, messages, n + turns->count, err);
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
    StrBuf keys = {0};
    if (turn->type == JSON_OBJECT && !(json_given(turn, "from") && json_given(turn, "value")))
        dialog_list_keys(&keys, turn);
    err_input(err, "%s: found %s%s%s%s; expected {\"from\": \"...\", \"value\": \"...\"}", what, json_type_name(turn),
              keys.len ? " with the keys {" : "", keys.len ? keys.data : "", keys.len ? "}" : "");
    str_clear(&keys);
    return -1;
}

static int read_turn(Dialog *d, Json *out, const Json *turn, size_t i, Err *err) {
    char what[64];
    snprintf(what, sizeof what, "%s[%zu]", d->answer_key, i);
    if (turn->type == JSON_STRING && !(turn = json_pool_parse(&d->pool, turn->str, what, err))) return -1;
    const Json *from = json_get(turn, "from"), *value = json_get(turn, "value");
    if (!from || from->type != JSON_STRING || !value || value->type != JSON_STRING) return fail_turn(turn, what, err);
    Json m = json_with(&d->pool, NULL, "role", *from);
    m = json_with(&d->pool, &m, "content", *value);
    if (json_is_string(from, "function_call") && message_from_call(&m, &d->pool, value->str, what, err)) return -1;
    m = message_of_turn(d, turn, &m);
    return read_message(d, out, &m, what, err);
}

static int read_sharegpt(Dialog *d, const Json *record, Err *err) {
    const Json *turns;
    JsonStr system;
    if (take_turns(&turns, d, record, err) || get_optional(&system, d, record, "system", err) ||
        read_template_variables(d, record, err))
        return -1;
    d->turns = "conversations";
    Json *messages = new_messages(d, turns->count + 1);
    size_t n = add_system(d, messages, system);
    for (size_t i = 0; i < turns->count; i++)
        if (read_turn(d, &messages[n++], &turns->items[i], i, err)) return -1;
    return set_messages(d, messages, n, err);
}

// ---- alpaca ----

// a + separator + b, without the separator when b is empty.
static JsonStr joined(Dialog *d, JsonStr a, const char *separator, JsonStr b) {
    if (!b.len) return a;
    size_t n = strlen(separator);
    char *text = json_pool_alloc(&d->pool, a.len + n + b.len + 1, 1);
    memcpy(text, a.data, a.len);
    memcpy(text + a.len, separator, n + 1);
    memcpy(text + a.len + n, b.data, b.len + 1);
    return (JsonStr){text, a.len + n + b.len};
}

static int check_history(const Json *history, Err *err) {
    for (size_t i = 0; i < history->count; i++) {
        const Json *pair = &history->items[i];
        if (pair->type == JSON_ARRAY && pair->count == 2 && pair->items[0].type == JSON_STRING &&
            pair->items[1].type == JSON_STRING)
            continue;
        return err_input(err, "history[%zu]: found %s; expected a pair of strings", i, json_type_name(pair));
    }
    return 0;
}

static int alpaca_chat(Dialog *d, JsonStr system, const Json *history, JsonStr user, JsonStr output, Err *err) {
    Json *messages = new_messages(d, 2 * history->count + 3);
    size_t n = add_system(d, messages, system);
    for (size_t i = 0; i < history->count; i++) {
        messages[n++] = message_new(&d->pool, "user", history->items[i].items[0].str);
        messages[n++] = message_new(&d->pool, "assistant", history->items[i].items[1].str);
    }
    messages[n++] = message_new(&d->pool, "user", user);
    messages[n++] = message_new(&d->pool, "assistant", output);
    return set_messages(d, messages, n, err);
}

static void add_line(StrBuf *text, JsonStr line) {
    str_add(text, line.data, line.len);
    str_puts(text, "\n");
}

// Without a template: everything up to the output, one part a line; only the output is supervised.
static int alpaca_raw(Dialog *d, JsonStr system, const Json *history, JsonStr user, JsonStr output) {
    StrBuf text = {0};
    if (system.len) add_line(&text, system);
    for (size_t i = 0; i < history->count; i++)
        for (size_t k = 0; k < 2; k++) add_line(&text, history->items[i].items[k].str);
    add_line(&text, user);
    char *prompt = json_pool_alloc(&d->pool, text.len + 1, 1);
    memcpy(prompt, text.data, text.len + 1);
    d->kind = DIALOG_RAW;
    d->prompt = (JsonStr){prompt, text.len};
    d->completion = output;
    str_clear(&text);
    return 0;
}

static int read_alpaca(Dialog *d, const Json *record, bool has_template, Err *err) {
    static const Json none = {.type = JSON_ARRAY};
    JsonStr instruction, input, output, system;
    const Json *history;
    d->answer_key = "output";
    if (!json_given(record, "instruction") && !json_given(record, "input"))
        return fail_type("instruction", json_get(record, "instruction"), "a string", err);
    if (get_optional(&instruction, d, record, "instruction", err) || get_optional(&input, d, record, "input", err) ||
        get_string(&output, d, record, "output", err) || get_optional(&system, d, record, "system", err) ||
        take_value(&history, d, record, "history", JSON_ARRAY, err) || check_history(history ? history : &none, err) ||
        (has_template && read_template_variables(d, record, err)))
        return -1;
    if (!history) history = &none;
    JsonStr user = instruction.len ? joined(d, instruction, "\n", input) : input;
    return has_template ? alpaca_chat(d, system, history, user, output, err)
                        : alpaca_raw(d, system, history, user, output);
}

// ---- prompt and completion ----

static int pair_of_lists(Dialog *d, const Json *prompt, const Json *completion, JsonStr system, Err *err) {
    d->turns = "prompt+completion";
    Json *messages = new_messages(d, prompt->count + completion->count + 1);
    size_t n = add_system(d, messages, system);
    if (normalise_all(d, messages + n, prompt, "prompt", err)) return -1;
    for (size_t i = 0; i < prompt->count; i++, n++) messages[n] = message_of_prompt(&d->pool, &messages[n]);
    if (normalise_all(d, messages + n, completion, "completion", err)) return -1;
    return set_messages(d, messages, n + completion->count, err);
}

static int pair_of_strings(Dialog *d, JsonStr prompt, JsonStr completion, JsonStr system, Err *err) {
    Json *messages = new_messages(d, 3);
    size_t n = add_system(d, messages, system);
    messages[n++] = message_new(&d->pool, "user", prompt);
    messages[n++] = message_new(&d->pool, "assistant", completion);
    return set_messages(d, messages, n, err);
}

static int read_pair(Dialog *d, const Json *record, bool has_template, Err *err) {
    const char *asked;
    const Json *prompt = take_first(d, record, prompt_keys, &asked);
    const Json *completion = take_first(d, record, answer_keys, &d->answer_key);
    JsonStr system;
    if (get_optional(&system, d, record, "system", err) || (has_template && read_template_variables(d, record, err)))
        return -1;
    if (!prompt || (prompt->type != JSON_STRING && prompt->type != JSON_ARRAY))
        return fail_type(asked, prompt, "a string or a list of messages", err);
    if (!completion || completion->type != prompt->type)
        return fail_type(d->answer_key, completion,
                         prompt->type == JSON_STRING ? "a string, as the prompt is one"
                                                     : "a list of messages, as the prompt is one",
                         err);
    if (prompt->type == JSON_ARRAY && !has_template)
        return err_input(err, "prompt: found a list of messages; the model has no chat template for it");
    if (prompt->type == JSON_ARRAY) return pair_of_lists(d, prompt, completion, system, err);
    if (has_template) return pair_of_strings(d, prompt->str, completion->str, system, err);
    d->kind = DIALOG_RAW;
    d->prompt = system.len ? joined(d, system, "\n", prompt->str) : prompt->str;
    d->completion = completion->str;
    return 0;
}

// ---- text and ids ----

static int read_text(Dialog *d, const Json *record, Err *err) {
    d->kind = DIALOG_TEXT;
    return get_string(&d->completion, d, record, "text", err);
}

const char *const dialog_mask_names[2] = {"completion_mask", "assistant_masks"};

static int read_ids(Dialog *d, const Json *record, Err *err) {
    d->kind = DIALOG_IDS;
    d->ids = take(d, record, "input_ids");
    if (!d->ids || d->ids->type != JSON_ARRAY) return fail_type("input_ids", d->ids, "a list of token ids", err);
    const char *keys[] = {"labels", "attention_mask", dialog_mask_names[0], dialog_mask_names[1]};
    const Json **out[] = {&d->labels, &d->visible, &d->learnt[0], &d->learnt[1]};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        const Json *v = *out[k] = take(d, record, keys[k]);
        if (v && v->type != JSON_ARRAY) return fail_type(keys[k], v, "a list", err);
        if (v && v->count != d->ids->count)
            return err_input(err, "%s: found %zu values; expected %zu, as many as input_ids", keys[k], v->count,
                             d->ids->count);
    }
    return 0;
}

static int read_format(Dialog *d, const Json *record, DatasetFormat format, bool has_template, Err *err) {
    switch (format) {
    case FORMAT_MESSAGES:
        return read_messages(d, record, err);
    case FORMAT_SHAREGPT:
        return read_sharegpt(d, record, err);
    case FORMAT_ALPACA:
        return read_alpaca(d, record, has_template, err);
    case FORMAT_PROMPT_COMPLETION:
        return read_pair(d, record, has_template, err);
    case FORMAT_TEXT:
        return read_text(d, record, err);
    case FORMAT_INPUT_IDS:
        return read_ids(d, record, err);
    default:
        CHECK(false, "format %d", format);
        return -1;
    }
}

bool dialog_has_read(const Dialog *d, JsonStr key) {
    size_t k = 0;
    while (k < d->n_used && !json_str_is(key, d->used[k])) k++;
    return k < d->n_used;
}

static void note_unread(Dialog *d, const Json *record) {
    for (size_t i = 0; record->type == JSON_OBJECT && i < record->count; i++)
        if (!dialog_has_read(d, record->keys[i]) && record->items[i].type != JSON_NULL)
            key_notes_add(&d->unread, "", record->keys[i]);
}

int dialog_read(Dialog *d, const Json *record, DatasetFormat format, bool has_template, Err *err) {
    bool turns = format == FORMAT_MESSAGES || format == FORMAT_SHAREGPT;
    if (record->type != JSON_OBJECT && !(turns && record->type == JSON_ARRAY))
        return err_input(err, "found %s; expected a record, an object", json_type_name(record));
    if (record->type == JSON_OBJECT && dialog_check_preference(record, err)) return -1;
    if (turns && !has_template)
        return err_input(err, "found %s data; the model has no chat template for it", dataset_format_name(format));
    if (read_format(d, record, format, has_template, err)) return -1;
    note_unread(d, record);
    return 0;
}

// ---- answers ----

static bool is_blank(JsonStr s) {
    return strspn(s.data, " \t\r\n") == s.len;
}

// Nothing but white space, no calls and no thought.
static bool is_empty(const Json *message) {
    static const char *const others[] = {"reasoning_content", "reasoning", "thinking", "function_call", NULL};
    const Json *content = json_given(message, "content"), *calls = json_given(message, "tool_calls");
    for (size_t i = 0; content && content->type == JSON_ARRAY && i < content->count; i++) {
        const Json *text = json_get(&content->items[i], "text");
        if (!text || text->type != JSON_STRING || !is_blank(text->str)) return false;
    }
    if (content && content->type == JSON_STRING && !is_blank(content->str)) return false;
    return !(calls && calls->count) && !first_given(message, others);
}

int dialog_check_answers(const Dialog *d, Err *err) {
    static const char expected[] = "text to learn";
    if (d->kind == DIALOG_RAW && is_blank(d->completion))
        return err_input(err, "%s: found an empty answer; expected %s", d->answer_key, expected);
    for (size_t i = 0; d->kind == DIALOG_CHAT && i < d->messages.count; i++) {
        const Json *m = &d->messages.items[i];
        if (!json_is_string(json_get(m, "role"), "assistant") || !message_is_trained(m) || !is_empty(m)) continue;
        if (d->turns || i + 1 < d->messages.count)
            return err_input(err, "%s: message %zu: found an empty answer; expected %s, or \"train\": false",
                             d->answer_key, i + 1, expected);
        return err_input(err, "%s: found an empty answer; expected %s", d->answer_key, expected);
    }
    return 0;
}

void dialog_clear(Dialog *d) {
    json_pool_clear(&d->pool);
    key_notes_clear(&d->unread);
    *d = (Dialog){0};
}
