// dialog: detection of a record's format, and one reader for each.
#include "dialog.h"

#include <stdio.h>
#include <string.h>

// ---- detection ----

static const char *const format_names[FORMAT_COUNT] = {
    "auto", "messages", "sharegpt", "alpaca", "prompt_completion", "text", "input_ids", "classification"};

const char *dataset_format_name(DatasetFormat f) {
    return format_names[f];
}

static const Json *first_of(const Json *record, const char *a, const char *b, const char *c) {
    const Json *v = json_get(record, a);
    if (!v && b) v = json_get(record, b);
    return v || !c ? v : json_get(record, c);
}

static const Json *turns_of(const Json *record) {
    return first_of(record, "messages", "conversations", "conversation");
}

static int fail_unknown(const Json *record, Err *err) {
    StrBuf keys = {0};
    for (size_t i = 0; i < record->count && i < 8; i++) str_printf(&keys, "%s%s", i ? ", " : "", record->keys[i].data);
    if (record->count > 8) str_puts(&keys, ", ...");
    err_input(err,
              "found a record with the keys {%s}; expected messages, conversations, prompt + completion, instruction + "
              "output, text or input_ids",
              keys.data ? keys.data : "");
    str_clear(&keys);
    return -1;
}

static int check_record(const Json *record, Err *err) {
    if (record->type != JSON_OBJECT)
        return err_input(err, "found %s; expected a record, an object", json_type_name(record));
    const Json *label = json_get(record, "label");
    if (json_get(record, "chosen") || json_get(record, "rejected"))
        return err_input(err, "found preference data (chosen, rejected); training on it is not in this version");
    if (json_get(record, "completion") && label && (label->type == JSON_TRUE || label->type == JSON_FALSE))
        return err_input(err,
                         "found preference data (completion with label true or false, as for KTO); training on it is "
                         "not in this version");
    return 0;
}

DatasetFormat dialog_detect(const Json *record, Err *err) {
    if (check_record(record, err)) return FORMAT_AUTO;
    if (json_get(record, "input_ids")) return FORMAT_INPUT_IDS;
    const Json *turns = turns_of(record);
    if (turns && turns->type == JSON_ARRAY)
        return turns->count && json_get(&turns->items[0], "from") ? FORMAT_SHAREGPT : FORMAT_MESSAGES;
    if (first_of(record, "prompt", "question", NULL) && first_of(record, "completion", "response", "answer"))
        return FORMAT_PROMPT_COMPLETION;
    if (json_get(record, "instruction") && json_get(record, "output")) return FORMAT_ALPACA;
    if (json_get(record, "text")) return FORMAT_TEXT;
    fail_unknown(record, err);
    return FORMAT_AUTO;
}

// ---- fields ----

static int fail_type(const char *key, const Json *found, const char *expected, Err *err) {
    return err_input(err, "%s: found %s; expected %s", key, json_type_name(found), expected);
}

static int get_string(JsonStr *out, const Json *record, const char *key, Err *err) {
    const Json *v = json_get(record, key);
    if (!v || v->type != JSON_STRING) return fail_type(key, v, "a string", err);
    *out = v->str;
    return 0;
}

// Absent or null: empty.
static int get_optional(JsonStr *out, const Json *record, const char *key, Err *err) {
    const Json *v = json_get(record, key);
    *out = json_str("");
    return !v || v->type == JSON_NULL ? 0 : get_string(out, record, key, err);
}

static int read_tools(Dialog *d, const Json *record, Err *err) {
    const Json *tools = json_get(record, "tools");
    if (!tools || tools->type == JSON_NULL || json_is_string(tools, "")) return 0;
    if (tools->type == JSON_STRING && !(tools = json_pool_parse(&d->pool, tools->str, "tools", err))) return -1;
    if (tools->type != JSON_ARRAY) return fail_type("tools", tools, "a list, or a list as a JSON string", err);
    d->tools = tools->count ? tools : NULL;
    return 0;
}

static int read_template_variables(Dialog *d, const Json *record, Err *err) {
    const Json *extra = json_get(record, "chat_template_kwargs");
    if (!extra || extra->type == JSON_NULL) return read_tools(d, record, err);
    if (extra->type != JSON_OBJECT) return fail_type("chat_template_kwargs", extra, "an object", err);
    d->extra = extra;
    return read_tools(d, record, err);
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

static int normalise_all(Dialog *d, Json *out, const Json *list, const char *key, Err *err) {
    for (size_t i = 0; i < list->count; i++) {
        char what[64];
        snprintf(what, sizeof what, "%s[%zu]", key, i);
        if (message_normalise(&out[i], &d->pool, &list->items[i], what, err)) return -1;
    }
    return 0;
}

static int read_messages(Dialog *d, const Json *record, Err *err) {
    const Json *turns = turns_of(record);
    if (!turns || turns->type != JSON_ARRAY) return fail_type("messages", turns, "a list of messages", err);
    Json *messages = new_messages(d, turns->count);
    if (normalise_all(d, messages, turns, "messages", err) || read_template_variables(d, record, err)) return -1;
    return set_messages(d, messages, turns->count, err);
}

static int read_turn(Dialog *d, Json *out, const Json *turn, size_t i, Err *err) {
    char what[64];
    snprintf(what, sizeof what, "conversations[%zu]", i);
    const Json *from = json_get(turn, "from"), *value = json_get(turn, "value");
    if (!from || from->type != JSON_STRING || !value || value->type != JSON_STRING)
        return err_input(err, "%s: found %s; expected {\"from\": \"...\", \"value\": \"...\"}", what,
                         json_type_name(turn));
    if (json_is_string(from, "function_call")) return message_from_call(out, &d->pool, value->str, what, err);
    Json m = json_with(&d->pool, turn, "role", *from);
    m = json_with(&d->pool, &m, "content", *value);
    return message_normalise(out, &d->pool, &m, what, err);
}

static int read_sharegpt(Dialog *d, const Json *record, Err *err) {
    const Json *turns = turns_of(record);
    JsonStr system;
    if (!turns || turns->type != JSON_ARRAY) return fail_type("conversations", turns, "a list of turns", err);
    if (get_optional(&system, record, "system", err) || read_template_variables(d, record, err)) return -1;
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
    memcpy(text + a.len, separator, n);
    memcpy(text + a.len + n, b.data, b.len + 1);
    return (JsonStr){text, a.len + n + b.len};
}

static int check_history(const Json *history, Err *err) {
    if (history->type != JSON_ARRAY) return fail_type("history", history, "a list of [user, assistant] pairs", err);
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
    const Json *history = json_get(record, "history");
    if (!history || history->type == JSON_NULL) history = &none;
    if (get_string(&instruction, record, "instruction", err) || get_optional(&input, record, "input", err) ||
        get_string(&output, record, "output", err) || get_optional(&system, record, "system", err) ||
        check_history(history, err) || read_template_variables(d, record, err))
        return -1;
    JsonStr user = instruction.len ? joined(d, instruction, "\n", input) : input;
    return has_template ? alpaca_chat(d, system, history, user, output, err)
                        : alpaca_raw(d, system, history, user, output);
}

// ---- prompt and completion ----

static int pair_of_lists(Dialog *d, const Json *prompt, const Json *completion, JsonStr system, Err *err) {
    Json *messages = new_messages(d, prompt->count + completion->count + 1);
    size_t n = add_system(d, messages, system);
    if (normalise_all(d, messages + n, prompt, "prompt", err)) return -1;
    for (size_t i = 0; i < prompt->count; i++, n++)
        messages[n] = json_with(&d->pool, &messages[n], "train", (Json){.type = JSON_FALSE});
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
    const Json *prompt = first_of(record, "prompt", "question", NULL);
    const Json *completion = first_of(record, "completion", "response", "answer");
    JsonStr system;
    if (get_optional(&system, record, "system", err) || read_template_variables(d, record, err)) return -1;
    if (!prompt || (prompt->type != JSON_STRING && prompt->type != JSON_ARRAY))
        return fail_type("prompt", prompt, "a string or a list of messages", err);
    if (!completion || completion->type != prompt->type)
        return fail_type("completion", completion,
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
    return get_string(&d->completion, record, "text", err);
}

static int read_ids(Dialog *d, const Json *record, Err *err) {
    d->kind = DIALOG_IDS;
    d->ids = json_get(record, "input_ids");
    if (!d->ids || d->ids->type != JSON_ARRAY) return fail_type("input_ids", d->ids, "a list of token ids", err);
    const char *keys[] = {"labels", "attention_mask"};
    const Json **out[] = {&d->labels, &d->visible};
    for (int k = 0; k < 2; k++) {
        const Json *v = *out[k] = json_get(record, keys[k]);
        if (v && v->type != JSON_ARRAY) return fail_type(keys[k], v, "a list", err);
        if (v && v->count != d->ids->count)
            return err_input(err, "%s: found %zu values; expected %zu, as many as input_ids", keys[k], v->count,
                             d->ids->count);
    }
    return 0;
}

int dialog_read(Dialog *d, const Json *record, DatasetFormat format, bool has_template, Err *err) {
    if (check_record(record, err)) return -1;
    if ((format == FORMAT_MESSAGES || format == FORMAT_SHAREGPT) && !has_template)
        return err_input(err, "found %s data; the model has no chat template for it", dataset_format_name(format));
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

void dialog_clear(Dialog *d) {
    json_pool_clear(&d->pool);
    *d = (Dialog){0};
}
