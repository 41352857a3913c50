// hf_json: see hf_json.h.
#include "hf_json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fileio.h"
#include "path.h"

static bool is_null(const Json *v) {
    return !v || v->type == JSON_NULL;
}

bool hf_has(const HfJson *j, const char *key) {
    return !is_null(json_get(j->object, key));
}

const char *hf_show(char buf[HF_SHOWN], const Json *v) {
    if (v && v->type == JSON_STRING)
        snprintf(buf, HF_SHOWN, "\"%.60s\"", v->str.data);
    else if (v && (v->type == JSON_INT || v->type == JSON_FLOAT))
        snprintf(buf, HF_SHOWN, "%.60s", v->str.data);
    else
        snprintf(buf, HF_SHOWN, "%s", json_type_name(v));
    return buf;
}

int hf_refuse(const HfJson *j, const char *key, const Json *v, const char *fmt, ...) {
    char shown[HF_SHOWN], expected[600];
    va_list args;
    va_start(args, fmt);
    vsnprintf(expected, sizeof expected, fmt, args);
    va_end(args);
    return err_input(j->err, "%s: %s%s is %s; expected %s", j->path, j->prefix, key, hf_show(shown, v), expected);
}

int hf_int(const HfJson *j, const HfInt *spec, int64_t *out) {
    const char *key = spec->key;
    const Json *v = json_get(j->object, key);
    if (is_null(v) && spec->alias && json_get(j->object, spec->alias)) {
        key = spec->alias;
        v = json_get(j->object, key);
    }
    *out = v && spec->null != HF_AS_ABSENT ? spec->null : spec->absent;
    if (!v || (v->type == JSON_NULL && spec->null != HF_NOT_NULL)) return 0;
    int64_t value;
    if (!json_whole(v, &value) || value < spec->min || value > spec->max)
        return hf_refuse(j, key, v, "an integer from %lld to %lld", (long long)spec->min, (long long)spec->max);
    *out = value;
    return 0;
}

int hf_positive(const HfJson *j, const HfNumber *spec, float *out) {
    const Json *v = json_get(j->object, spec->key);
    *out = (float)(v ? spec->null : spec->absent);
    if (is_null(v)) return 0;
    if ((v->type != JSON_INT && v->type != JSON_FLOAT) || !((float)v->number > 0) || !isfinite((float)v->number))
        return hf_refuse(j, spec->key, v, "a finite number above 0");
    *out = (float)v->number;
    return 0;
}

int hf_bool(const HfJson *j, const char *key, bool absent, bool *out) {
    const Json *v = json_get(j->object, key);
    *out = absent;
    if (is_null(v)) return 0;
    if (v->type != JSON_TRUE && v->type != JSON_FALSE) return hf_refuse(j, key, v, "true or false");
    *out = v->type == JSON_TRUE;
    return 0;
}

int hf_string(const HfJson *j, const char *key, const char *absent, const char **out) {
    const Json *v = json_get(j->object, key);
    *out = absent;
    if (is_null(v)) return 0;
    if (v->type != JSON_STRING) return hf_refuse(j, key, v, "a string");
    *out = v->str.data;
    return 0;
}

static int get_container(const HfJson *j, const char *key, JsonType type, const char *what, const Json **out) {
    const Json *v = json_get(j->object, key);
    *out = NULL;
    if (is_null(v)) return 0;
    if (v->type != type) return hf_refuse(j, key, v, "%s", what);
    *out = v;
    return 0;
}

int hf_array(const HfJson *j, const char *key, const Json **out) {
    return get_container(j, key, JSON_ARRAY, "an array", out);
}

int hf_object(const HfJson *j, const char *key, const Json **out) {
    return get_container(j, key, JSON_OBJECT, "an object", out);
}

int hf_config_open(JsonDoc **doc, char **path, const char *where, Err *err) {
    enum { MAX_CONFIG_BYTES = 4 << 20 };
    size_t size;
    char *text;
    bool is_file = ends_with(where, ".json") && !path_is_dir(where);
    *path = is_file ? mem_strdup(where) : path_join(where, "config.json");
    int rc = file_read(&text, &size, *path, MAX_CONFIG_BYTES, err);
    if (!rc) {
        rc = json_parse_data(doc, text, size, *path, 1, err);
        mem_free(text);
    }
    if (rc) mem_free(*path);
    return rc;
}
