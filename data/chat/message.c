// message: roles, content and tool calls of messages, checked and normalised; which messages are trained on.
#include "message.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

Json message_new(JsonPool *pool, const char *role, JsonStr content) {
    Json m = json_with(pool, NULL, "role", json_string(json_str(role)));
    return json_with(pool, &m, "content", json_string(content));
}

// ---- roles and content ----

// The usual name of a role that has an alias; NULL: not an alias.
static const char *usual_role(const Json *role) {
    static const char *const alias[][2] = {
        {"human", "user"},      {"gpt", "assistant"},          {"chatgpt", "assistant"}, {"bot", "assistant"},
        {"model", "assistant"}, {"function_response", "tool"}, {"observation", "tool"},  {"function", "tool"},
    };
    for (size_t i = 0; i < sizeof alias / sizeof *alias; i++)
        if (json_is_string(role, alias[i][0])) return alias[i][1];
    return NULL;
}

static bool has_word(const char *text, const char *word, char quote) {
    AUTO_FREE char *quoted = mem_printf("%c%s%c", quote, word, quote);
    return strstr(text, quoted) != NULL;
}

int message_check_role(const Json *message, const char *template, const char *what, Err *err) {
    static const char known[] =
        "system developer user assistant tool ipython environment context documents tool_response";
    JsonStr role = json_get(message, "role")->str;
    if (is_among(role.data, role.len, known)) return 0;
    bool plain = role.len && strlen(role.data) == role.len;
    if (template && plain && (has_word(template, role.data, '\'') || has_word(template, role.data, '"'))) return 0;
    return err_input(
        err,
        "%s: found the role \"%.64s\"; expected system, developer, user, assistant, tool or another name of "
        "these (human, gpt, bot, model, function, observation, function_call), in lower case, or a role that the chat "
        "template names",
        what, role.data);
}

static int fail_part(const Json *part, size_t i, const char *what, Err *err) {
    const Json *type = json_get(part, "type");
    if (type && type->type == JSON_STRING && !json_is_string(type, "text"))
        return err_input(err, "%s.content[%zu]: found a part of type \"%s\"; this version trains on text only", what, i,
                         type->str.data);
    return err_input(err, "%s.content[%zu]: found %s; expected {\"type\": \"text\", \"text\": \"...\"}", what, i,
                     json_type_name(part));
}

bool message_has_parts(const Json *content) {
    if (!content || content->type != JSON_ARRAY) return false;
    for (size_t i = 0; i < content->count; i++) {
        const Json *type = json_get(&content->items[i], "type");
        if (!type || type->type != JSON_STRING) return false;
    }
    return true;
}

static int check_parts(const Json *parts, const char *what, Err *err) {
    for (size_t i = 0; i < parts->count; i++) {
        const Json *part = &parts->items[i], *text = json_get(part, "text");
        if (!json_is_string(json_get(part, "type"), "text") || !text || text->type != JSON_STRING)
            return fail_part(part, i, what, err);
    }
    return 0;
}

JsonStr message_text(JsonPool *pool, const Json *message) {
    const Json *content = json_get(message, "content");
    if (!content || (content->type != JSON_STRING && content->type != JSON_ARRAY)) return json_str("");
    if (content->type == JSON_STRING) return content->str;
    StrBuf joined = {0};
    for (size_t i = 0; i < content->count; i++) {
        const Json *text = json_get(&content->items[i], "text");
        if (text && text->type == JSON_STRING) str_add(&joined, text->str.data, text->str.len);
    }
    return json_pool_text(pool, &joined);
}

// Arguments and results are printed as JSON, which has no NaN.
static int check_finite(const Json *v, const char *what, Err *err) {
    bool digits = v->type == JSON_FLOAT && v->str.len == strspn(v->str.data, "-0123456789");
    if (v->type == JSON_FLOAT && !digits && !isfinite(v->number))
        return err_input(err, "%s: found the number %s; expected a finite one", what, v->str.data);
    bool inner = v->type == JSON_ARRAY || v->type == JSON_OBJECT;
    for (size_t i = 0; inner && i < v->count; i++)
        if (check_finite(&v->items[i], what, err)) return -1;
    return 0;
}

// A tool's result may be any value but null.
static int check_content(const Json *m, const char *what, Err *err) {
    const Json *content = json_get(m, "content");
    bool is_null = !content || content->type == JSON_NULL;
    if (content && content->type == JSON_STRING) return 0;
    if (!is_null && json_is_string(json_get(m, "role"), "tool") && !message_has_parts(content))
        return check_finite(content, what, err);
    if (content && content->type == JSON_ARRAY) return check_parts(content, what, err);
    if (is_null && json_get(m, "tool_calls")) return 0;
    return err_input(err, "%s.content: found %s; expected a string or a list of text parts", what,
                     json_type_name(content));
}

// Null is absence in parts, too: templates test `'image' in part`.
static void remove_part_nulls(Json *m, JsonPool *pool) {
    const Json *content = json_get(m, "content");
    if (!message_has_parts(content)) return;
    Json *parts = json_pool_alloc(pool, content->count, sizeof *parts);
    for (size_t i = 0; i < content->count; i++) parts[i] = json_without_nulls(pool, &content->items[i], NULL);
    *m = json_with(pool, m, "content", json_list(parts, content->count));
}

// ---- tool calls ----

// {"name", "arguments"} with arguments as an object, or as a string that holds one.
static int normalise_function(Json *f, JsonPool *pool, const char *what, Err *err) {
    const Json *name = json_get(f, "name"), *arguments = json_get(f, "arguments");
    if (!name || name->type != JSON_STRING)
        return err_input(err, "%s: found %s as a tool call's name; expected a string", what, json_type_name(name));
    if (arguments && arguments->type == JSON_OBJECT) return check_finite(arguments, what, err);
    if (json_is_string(arguments, "")) return 0;
    if (!arguments || arguments->type == JSON_NULL) {
        *f = json_with(pool, f, "arguments", (Json){.type = JSON_OBJECT});
        return 0;
    }
    const Json *parsed = arguments;
    if (arguments->type == JSON_STRING) { // only checked: chat_forms.c decides the form
        parsed = json_pool_parse(pool, arguments->str, "arguments", err);
        if (!parsed) return err_context(err, "%s", what);
    }
    if (parsed->type != JSON_OBJECT)
        return err_input(err, "%s: found %s as a tool call's arguments; expected an object", what,
                         json_type_name(parsed));
    return check_finite(parsed, what, err);
}

// A call as OpenAI writes it, {"type": "function", "function": {...}}, or the bare function.
static int normalise_call(Json *call, JsonPool *pool, const char *what, Err *err) {
    if (call->type == JSON_OBJECT) *call = json_without_nulls(pool, call, NULL);
    const Json *function = json_get(call, "function");
    if (!function) return normalise_function(call, pool, what, err);
    if (function->type == JSON_STRING && !(function = json_pool_parse(pool, function->str, "function", err)))
        return err_context(err, "%s", what);
    Json f = function->type == JSON_OBJECT ? json_without_nulls(pool, function, NULL) : *function;
    if (normalise_function(&f, pool, what, err)) return -1;
    *call = json_with(pool, call, "function", f);
    return 0;
}

static int normalise_calls(Json *m, JsonPool *pool, const Json *calls, const char *what, Err *err) {
    if (calls->type == JSON_STRING && !(calls = json_pool_parse(pool, calls->str, "tool_calls", err)))
        return err_context(err, "%s", what);
    if (calls->type != JSON_ARRAY)
        return err_input(err, "%s.tool_calls: found %s; expected an array", what, json_type_name(calls));
    Json *items = json_pool_alloc(pool, calls->count, sizeof *items);
    for (size_t i = 0; i < calls->count; i++) {
        char place[128];
        snprintf(place, sizeof place, "%s.tool_calls[%zu]", what, i);
        items[i] = calls->items[i];
        if (normalise_call(&items[i], pool, place, err)) return -1;
    }
    *m = json_with(pool, m, "tool_calls", json_list(items, calls->count));
    return 0;
}

int message_from_call(Json *out, JsonPool *pool, JsonStr call, const char *what, Err *err) {
    const Json *parsed = json_pool_parse(pool, call, what, err);
    if (!parsed) return -1;
    Json one = json_list(parsed, 1);
    *out = message_new(pool, "assistant", json_str(""));
    return normalise_calls(out, pool, parsed->type == JSON_ARRAY ? parsed : &one, what, err);
}

// ---- trained or not ----

// true or false, or 1 or 0: 1 and 0; -1: something else.
static int truth_of(const Json *v) {
    int64_t n;
    if (v->type == JSON_TRUE || v->type == JSON_FALSE) return v->type == JSON_TRUE;
    return json_whole(v, &n) && (n == 0 || n == 1) ? (int)n : -1;
}

static const struct {
    const char *key;
    bool trains; // what true means
    bool is_number;
} mask_keys[] = {
    {"train", true, false}, {"training", true, false}, {"trainable", true, false}, {"weight", true, true},
    {"loss", true, false},  {"loss_mask", true, true}, {"masked", false, false},   {"mask", false, false},
};
enum { MASK_KEYS = sizeof mask_keys / sizeof *mask_keys };

bool message_is_mask_key(const char *key) {
    for (int i = 0; i < MASK_KEYS; i++)
        if (strcmp(key, mask_keys[i].key) == 0) return true;
    return false;
}

// Masks of parts of a turn, by places in its text.
static int refuse_details(const Json *m, const char *what, Err *err) {
    const char *key = json_get(m, "train_detail") ? "train_detail" : "training_detail";
    if (!json_get(m, key)) return 0;
    return err_input(err, "%s.%s: found a mask of parts of a message; expected \"train\": true or false, of all of it",
                     what, key);
}

static int check_mask_keys(const Json *m, const char *what, Err *err) {
    for (int i = 0; i < MASK_KEYS; i++) {
        const Json *v = json_get(m, mask_keys[i].key);
        bool number = v && (v->type == JSON_INT || v->type == JSON_FLOAT);
        bool unclear = number && !mask_keys[i].trains; // 1 and 0 of "mask" are in use with both meanings
        if (!v || (truth_of(v) >= 0 && !unclear)) continue;
        return err_input(err, "%s.%s: found %s; expected %s", what, mask_keys[i].key,
                         number ? v->str.data : json_type_name(v), mask_keys[i].is_number ? "0 or 1" : "true or false");
    }
    return refuse_details(m, what, err);
}

// Integer of a JSON_FALSE that marks a message of a prompt; a false that was read from a file has 0.
enum { OF_PROMPT = 1 };

Json message_of_prompt(JsonPool *pool, const Json *message) {
    if (message_training(message) == NOT_TRAINED) return *message;
    return json_with(pool, message, "train", (Json){.type = JSON_FALSE, .integer = OF_PROMPT});
}

MessageTraining message_training(const Json *message) {
    MessageTraining found = TRAINED_AS_ROLE;
    for (int i = 0; i < MASK_KEYS; i++) {
        const Json *v = json_get(message, mask_keys[i].key);
        int truth = v ? truth_of(v) : -1;
        if (truth < 0) continue;
        if (v->type == JSON_FALSE && v->integer == OF_PROMPT)
            found = TRAINED_AS_PROMPT;
        else if (truth != mask_keys[i].trains)
            return NOT_TRAINED;
        else if (found < TRAINED && truth == 1)
            found = v->type == JSON_TRUE ? TRAINED : TRAINED_BY_WEIGHT;
    }
    return found;
}

bool message_is_trained(const Json *message) { return message_training(message) <= TRAINED; }

bool message_is_learnt(const Json *message, unsigned roles) {
    MessageTraining t = message_training(message);
    const Json *role = json_get(message, "role");
    unsigned bit = 0, assistant = 1u << ROLE_ASSISTANT;
    for (int r = 0; r < ROLE_COUNT; r++)
        if (json_is_string(role, ENUM_WORDS(LEARNT_ROLES)[r].word)) bit = 1u << r;
    if (json_is_string(role, "developer")) bit = 1u << ROLE_SYSTEM;
    if (t > TRAINED) return false;
    if (t != TRAINED_AS_ROLE && bit == assistant) return true;
    return bit & (roles ? roles : assistant);
}

// ---- a whole message ----

int message_normalise(Json *out, JsonPool *pool, const Json *message, const char *what, Err *err) {
    if (message->type != JSON_OBJECT)
        return err_input(err, "%s: found %s; expected a message, {\"role\", \"content\"}", what,
                         json_type_name(message));
    const Json *role = json_get(message, "role");
    if (!role || role->type != JSON_STRING)
        return err_input(err, "%s.role: found %s; expected a string", what, json_type_name(role));
    *out = json_without_nulls(pool, message, "content");
    const Json *calls = json_get(out, "tool_calls");
    if (json_get(out, "function_call"))
        return err_input(err, "%s.function_call: found the old form of a tool call; expected tool_calls", what);
    if (check_mask_keys(out, what, err)) return -1;
    const char *usual = usual_role(role);
    if (usual) *out = json_with(pool, out, "role", json_string(json_str(usual)));
    if (check_content(out, what, err)) return -1;
    remove_part_nulls(out, pool);
    return calls ? normalise_calls(out, pool, calls, what, err) : 0;
}

bool json_is_message(const Json *v) {
    return (json_get(v, "role") && (json_get(v, "content") || json_get(v, "tool_calls"))) ||
           (json_get(v, "from") && json_get(v, "value"));
}
