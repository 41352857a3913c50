// dialog_contents: conversations as the Gemini API has them: contents of parts.
#include <stdio.h>
#include <string.h>

#include "dialog_internal.h"

// Of a turn, while its parts are read.
typedef struct Parts {
    Dialog *d;
    StrBuf text, thought;
    Json *calls; // [count of the parts]
    size_t n_calls;
    Json *results; // messages of tools
    size_t n_results;
} Parts;

// The value of a key under either of its names, "functionCall" or "function_call".
static const Json *either(const Json *object, const char *camel, const char *snake) {
    const Json *v = json_given(object, camel);
    return v ? v : json_given(object, snake);
}

static int take_call(Parts *p, const Json *call, const char *what, Err *err) {
    const Json *name = json_given(call, "name"), *args = json_given(call, "args");
    if (!name || name->type != JSON_STRING)
        return err_input(err, "%s.functionCall.name: found %s; expected a string", what, json_type_name(name));
    if (args && args->type != JSON_OBJECT)
        return err_input(err, "%s.functionCall.args: found %s; expected an object", what, json_type_name(args));
    Json f = json_with(&p->d->pool, NULL, "name", *name);
    f = json_with(&p->d->pool, &f, "arguments", args ? *args : (Json){.type = JSON_OBJECT});
    Json c = json_with(&p->d->pool, NULL, "type", json_string(json_str("function")));
    p->calls[p->n_calls++] = json_with(&p->d->pool, &c, "function", f);
    return 0;
}

static int take_result(Parts *p, const Json *result, const char *what, Err *err) {
    const Json *name = json_given(result, "name"), *response = json_given(result, "response");
    if (!name || name->type != JSON_STRING || !response)
        return err_input(err, "%s.functionResponse: found no %s; expected name and response", what,
                         response ? "name" : "response");
    Json m = json_with(&p->d->pool, NULL, "role", json_string(json_str("tool")));
    m = json_with(&p->d->pool, &m, "name", *name);
    p->results[p->n_results++] = json_with(&p->d->pool, &m, "content", *response);
    return 0;
}

// "text" [thought], functionCall or functionResponse.
static int take_part(Parts *p, const Json *part, const char *what, Err *err) {
    const Json *text = json_given(part, "text"), *thought = json_given(part, "thought");
    const Json *call = either(part, "functionCall", "function_call");
    const Json *result = either(part, "functionResponse", "function_response");
    if (call) return take_call(p, call, what, err);
    if (result) return take_result(p, result, what, err);
    if (text && text->type == JSON_STRING) {
        bool is_thought = thought && thought->type == JSON_TRUE;
        str_add(is_thought ? &p->thought : &p->text, text->str.data, text->str.len);
        return 0;
    }
    if (part->type == JSON_OBJECT && part->count && !text)
        return err_input(err, "%s: found a part with %.64s; this version trains on text and function calls only", what,
                         part->keys[0].data);
    return err_input(err, "%s: found %s; expected {\"text\": \"...\"}", what, json_type_name(text ? text : part));
}

static int take_parts(Parts *p, const Json *turn, const char *what, Err *err) {
    const Json *parts = json_given(turn, "parts");
    if (!parts || parts->type != JSON_ARRAY || !parts->count)
        return err_input(err, "%s.parts: found %s; expected a list of parts", what,
                         parts && parts->type == JSON_ARRAY ? "an empty list" : json_type_name(parts));
    p->calls = json_pool_alloc(&p->d->pool, parts->count, sizeof *p->calls);
    p->results = json_pool_alloc(&p->d->pool, parts->count, sizeof *p->results);
    for (size_t i = 0; i < parts->count; i++) {
        char place[96];
        snprintf(place, sizeof place, "%s.parts[%zu]", what, i);
        if (take_part(p, &parts->items[i], place, err)) return -1;
    }
    if (p->n_results && (p->n_results != parts->count))
        return err_input(err, "%s: found a functionResponse with other parts; expected them in turns of their own",
                         what);
    return 0;
}

// The message of a turn that has no results: its other keys (train, ...) stay.
static Json message_of_parts(Parts *p, const Json *turn, const Json *role) {
    JsonPool *pool = &p->d->pool;
    Json m = json_with(pool, NULL, "role", *role);
    m = json_with(pool, &m, "content", json_string(p->text.len ? json_pool_text(pool, &p->text) : json_str("")));
    if (p->thought.len) m = json_with(pool, &m, "reasoning_content", json_string(json_pool_text(pool, &p->thought)));
    if (p->n_calls) m = json_with(pool, &m, "tool_calls", json_list(p->calls, p->n_calls));
    for (size_t i = 0; i < turn->count; i++)
        if (!json_str_is(turn->keys[i], "role") && !json_str_is(turn->keys[i], "parts"))
            m = json_with(pool, &m, turn->keys[i].data, turn->items[i]);
    return m;
}

// Adds the messages of a turn: one, or one for each result of a function.
static int add_turn(Dialog *d, Json *messages, size_t *n, const Json *turn, const char *what, Err *err) {
    Parts p = {.d = d};
    const Json *role = json_given(turn, "role");
    const Json user = json_string(json_str("user"));
    int rc = -1;
    if (turn->type != JSON_OBJECT)
        err_input(err, "%s: found %s; expected {\"role\": \"...\", \"parts\": [...]}", what, json_type_name(turn));
    else if (role && !json_is_string(role, "user") && !json_is_string(role, "model") &&
             !json_is_string(role, "function"))
        err_input(err, "%s.role: found %s; expected user, model or function", what,
                  role->type == JSON_STRING ? role->str.data : json_type_name(role));
    else
        rc = take_parts(&p, turn, what, err);
    if (!rc && p.n_calls && !json_is_string(role, "model"))
        rc = err_input(err, "%s: found a functionCall in a turn of the user; expected it in one of the model", what);
    for (size_t i = 0; !rc && i < p.n_results; i++) messages[(*n)++] = p.results[i];
    if (!rc && !p.n_results) messages[(*n)++] = message_of_parts(&p, turn, role ? role : &user);
    str_clear(&p.text);
    str_clear(&p.thought);
    return rc;
}

// [{"functionDeclarations": [{"name", ...}]}] as a list of functions.
static int take_tools(Dialog *d, const Json *record, Err *err) {
    const Json *tools;
    size_t n = 0, count = 0;
    if (dialog_take_value(&tools, d, record, "tools", JSON_ARRAY, err)) return -1;
    for (size_t i = 0; tools && i < tools->count; i++) {
        const Json *list = either(&tools->items[i], "functionDeclarations", "function_declarations");
        if (!list || list->type != JSON_ARRAY || tools->items[i].count != 1)
            return err_input(err, "tools[%zu]: found %s; expected {\"functionDeclarations\": [...]} only", i,
                             tools->items[i].type == JSON_OBJECT ? "other keys" : json_type_name(&tools->items[i]));
        count += list->count;
    }
    Json *items = json_pool_alloc(&d->pool, count + 1, sizeof *items);
    for (size_t i = 0; tools && i < tools->count; i++) {
        const Json *list = either(&tools->items[i], "functionDeclarations", "function_declarations");
        for (size_t k = 0; k < list->count; k++) {
            Json tool = json_with(&d->pool, NULL, "type", json_string(json_str("function")));
            items[n++] = json_with(&d->pool, &tool, "function", list->items[k]);
        }
    }
    d->given_tools = json_list(items, n);
    d->tools = n ? &d->given_tools : NULL;
    return 0;
}

// Text, or a turn of text parts.
static int take_instruction(JsonStr *system, Dialog *d, const Json *record, Err *err) {
    const char *key = json_given(record, "systemInstruction") ? "systemInstruction" : "system_instruction";
    const Json *v = dialog_take(d, record, key);
    Parts p = {.d = d};
    *system = json_str("");
    if (!v) return 0;
    if (v->type == JSON_STRING) {
        *system = v->str;
        return 0;
    }
    int rc = take_parts(&p, v, key, err);
    if (!rc && (p.n_calls || p.n_results || p.thought.len))
        rc = err_input(err, "%s: found a part that is no text; expected text", key);
    if (!rc && p.text.len) *system = json_pool_text(&d->pool, &p.text);
    str_clear(&p.text);
    str_clear(&p.thought);
    return rc;
}

int dialog_read_contents(Dialog *d, const Json *record, Err *err) {
    const Json *contents;
    JsonStr system;
    size_t room = 1, count = 0;
    d->turns = d->answer_key = "contents";
    if (dialog_take_value(&contents, d, record, "contents", JSON_ARRAY, err) || take_tools(d, record, err) ||
        take_instruction(&system, d, record, err))
        return -1;
    if (!contents) return dialog_fail_type("contents", json_get(record, "contents"), "a list of turns", err);
    for (size_t i = 0; i < contents->count; i++) {
        const Json *parts = json_given(&contents->items[i], "parts");
        room += parts && parts->type == JSON_ARRAY ? parts->count + 1 : 1;
    }
    Json *turns = json_pool_alloc(&d->pool, room, sizeof *turns);
    for (size_t i = 0; i < contents->count; i++) {
        char what[48];
        snprintf(what, sizeof what, "contents[%zu]", i);
        if (add_turn(d, turns, &count, &contents->items[i], what, err)) return -1;
    }
    Json *messages = dialog_new_messages(d, count + 1), list = json_list(turns, count);
    size_t n = dialog_add_system(d, messages, system);
    if (dialog_add_all(d, messages + n, &list, "contents", err)) return -1;
    return dialog_set_messages(d, messages, n + count, err);
}
