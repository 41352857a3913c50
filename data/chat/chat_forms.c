// chat_forms: renders probes, and converts conversations to the forms that they show.
#include "chat_internal.h"

#include <string.h>

// ---- probes ----

#define QUESTION "{\"role\": \"user\", \"content\": \"qzquestion\"}"
#define VALUE "{\"qzkey\": \"qzvalue\"}"
#define PARTS "[{\"type\": \"text\", \"text\": \"qzfirst\"}, {\"type\": \"text\", \"text\": \"qzsecond\"}]"
#define TOOL                                                                                                           \
    "{\"type\": \"function\", \"function\": {\"name\": \"qzname\", \"description\": \"qz\", \"parameters\": "          \
    "{\"type\": \"object\", \"properties\": {}}}}"

typedef struct Prober {
    const JinjaTemplate *t;
    const char *bos, *eos;
    // of a conversation with a tool call that the template renders:
    const char *call_content; // JSON
    bool with_tools;
} Prober;

// The text of a conversation in JSON (freed here); NULL: the template refuses it.
static char *render(const Prober *p, char *json) {
    AUTO_FREE char *messages = json;
    AUTO_JSON JsonDoc *doc = NULL, *tools = NULL;
    CHECK(json_parse(&doc, messages, strlen(messages), "probe", 0, NULL) == 0, "%s", messages);
    CHECK(json_parse(&tools, "[" TOOL "]", strlen("[" TOOL "]"), "probe", 0, NULL) == 0);
    JinjaInput in = {.messages = json_root(doc), .bos_token = p->bos, .eos_token = p->eos, .is_probe = true};
    if (p->with_tools) in.tools = json_root(tools);
    AUTO_CALL(jinja_output_clear) JinjaOutput out = {0};
    return jinja_render(p->t, &in, &out, NULL) == 0 ? mem_take(&out.text) : NULL;
}

static char *call_message(const Prober *p, const char *arguments) {
    return mem_printf("{\"role\": \"assistant\", \"content\": %s, \"tool_calls\": [{\"id\": \"abcdefghi\", \"type\": "
                      "\"function\", \"function\": {\"name\": \"qzname\", \"arguments\": %s}}]}",
                      p->call_content, arguments);
}

// Renders a question and a call with these arguments (JSON).
static char *render_call(const Prober *p, const char *arguments) {
    AUTO_FREE char *call = call_message(p, arguments);
    return render(p, mem_printf("[" QUESTION ", %s]", call));
}

// Renders a conversation in which a message of that role has this content (JSON).
static char *render_content(const Prober *p, const ChatForms *f, FormRole role, const char *content) {
    static const char *const before[] = {
        [FORM_USER] = "{\"role\": \"user\"",
        [FORM_ASSISTANT] = QUESTION ", {\"role\": \"assistant\"",
        [FORM_SYSTEM] = "{\"role\": \"system\"",
        [FORM_TOOL] = ", {\"role\": \"tool\", \"tool_call_id\": \"abcdefghi\", \"name\": \"qzname\"",
    };
    AUTO_FREE char *call = call_message(p, f->arguments_as_object ? "{\"qzarg\": \"qzword\"}" : "\"{}\"");
    bool tool = role == FORM_TOOL;
    return render(p, mem_printf("[%s%s%s, \"content\": %s}%s]", tool ? QUESTION ", " : "", tool ? call : "",
                                before[role], content, role == FORM_SYSTEM ? ", " QUESTION : ""));
}

// The rendered text (freed here; NULL: refused) has both words, and neither of two other ones (NULL: none), which show
// a value that is printed whole.
static bool has(char *rendered, const char *first, const char *second, const char *as_python, const char *as_json) {
    AUTO_FREE char *text = rendered;
    return text && strstr(text, first) && strstr(text, second) && !(as_python && strstr(text, as_python)) &&
           !(as_json && strstr(text, as_json));
}

static bool has_object(char *rendered) { return has(rendered, "qzkey", "qzvalue", "'qzkey'", NULL); }

static void find_arguments(ChatForms *f, Prober *p) {
    static const char *const contents[] = {"null", "\"\""};
    for (int i = 0; i < 4; i++) {
        p->call_content = contents[i % 2];
        p->with_tools = i >= 2;
        f->arguments_as_text = has(render_call(p, "\"{\\\"qzkey\\\": \\\"qzvalue\\\"}\""), VALUE, "", NULL, NULL);
        f->arguments_as_object = has_object(render_call(p, VALUE));
        if (f->arguments_as_text || f->arguments_as_object) return;
    }
    p->with_tools = false; // the template knows no calls
}

// The template fails on a call with this content, or prints it as Python prints null.
static bool is_bad_content(Prober p, const ChatForms *f, const char *content) {
    p.call_content = content;
    AUTO_FREE char *text = render_call(&p, f->arguments_as_object ? "{}" : "\"{}\"");
    return !text || strstr(text, "None");
}

void chat_forms_find(ChatForms *f, const JinjaTemplate *t, const char *bos, const char *eos) {
    Prober p = {.t = t, .bos = bos, .eos = eos};
    *f = (ChatForms){0};
    find_arguments(f, &p);
    f->null_as_text = is_bad_content(p, f, "null") && !is_bad_content(p, f, "\"\"");
    for (FormRole role = 0; role < FORM_ROLES; role++) {
        f->strings[role] = has(render_content(&p, f, role, "\"qzfirst\""), "qzfirst", "", NULL, NULL);
        f->parts[role] = has(render_content(&p, f, role, PARTS), "qzfirst", "qzsecond", "'type'", "\"type\"");
    }
    f->result_as_object = has_object(render_content(&p, f, FORM_TOOL, VALUE));
}

// ---- conversions ----

static FormRole form_role(const Json *message) {
    const Json *role = json_get(message, "role");
    if (json_is_string(role, "assistant")) return FORM_ASSISTANT;
    if (json_is_string(role, "system") || json_is_string(role, "developer")) return FORM_SYSTEM;
    return json_is_string(role, "tool") ? FORM_TOOL : FORM_USER;
}

static Json as_text(JsonPool *pool, const Json *v) {
    StrBuf text = {0};
    json_print(&text, v);
    return json_string(json_pool_text(pool, &text));
}

static Json as_part(JsonPool *pool, JsonStr text) {
    Json *part = json_pool_alloc(pool, 1, sizeof *part);
    *part = json_with(pool, NULL, "type", json_string(json_str("text")));
    *part = json_with(pool, part, "text", json_string(text));
    return json_list(part, 1);
}

static void apply_content(Json *m, const ChatForms *f, JsonPool *pool) {
    const Json *content = json_get(m, "content");
    FormRole role = form_role(m);
    if (!content || content->type == JSON_NULL) {
        if (f->null_as_text && json_get(m, "tool_calls")) *m = json_with(pool, m, "content", json_string(json_str("")));
    } else if (content->type == JSON_STRING) {
        if (!f->strings[role] && f->parts[role] && content->str.len)
            *m = json_with(pool, m, "content", as_part(pool, content->str));
    } else if (message_has_parts(content)) {
        if (!f->parts[role]) *m = json_with(pool, m, "content", json_string(message_text(pool, m)));
    } else if (role == FORM_TOOL && (content->type < JSON_ARRAY || !f->result_as_object)) {
        *m = json_with(pool, m, "content", as_text(pool, content));
    }
}

static void apply_function(Json *function, const ChatForms *f, JsonPool *pool) {
    const Json *arguments = json_get(function, "arguments");
    if (arguments && arguments->type == JSON_STRING && !f->arguments_as_text && f->arguments_as_object) {
        static const Json empty = {.type = JSON_OBJECT};
        const Json *parsed = arguments->str.len ? json_pool_parse(pool, arguments->str, "arguments", NULL) : &empty;
        if (parsed) *function = json_with(pool, function, "arguments", *parsed);
    }
    if (arguments && arguments->type == JSON_OBJECT && !f->arguments_as_object && f->arguments_as_text)
        *function = json_with(pool, function, "arguments", as_text(pool, arguments));
}

static void apply_calls(Json *m, const ChatForms *f, JsonPool *pool) {
    const Json *calls = json_get(m, "tool_calls");
    if (!calls || calls->type != JSON_ARRAY) return;
    Json *items = json_pool_alloc(pool, calls->count, sizeof *items);
    for (size_t i = 0; i < calls->count; i++) {
        const Json *function = json_get(&calls->items[i], "function");
        items[i] = calls->items[i];
        Json changed = function ? *function : items[i];
        apply_function(&changed, f, pool);
        if (!function)
            items[i] = changed;
        else if (changed.items != function->items)
            items[i] = json_with(pool, &items[i], "function", changed);
    }
    *m = json_with(pool, m, "tool_calls", json_list(items, calls->count));
}

// `m` without its key `from`, and with `to` set to v.
static Json with_other_key(JsonPool *pool, const Json *m, const char *from, const char *to, Json v) {
    Json copy = *m;
    JsonStr *keys = json_pool_alloc(pool, m->count, sizeof *keys);
    for (size_t i = 0; i < m->count; i++) keys[i] = json_str_is(m->keys[i], from) ? json_str(to) : m->keys[i];
    copy.keys = keys;
    return json_with(pool, &copy, to, v);
}

static void apply_reasoning(Json *m, const ChatForms *f, JsonPool *pool) {
    unsigned known = f->reasoning & ((1u << REASONING_KEYS) - 1);
    if (!known || form_role(m) != FORM_ASSISTANT) return;
    const char *to = chat_reasoning_keys[__builtin_ctz(known)];
    for (int i = 0; i < REASONING_KEYS; i++) {
        const Json *thought = json_get(m, chat_reasoning_keys[i]);
        if (known & 1u << i || !thought || thought->type != JSON_STRING || json_get(m, to)) continue;
        *m = with_other_key(pool, m, chat_reasoning_keys[i], to, *thought);
    }
}

void chat_forms_apply(Json *out, const ChatForms *f, JsonPool *pool, const Json *messages) {
    Json *items = json_pool_alloc(pool, messages->count, sizeof *items);
    for (size_t i = 0; i < messages->count; i++) {
        items[i] = messages->items[i];
        apply_content(&items[i], f, pool);
        apply_calls(&items[i], f, pool);
        apply_reasoning(&items[i], f, pool);
    }
    *out = json_list(items, messages->count);
}
