// jinja: the interface of the template interpreter: compile, render, free.
#include "jinja_eval.h"
#include "unicode.h"

#include <stdio.h>
#include <string.h>

int jinja_compile(JinjaTemplate **out, const char *source, size_t len, const char *name, Err *err) {
    *out = NULL;
    if (len > JINJA_MAX_SOURCE) return err_input(err, "%s has %zu bytes; at most %d", name, len, JINJA_MAX_SOURCE);
    if (utf8_valid_prefix(source, len) != len) return err_input(err, "%s is not valid UTF-8", name);
    JinjaTemplate *t = mem_calloc(1, sizeof *t);
    char *own_name = arena_alloc(&t->arena, strlen(name) + 1);
    t->name = strcpy(own_name, name);
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

static void set_variable(Eval *e, const char *name, Value v) {
    scope_set(e, str_make(e, name, strlen(name)), v);
}

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
