// dialog: the keys of a record; the formats alpaca, prompt_completion, text and input_ids. dialog_turns.c has those of
// conversations.
#include <string.h>

#include "dialog_internal.h"

// ---- the keys of a record ----

int dialog_fail_type(const char *key, const Json *found, const char *expected, Err *err) {
    return err_input(err, "%s: found %s; expected %s", key, json_type_name(found), expected);
}

const Json *dialog_take(Dialog *d, const Json *record, const char *key) {
    const Json *v = json_given(record, key);
    CHECK(d->n_used < sizeof d->used / sizeof *d->used, "too many keys");
    d->used[d->n_used++] = key;
    return v;
}

const Json *dialog_take_first(Dialog *d, const Json *record, const char *const *keys, const char **key) {
    *key = first_given(record, keys);
    if (!*key) *key = keys[0];
    return dialog_take(d, record, *key);
}

int dialog_take_string(JsonStr *out, Dialog *d, const Json *record, const char *key, Err *err) {
    const Json *v = dialog_take(d, record, key);
    if (!v || v->type != JSON_STRING) return dialog_fail_type(key, json_get(record, key), "a string", err);
    *out = v->str;
    return 0;
}

int dialog_take_optional(JsonStr *out, Dialog *d, const Json *record, const char *key, Err *err) {
    *out = json_str("");
    return json_given(record, key) ? dialog_take_string(out, d, record, key, err) : 0;
}

int dialog_take_value(const Json **out, Dialog *d, const Json *record, const char *key, JsonType type, Err *err) {
    const Json *v = dialog_take(d, record, key);
    *out = NULL;
    if (!v || json_is_string(v, "")) return 0;
    if (v->type == JSON_STRING && !(v = json_pool_parse(&d->pool, v->str, key, err))) return -1;
    if (v->type == JSON_NULL) return 0;
    if (v->type != type)
        return dialog_fail_type(key, v, type == JSON_ARRAY ? "a list, or a list as JSON text" : "an object", err);
    *out = v;
    return 0;
}

// Tools as objects: one may be JSON text in the list.
static int parse_tools(Dialog *d, Err *err) {
    Json *items = json_pool_alloc(&d->pool, d->tools->count, sizeof *items);
    for (size_t i = 0; i < d->tools->count; i++) {
        const Json *tool = &d->tools->items[i];
        if (tool->type == JSON_STRING && !(tool = json_pool_parse(&d->pool, tool->str, "tools", err))) return -1;
        items[i] = *tool;
    }
    d->given_tools = json_list(items, d->tools->count);
    d->tools = &d->given_tools;
    return 0;
}

int dialog_take_variables(Dialog *d, const Json *record, Err *err) {
    if (dialog_take_value(&d->tools, d, record, "tools", JSON_ARRAY, err) ||
        dialog_take_value(&d->extra, d, record, "chat_template_kwargs", JSON_OBJECT, err))
        return -1;
    if (d->tools && !d->tools->count) d->tools = NULL;
    if (d->tools && parse_tools(d, err)) return -1;
    if (!d->extra) return 0;
    d->given_extra = json_without_nulls(&d->pool, d->extra, NULL);
    d->extra = &d->given_extra;
    return 0;
}

// ---- alpaca ----

static const Json none = {.type = JSON_ARRAY};

JsonStr dialog_join(Dialog *d, JsonStr a, const char *separator, JsonStr b) {
    if (!b.len) return a;
    StrBuf text = {0};
    str_add(&text, a.data, a.len);
    str_puts(&text, separator);
    str_add(&text, b.data, b.len);
    return json_pool_text(&d->pool, &text);
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

// history: pairs of strings.
static int chat_of_strings(Dialog *d, JsonStr system, const Json *history, JsonStr user, JsonStr answer, Err *err) {
    Json *messages = dialog_new_messages(d, 2 * history->count + 3);
    size_t n = dialog_add_system(d, messages, system);
    for (size_t i = 0; i < history->count; i++) {
        messages[n++] = message_new(&d->pool, "user", history->items[i].items[0].str);
        messages[n++] = message_new(&d->pool, "assistant", history->items[i].items[1].str);
    }
    messages[n++] = message_new(&d->pool, "user", user);
    messages[n++] = message_new(&d->pool, "assistant", answer);
    return dialog_set_messages(d, messages, n, err);
}

static void add_line(StrBuf *text, JsonStr line) {
    str_add(text, line.data, line.len);
    str_puts(text, "\n");
}

// Without a template: all before the output, one part a line; only the output is supervised.
static int alpaca_raw(Dialog *d, JsonStr system, const Json *history, JsonStr user, JsonStr output) {
    StrBuf text = {0};
    if (system.len) add_line(&text, system);
    for (size_t i = 0; i < history->count; i++)
        for (size_t k = 0; k < 2; k++) add_line(&text, history->items[i].items[k].str);
    add_line(&text, user);
    d->kind = DIALOG_RAW;
    d->prompt = json_pool_text(&d->pool, &text);
    d->completion = output;
    return 0;
}

static int check_output(const Dialog *d, const Json *answer, Err *err) {
    return answer && answer->type == JSON_STRING ? 0 : dialog_fail_type(d->answer_key, answer, "a string", err);
}

int dialog_read_alpaca(Dialog *d, const Json *record, bool has_template, Err *err) {
    JsonStr instruction, input, output, system;
    const Json *history;
    const Json *answer = dialog_take_first(d, record, output_keys, &d->answer_key);
    if (!json_given(record, "instruction") && !json_given(record, "input"))
        return dialog_fail_type("instruction", json_get(record, "instruction"), "a string", err);
    if (dialog_take_optional(&instruction, d, record, "instruction", err) ||
        dialog_take_optional(&input, d, record, "input", err) || check_output(d, answer, err) ||
        dialog_take_optional(&system, d, record, "system", err) ||
        dialog_take_value(&history, d, record, "history", JSON_ARRAY, err) ||
        check_history(history ? history : &none, err) || (has_template && dialog_take_variables(d, record, err)))
        return -1;
    output = answer->str;
    if (!history) history = &none;
    JsonStr user = instruction.len ? dialog_join(d, instruction, "\n", input) : input;
    return has_template ? chat_of_strings(d, system, history, user, output, err)
                        : alpaca_raw(d, system, history, user, output);
}

// As Axolotl's "type: alpaca", or its type of one's own format.
static int read_alpaca_prompt(Dialog *d, const Json *record, bool has_template, Err *err) {
    PromptValues v = {.input = json_str("")};
    JsonStr system;
    StrBuf text = {0};
    const PromptFormat *f = d->prompt_format ? d->prompt_format : &prompt_format_alpaca;
    bool has_system = d->prompt_format && prompt_format_reads_system(f);
    const Json *output = dialog_take_first(d, record, output_keys, &d->answer_key);
    if (dialog_take_string(&v.instruction, d, record, "instruction", err) ||
        (prompt_format_reads_input(f) && dialog_take_optional(&v.input, d, record, "input", err)) ||
        check_output(d, output, err) || (has_system && dialog_take_optional(&system, d, record, "system", err)))
        return -1;
    if (has_system && json_get(record, "system")) v.system = &system; // null: none
    d->completion = output->str;
    prompt_format_write(&text, f, &v);
    d->kind = DIALOG_RAW;
    d->apart = true;
    d->own[0] = v.instruction;
    d->own[1] = v.input;
    d->prompt = json_pool_text(&d->pool, &text);
    return 0;
}

// ---- prompt and completion ----

static int pair_of_lists(Dialog *d, const Json *prompt, const Json *completion, JsonStr system, Err *err) {
    d->turns = "prompt+completion";
    Json *messages = dialog_new_messages(d, prompt->count + completion->count + 1);
    size_t n = dialog_add_system(d, messages, system);
    if (dialog_add_all(d, messages + n, prompt, "prompt", err)) return -1;
    for (size_t i = 0; i < prompt->count; i++, n++) messages[n] = message_of_prompt(&d->pool, &messages[n]);
    if (dialog_add_all(d, messages + n, completion, "completion", err)) return -1;
    return dialog_set_messages(d, messages, n + completion->count, err);
}

static int read_pair(Dialog *d, const Json *record, bool has_template, Err *err) {
    const char *asked;
    d->is_pair = true;
    const Json *prompt = dialog_take_first(d, record, prompt_keys, &asked);
    const Json *completion = dialog_take_first(d, record, answer_keys, &d->answer_key);
    JsonStr system;
    if (dialog_take_optional(&system, d, record, "system", err) ||
        (has_template && dialog_take_variables(d, record, err)))
        return -1;
    if (!prompt || (prompt->type != JSON_STRING && prompt->type != JSON_ARRAY))
        return dialog_fail_type(asked, prompt, "a string or a list of messages", err);
    if (!completion || completion->type != prompt->type)
        return dialog_fail_type(d->answer_key, completion,
                                prompt->type == JSON_STRING ? "a string, as the prompt is one"
                                                            : "a list of messages, as the prompt is one",
                                err);
    if (prompt->type == JSON_ARRAY && !has_template)
        return err_input(err, "prompt: found a list of messages; the model has no chat template for it");
    if (prompt->type == JSON_ARRAY) return pair_of_lists(d, prompt, completion, system, err);
    if (has_template) return chat_of_strings(d, system, &none, prompt->str, completion->str, err);
    d->kind = DIALOG_RAW;
    d->prompt = system.len ? dialog_join(d, system, "\n", prompt->str) : prompt->str;
    d->completion = completion->str;
    return 0;
}

// ---- text and ids ----

static int read_text(Dialog *d, const Json *record, bool has_template, Err *err) {
    d->kind = DIALOG_TEXT;
    return dialog_take_string(&d->completion, d, record, "text", err);
}

const char *const dialog_mask_names[2] = {"completion_mask", "assistant_masks"};

static int read_ids(Dialog *d, const Json *record, bool has_template, Err *err) {
    d->kind = DIALOG_IDS;
    d->ids = dialog_take(d, record, "input_ids");
    if (!d->ids || d->ids->type != JSON_ARRAY) return dialog_fail_type("input_ids", d->ids, "a list of token ids", err);
    const char *keys[] = {"labels", "attention_mask", dialog_mask_names[0], dialog_mask_names[1]};
    const Json **out[] = {&d->labels, &d->visible, &d->learnt[0], &d->learnt[1]};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        const Json *v = *out[k] = dialog_take(d, record, keys[k]);
        if (v && v->type != JSON_ARRAY) return dialog_fail_type(keys[k], v, "a list", err);
        if (v && v->count != d->ids->count)
            return err_input(err, "%s: found %zu value%s; expected %zu, as many as input_ids", keys[k], v->count,
                             plural(v->count), d->ids->count);
    }
    return 0;
}

static int read_segments(Dialog *d, const Json *record, bool has_template, Err *err) {
    d->kind = DIALOG_SEGMENTS;
    if (dialog_take_value(&d->segments, d, record, "segments", JSON_ARRAY, err)) return -1;
    if (!d->segments) return dialog_fail_type("segments", json_get(record, "segments"), "a list", err);
    for (size_t i = 0; i < d->segments->count; i++) {
        const Json *s = &d->segments->items[i], *text = json_given(s, "text"), *label = json_given(s, "label");
        if (!text || text->type != JSON_STRING)
            return err_input(err, "segments[%zu].text: found %s; expected a string", i, json_type_name(text));
        if (!label || (label->type != JSON_TRUE && label->type != JSON_FALSE))
            return err_input(err, "segments[%zu].label: found %s; expected true or false", i, json_type_name(label));
        for (size_t k = 0; k < s->count; k++)
            if (!json_str_is(s->keys[k], "text") && !json_str_is(s->keys[k], "label"))
                key_notes_add(&d->unread, "segments[].", s->keys[k]);
    }
    return 0;
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

// A prompt as a list of messages needs the template.
static bool is_list_pair(const Json *record) {
    const char *key = first_given(record, prompt_keys);
    return key && json_get(record, key)->type == JSON_ARRAY;
}

int dialog_read(Dialog *d, const Json *record, DatasetFormat format, bool has_template, bool raw_pairs, Err *err) {
    static int (*const readers[FORMAT_COUNT])(Dialog *, const Json *, bool, Err *) = {
        [FORMAT_ALPACA] = dialog_read_alpaca,   [FORMAT_ALPACA_PROMPT] = read_alpaca_prompt,
        [FORMAT_PROMPT_COMPLETION] = read_pair, [FORMAT_TEXT] = read_text,
        [FORMAT_INPUT_IDS] = read_ids,          [FORMAT_SEGMENTS] = read_segments,
    };
    bool turns = format == FORMAT_MESSAGES || format == FORMAT_SHAREGPT || format == FORMAT_GEMINI;
    bool is_list = turns && format != FORMAT_GEMINI && record->type == JSON_ARRAY;
    bool preference = format == FORMAT_PREFERENCE;
    CHECK(turns || preference || readers[format], "format %d", format);
    if (record->type != JSON_OBJECT && !is_list)
        return err_input(err, "found %s; expected a record, an object", json_type_name(record));
    if (record->type == JSON_OBJECT && !preference && dialog_check_preference(record, err)) return -1;
    if (turns && !has_template)
        return err_input(err, "found %s data; the model has no chat template for it", dataset_format_name(format));
    bool as_chat = has_template && !(raw_pairs && !turns && !is_list_pair(record));
    if (preference                ? dialog_read_preference(d, record, has_template, raw_pairs, err)
        : format == FORMAT_GEMINI ? dialog_read_contents(d, record, err)
        : turns                   ? dialog_read_turns(d, record, format == FORMAT_SHAREGPT, err)
                                  : readers[format](d, record, as_chat, err))
        return -1;
    note_unread(d, record);
    return 0;
}

// ---- answers ----

void dialog_mask_history(Dialog *d) {
    Json *messages = json_pool_alloc(&d->pool, d->messages.count, sizeof *messages);
    size_t last = d->messages.count;
    if (d->kind != DIALOG_CHAT) return;
    while (last > 0 && !json_is_string(json_get(&d->messages.items[last - 1], "role"), "assistant")) last--;
    for (size_t i = 0; i < d->messages.count; i++)
        messages[i] = i + 1 == last ? d->messages.items[i] : message_of_prompt(&d->pool, &d->messages.items[i]);
    d->messages = json_list(messages, d->messages.count);
}

static bool is_blank(JsonStr s) { return strspn(s.data, " \t\r\n") == s.len; }

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

static int fail_empty(const char *key, Err *err) {
    return err_input(err, "%s: found an empty answer; expected text to learn", key);
}

static int check_messages(const Dialog *d, const Json *messages, const char *key, Err *err) {
    for (size_t i = 0; d->kind == DIALOG_CHAT && i < messages->count; i++) {
        const Json *m = &messages->items[i];
        bool answer = json_is_string(json_get(m, "role"), "assistant") && message_is_learnt(m, d->learnt_turns.roles);
        if (!answer || !is_empty(m)) continue;
        if (d->preference || !(d->turns || i + 1 < messages->count)) return fail_empty(key, err);
        return err_input(err, "%s: message %zu: found an empty answer; expected text to learn, or \"train\": false",
                         key, i + 1);
    }
    return 0;
}

int dialog_check_answers(const Dialog *d, Err *err) {
    bool pair = d->preference == PREFERENCE_PAIRS;
    if (d->kind == DIALOG_RAW && is_blank(d->completion)) return fail_empty(d->answer_key, err);
    if (d->kind == DIALOG_RAW && pair && is_blank(d->rejected)) return fail_empty("rejected", err);
    if (check_messages(d, &d->messages, d->answer_key, err)) return -1;
    return pair ? check_messages(d, &d->rejected_messages, "rejected", err) : 0;
}

void dialog_clear(Dialog *d) {
    json_pool_clear(&d->pool);
    key_notes_clear(&d->unread);
    *d = (Dialog){0};
}
