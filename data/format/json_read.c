#include "json_read.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fileio.h"

int json_load(JsonDoc **doc, const char *path, size_t most, Err *err) {
    AUTO_FREE char *text = NULL;
    size_t size;
    return file_read(&text, &size, path, most, err) || json_parse_data(doc, text, size, path, 1, err) ? -1 : 0;
}

const char *json_show(char buf[JSON_SHOWN], const Json *v) {
    if (v && v->type == JSON_STRING)
        snprintf(buf, JSON_SHOWN, "\"%.60s\"", v->str.data);
    else if (v && v->str.data)
        snprintf(buf, JSON_SHOWN, "%.60s", v->str.data); // a number as it was written
    else
        snprintf(buf, JSON_SHOWN, "%s", v ? json_type_name(v) : "missing");
    return buf;
}

int json_refuse(const JsonReader *r, const char *key, const Json *v, const char *fmt, ...) {
    char shown[JSON_SHOWN], expected[600];
    va_list args;
    va_start(args, fmt);
    vsnprintf(expected, sizeof expected, fmt, args);
    va_end(args);
    if (!v) v = json_get(r->object, key);
    err_input(r->err, "%s%s is %s; expected %s", r->prefix, key, json_show(shown, v), expected);
    return r->path ? err_context(r->err, "%s", r->path) : -1;
}

int json_read_int(const JsonReader *r, const JsonIntRule *rule, int64_t *out) {
    const char *key = rule->key;
    const Json *v = json_get(r->object, key);
    if (!json_given(r->object, key) && rule->alias && json_get(r->object, rule->alias)) {
        key = rule->alias;
        v = json_get(r->object, key);
    }
    bool required = rule->absent == JSON_REQUIRED;
    *out = v && rule->null != JSON_AS_ABSENT ? rule->null : rule->absent;
    if (!required && (!v || (v->type == JSON_NULL && rule->null != JSON_NOT_NULL))) return 0;
    int64_t value;
    if (!json_whole(v, &value) || value < rule->min || value > rule->max)
        return json_refuse(r, key, v, "an integer from %ld to %ld", rule->min, rule->max);
    *out = value;
    return 0;
}

int json_read_positive(const JsonReader *r, const JsonPositiveRule *rule, float *out) {
    const Json *v = json_get(r->object, rule->key);
    *out = (float)(v ? rule->null : rule->absent);
    if (!json_given(r->object, rule->key)) return 0;
    if (!v || !json_is_number(v) || !((float)v->number > 0) || !isfinite((float)v->number))
        return json_refuse(r, rule->key, v, "a finite number above 0");
    *out = (float)v->number;
    return 0;
}

int json_read_number(const JsonReader *r, const char *key, double *out) {
    const Json *v = json_get(r->object, key);
    if (!v || !json_is_number(v) || !isfinite(v->number)) return json_refuse(r, key, v, "a finite number");
    *out = v->number;
    return 0;
}

int json_read_flag(const JsonReader *r, const char *key, bool absent, bool *out) {
    const Json *v = json_given(r->object, key);
    *out = absent;
    if (!v) return 0;
    if (v->type != JSON_TRUE && v->type != JSON_FALSE) return json_refuse(r, key, v, "true or false");
    *out = v->type == JSON_TRUE;
    return 0;
}

int json_read_text(const JsonReader *r, const char *key, JsonStr *out) {
    const Json *v = json_get(r->object, key);
    if (!v || v->type != JSON_STRING) return json_refuse(r, key, v, "a string");
    *out = v->str;
    return 0;
}

int json_read_string(const JsonReader *r, const char *key, const char *absent, const char **out) {
    const Json *v = json_given(r->object, key);
    *out = absent;
    if (!v) return 0;
    if (v->type != JSON_STRING) return json_refuse(r, key, v, "a string");
    if (strlen(v->str.data) != v->str.len) return json_refuse(r, key, v, "a string without NUL characters");
    *out = v->str.data;
    return 0;
}

static int read_container(const JsonReader *r, const char *key, JsonType type, const char *what, const Json **out) {
    const Json *v = *out = json_given(r->object, key);
    if (!v || v->type == type) return 0;
    *out = NULL;
    return json_refuse(r, key, v, "%s", what);
}

int json_read_array(const JsonReader *r, const char *key, const Json **out) {
    return read_container(r, key, JSON_ARRAY, "an array", out);
}

int json_read_object(const JsonReader *r, const char *key, const Json **out) {
    return read_container(r, key, JSON_OBJECT, "an object", out);
}
