#include "serve_format.h"

#include <string.h>

#include "serve_read.h"

typedef struct Form {
    const char *field; // that asks for it; NULL: none
    ConstraintKind kind;
    StrBuf text;
} Form;

static Form *begin(Form *f, const char *field, ConstraintKind kind, Err *err) {
    if (f->field) {
        err_input(err, "\"%s\" and \"%s\": expected one of them", f->field, field);
        return NULL;
    }
    f->field = field;
    f->kind = kind;
    str_puts(&f->text, "");
    return f;
}

// ---- what a field may hold ----

static int add_schema(Form *f, const char *field, const Json *v, Err *err) {
    if (!begin(f, field, CONSTRAINT_SCHEMA, err)) return -1;
    if (json_is_text(v)) // vLLM: the schema as text
        str_add(&f->text, v->str.data, v->str.len);
    else
        json_print(&f->text, v);
    return 0;
}

static int add_any_object(Form *f, const char *field, Err *err) {
    if (!begin(f, field, CONSTRAINT_SCHEMA, err)) return -1;
    str_puts(&f->text, "{\"type\": \"object\"}");
    return 0;
}

static int add_text(Form *f, const char *field, ConstraintKind kind, const Json *v, Err *err) {
    if (!json_is_text(v)) return err_input(err, "\"%s\" is %s; expected text", field, json_type_name(v));
    if (!begin(f, field, kind, err)) return -1;
    str_add(&f->text, v->str.data, v->str.len);
    return 0;
}

// One of several texts, as a regular expression.
static int add_choice(Form *f, const char *field, const Json *v, Err *err) {
    if (v->type != JSON_ARRAY) return err_input(err, "\"%s\": expected a list of texts", field);
    if (!v->count) return err_input(err, "\"%s\": found an empty list; expected texts in it", field);
    if (!begin(f, field, CONSTRAINT_REGEX, err)) return -1;
    for (size_t i = 0; i < v->count; i++) {
        JsonStr text = v->items[i].str;
        if (!json_is_text(&v->items[i])) return err_input(err, "\"%s\": expected a list of texts", field);
        str_puts(&f->text, i ? "|(?:" : "(?:");
        for (size_t k = 0; k < text.len; k++) {
            if (text.data[k] && strchr("\\^$.|?*+()[]{}", text.data[k])) str_puts(&f->text, "\\");
            str_add(&f->text, text.data + k, 1);
        }
        str_puts(&f->text, ")");
    }
    return 0;
}

// ---- the fields ----

static int check_keys(const char *field, const Json *v, const char *known, Err *err) {
    if (v->type != JSON_OBJECT) return err_input(err, "\"%s\" is %s; expected an object", field, json_type_name(v));
    for (size_t i = 0; i < v->count; i++)
        if (!is_among(v->keys[i].data, v->keys[i].len, known) && !json_is_off(&v->items[i]))
            return err_input(err, "\"%s\": \"%.60s\" is not supported", field, v->keys[i].data);
    return 0;
}

// {"type": "text"}, {"type": "json_object"}, {"type": "json_schema", "json_schema": {"schema": ...}}; as llama.cpp also
// with "schema" next to the type.
static int read_response_format(Form *f, const Json *root, const Json *v, Err *err) {
    static const char name[] = "response_format";
    if (check_keys(name, v, "type json_schema schema", err)) return -1;
    const Json *type = json_get(v, "type"), *outer = json_given(v, "json_schema"), *schema = json_given(v, "schema");
    if (json_is_string(type, "text")) return 0;
    bool object = json_is_string(type, "json_object");
    if (!object && !json_is_string(type, "json_schema"))
        return serve_refuse_field(root, name, "a type of text, json_object or json_schema", err);
    if (outer && check_keys(name, outer, "name description schema strict", err)) return -1;
    if (outer && json_given(outer, "schema")) schema = json_given(outer, "schema");
    if (schema) return add_schema(f, name, schema, err);
    return object ? add_any_object(f, name, err) : serve_refuse_field(root, name, "a schema with it", err);
}

static int read_structured_outputs(Form *f, const Json *v, Err *err) {
    static const char name[] = "structured_outputs";
    if (check_keys(name, v, "json regex choice grammar json_object", err)) return -1;
    const Json *json = json_given(v, "json"), *regex = json_given(v, "regex"), *choice = json_given(v, "choice"),
               *grammar = json_given(v, "grammar"), *object = json_given(v, "json_object");
    bool any = object && object->type == JSON_TRUE;
    if (!json && !regex && !choice && !grammar && !any)
        return err_input(err, "\"%s\": expected one of json, regex, choice, grammar and json_object in it", name);
    if (json && add_schema(f, "structured_outputs.json", json, err)) return -1;
    if (regex && add_text(f, "structured_outputs.regex", CONSTRAINT_REGEX, regex, err)) return -1;
    if (choice && add_choice(f, "structured_outputs.choice", choice, err)) return -1;
    if (grammar && add_text(f, "structured_outputs.grammar", CONSTRAINT_GRAMMAR, grammar, err)) return -1;
    return any ? add_any_object(f, "structured_outputs.json_object", err) : 0;
}

static int read_fields(Form *f, const Json *root, Err *err) {
    static const struct {
        const char *name;
        ConstraintKind kind;
    } fields[] = {{"guided_json", CONSTRAINT_SCHEMA},
                  {"json_schema", CONSTRAINT_SCHEMA},
                  {"guided_regex", CONSTRAINT_REGEX},
                  {"guided_grammar", CONSTRAINT_GRAMMAR},
                  {"grammar", CONSTRAINT_GRAMMAR}};
    const Json *format = json_given(root, "response_format"), *outputs = json_given(root, "structured_outputs"),
               *choice = json_given(root, "guided_choice");
    if (format && read_response_format(f, root, format, err)) return -1;
    if (outputs && read_structured_outputs(f, outputs, err)) return -1;
    if (choice && add_choice(f, "guided_choice", choice, err)) return -1;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const Json *v = json_given(root, fields[i].name);
        if (!v) continue;
        if (fields[i].kind == CONSTRAINT_SCHEMA ? add_schema(f, fields[i].name, v, err)
                                                : add_text(f, fields[i].name, fields[i].kind, v, err))
            return -1;
    }
    return 0;
}

int serve_format_read(Constraint **out, const Json *root, const TokenTrie *(*tokens)(void *user), void *user,
                      Err *err) {
    Form f = {0};
    *out = NULL;
    int rc = read_fields(&f, root, err);
    if (!rc && f.field) {
        rc = constraint_new(out, tokens(user), f.kind, (JsonStr){f.text.data, f.text.len}, err);
        if (rc) err_context(err, "\"%s\"", f.field);
    }
    str_clear(&f.text);
    return rc;
}
