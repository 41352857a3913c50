// dialog_fields: the keys of a record, taken by the readers of formats.
#include <string.h>

#include "dialog_internal.h"

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
