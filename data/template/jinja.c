// jinja: the interface of the template interpreter (compile, render, free), and the data that a template reads.
#include "jinja_eval.h"
#include "unicode.h"

#include <stdio.h>
#include <string.h>

int jinja_compile(JinjaTemplate **out, const char *source, size_t len, const char *name, Err *err) {
    *out = NULL;
    if (len > JINJA_MAX_SOURCE) return err_input(err, "%s has %zu bytes; at most %d", name, len, JINJA_MAX_SOURCE);
    if (utf8_valid_prefix(source, len) != len) return err_input(err, "%s is not valid UTF-8", name);
    JinjaTemplate *t = mem_calloc(1, sizeof *t);
    size_t name_size = strlen(name) + 1;
    t->name = memcpy(arena_alloc(&t->arena, name_size), name, name_size);
    Token *tokens;
    if (jinja_lex(t, &tokens, source, len, err) || jinja_parse(t, tokens, err)) {
        jinja_free(t);
        return -1;
    }
    *out = t;
    return 0;
}

void jinja_free(JinjaTemplate *t) {
    if (!t) return;
    arena_free(&t->arena);
    mem_free(t);
}

void jinja_output_clear(JinjaOutput *out) {
    mem_free(out->text);
    mem_free(out->origin);
    mem_free(out->generation);
    key_notes_clear(&out->unread);
    *out = (JinjaOutput){0};
}

// ---- the data: JSON to values. Strings are borrowed: the document outlives the render ----

static Value str_from_json(Eval *e, JsonStr s, uint32_t origin) {
    eval_charge(e, 1 + s.len / 64);
    return (Value){.type = V_STR, .origin = origin, .str = str_in_arena(&e->arena, s.data, s.len, origin)};
}

static Value float_from_json(Eval *e, const Json *j, uint32_t origin) {
    if (j->str.len != strspn(j->str.data, "-0123456789"))
        return (Value){.type = V_FLOAT, .origin = origin, .f = j->number};
    Value v = str_from_json(e, j->str, origin); // an integer too large for int64
    v.type = V_BIGINT;
    return v;
}

// Room for n pairs. Of messages, the render notes which values the template reads.
static Value dict_of(Eval *e, size_t n, uint32_t origin) {
    Value v = v_dict(e);
    v.origin = origin;
    v.dict->keys = eval_alloc(e, n, sizeof *v.dict->keys);
    v.dict->values = eval_alloc(e, n, sizeof *v.dict->values);
    v.dict->count = n;
    if (origin >= JINJA_ORIGIN_MESSAGE) dict_track(e, v.dict);
    return v;
}

static Value value_from_json(Eval *e, const Json *j, uint32_t origin);

// places: item i gets its place (jinja.h).
static Value list_from_json(Eval *e, const Json *j, uint32_t origin, bool places) {
    Value *items = eval_alloc(e, j->count, sizeof *items);
    for (size_t i = 0; i < j->count; i++)
        items[i] = value_from_json(e, &j->items[i], places ? origin | jinja_place(0, i) : origin);
    Value v = v_seq(e, V_LIST, items, j->count);
    v.origin = origin;
    return v;
}

static Value value_from_json(Eval *e, const Json *j, uint32_t origin) {
    if (j->type == JSON_NULL) return (Value){.type = V_NONE, .origin = origin};
    if (j->type == JSON_INT) return (Value){.type = V_INT, .origin = origin, .i = j->integer};
    if (j->type == JSON_FLOAT) return float_from_json(e, j, origin);
    if (j->type == JSON_STRING) return str_from_json(e, j->str, origin);
    if (j->type == JSON_ARRAY) return list_from_json(e, j, origin, false);
    if (j->type != JSON_OBJECT) return (Value){.type = V_BOOL, .origin = origin, .b = j->type == JSON_TRUE};
    Value v = dict_of(e, j->count, origin); // keys of a JSON object are unique
    for (size_t i = 0; i < j->count; i++) {
        v.dict->keys[i] = str_from_json(e, j->keys[i], origin);
        v.dict->values[i] = value_from_json(e, &j->items[i], origin);
    }
    return v;
}

// Templates build control tokens and headers from role names ('<|' + role + '|>'). A role of this closed list is a
// word of the chat format, not text of the data, so it has origin 0; any other role stays data.
static bool is_known_role(const Json *role) {
    static const char known[] = "system developer user assistant model tool function ipython human gpt observation "
                                "environment context documents tool_response";
    return role->type == JSON_STRING && is_among(role->str.data, role->str.len, known);
}

// Its items have places of their own.
static Value field_from_json(Eval *e, const Json *j, uint32_t origin, size_t key) {
    origin |= jinja_place(key, 0);
    return j->type == JSON_ARRAY ? list_from_json(e, j, origin, true) : value_from_json(e, j, origin);
}

static Value message_from_json(Eval *e, const Json *j, uint32_t origin) {
    if (j->type != JSON_OBJECT) return value_from_json(e, j, origin);
    Value v = dict_of(e, j->count, origin);
    for (size_t i = 0; i < j->count; i++) {
        bool known_role = json_str_is(j->keys[i], "role") && is_known_role(&j->items[i]);
        v.dict->keys[i] = str_from_json(e, j->keys[i], origin | jinja_place(i, 0));
        v.dict->values[i] =
            known_role ? value_from_json(e, &j->items[i], 0) : field_from_json(e, &j->items[i], origin, i);
    }
    return v;
}

// ---- variables ----

static void set_variable(Eval *e, const char *name, Value v) { scope_set(e, str_make(e, name, strlen(name)), v); }

// As transformers passes them: tools and documents are none when absent, the tokens are undefined.
static Value set_variables(Eval *e, const JinjaInput *in) {
    set_variable(e, "documents", v_none());
    for (size_t i = 0; in->extra && i < in->extra->count; i++) {
        const Str *name = str_in_arena(&e->arena, in->extra->keys[i].data, in->extra->keys[i].len, 0);
        scope_set(e, name, field_from_json(e, &in->extra->items[i], JINJA_ORIGIN_DATA, i + 1));
    }
    if (in->bos_token) set_variable(e, "bos_token", v_text(e, in->bos_token));
    if (in->eos_token) set_variable(e, "eos_token", v_text(e, in->eos_token));
    Value *messages = eval_alloc(e, in->messages->count, sizeof *messages);
    for (size_t i = 0; i < in->messages->count; i++)
        messages[i] = message_from_json(e, &in->messages->items[i], JINJA_ORIGIN_MESSAGE | (uint32_t)i);
    Value list = v_seq(e, V_LIST, messages, in->messages->count);
    set_variable(e, "messages", list);
    set_variable(e, "tools", in->tools ? field_from_json(e, in->tools, JINJA_ORIGIN_DATA, 0) : v_none());
    set_variable(e, "add_generation_prompt", v_bool(in->add_generation_prompt));
    return list;
}

// ---- keys that the template leaves out ----

enum { PLACE_BYTES = 64 };

static void note_unread(KeyNotes *notes, Value v, const char *place) {
    char inner[PLACE_BYTES];
    snprintf(inner, sizeof inner, "%s%s", place, v.type == V_LIST ? "[]" : ".");
    for (size_t i = 0; v.type == V_LIST && i < v.seq->count; i++) note_unread(notes, v.seq->items[i], inner);
    for (size_t i = 0; v.type == V_DICT && v.dict->read && i < v.dict->count; i++) {
        const Str *key = v.dict->keys[i].str;
        if (v.dict->values[i].type == V_NONE) continue;
        if (v.dict->read[i]) {
            snprintf(inner, sizeof inner, "%s.%s", place, key->data);
            note_unread(notes, v.dict->values[i], inner);
        } else {
            snprintf(inner, sizeof inner, "%s.", place);
            key_notes_add(notes, inner, (JsonStr){key->data, key->len});
        }
    }
}

static bool is_read(const Dict *variables, JsonStr name) {
    for (size_t i = 0; i < variables->count; i++)
        if (str_equal(variables->keys[i].str, &(Str){.data = name.data, .len = name.len})) return variables->read[i];
    return true;
}

static void note_unread_variables(KeyNotes *notes, const Dict *variables, const JinjaInput *in) {
    for (size_t i = 0; in->extra && i < in->extra->count; i++)
        if (!is_read(variables, in->extra->keys[i])) key_notes_add(notes, "chat_template_kwargs.", in->extra->keys[i]);
    if (in->tools && !is_read(variables, (JsonStr){"tools", 5})) key_notes_add(notes, "", (JsonStr){"tools", 5});
}

static void take_output(const Eval *e, const Buffer *b, JinjaOutput *out) {
    out->text = mem_strndup(b->len ? b->data : "", b->len);
    out->origin = mem_alloc(b->len + 1, sizeof *out->origin);
    out->generation = e->t->has_generation ? mem_alloc(b->len + 1, 1) : NULL;
    out->len = b->len;
    for (size_t i = 0; i < b->len; i++) {
        out->origin[i] = b->origins[i] & ~(uint32_t)ORIGIN_GENERATION;
        if (out->generation) out->generation[i] = (b->origins[i] & ORIGIN_GENERATION) != 0;
    }
}

int jinja_render(const JinjaTemplate *t, const JinjaInput *in, JinjaOutput *out, Err *err) {
    jinja_output_clear(out);
    if (in->messages->type != JSON_ARRAY)
        return err_input(err, "messages: found %s; expected an array", json_type_name(in->messages));
    if (in->messages->count > JINJA_MAX_MESSAGES)
        return err_input(err, "a conversation has %zu messages; at most %d", in->messages->count, JINJA_MAX_MESSAGES);
    Buffer text = {0};
    size_t max_steps = in->is_probe ? JINJA_PROBE_STEPS : JINJA_MAX_STEPS;
    Eval e = {.t = t, .err = err, .out = &text, .line = 1, .max_steps = max_steps};
    Scope variables = {0}, top = {.parent = &variables};
    e.scope = &variables;
    Value messages = set_variables(&e, in);
    e.scope = &top;
    dict_track(&e, &variables.vars);
    exec_body(&e, &t->body);
    if (!e.failed) {
        take_output(&e, &text, out);
        note_unread(&out->unread, messages, "");
        note_unread_variables(&out->unread, &variables.vars, in);
    }
    arena_free(&e.arena);
    return e.failed ? -1 : 0;
}
