#include "serve_read.h"

#include <stdio.h>
#include <string.h>

int serve_refuse_field(const Json *o, const char *key, const char *expected, Err *err) {
    AUTO_STR StrBuf found = {0};
    json_print(&found, json_get(o, key));
    return err_input(err, "\"%s\" is %.100s; expected %s", key, found.data, expected);
}

int serve_read_int(int64_t *out, const Json *o, const char *key, int64_t least, int64_t most, Err *err) {
    const Json *v = json_given(o, key);
    char expected[80];
    if (!v || (json_whole(v, out) && *out >= least && *out <= most)) return 0;
    snprintf(expected, sizeof expected, "a whole number from %ld to %ld", least, most);
    return serve_refuse_field(o, key, expected, err);
}

int serve_read_number(double *out, const Json *o, const char *key, double least, double most, Err *err) {
    const Json *v = json_given(o, key);
    char expected[80];
    if (!v) return 0;
    if (json_is_number(v) && v->number >= least && v->number <= most) {
        *out = v->number;
        return 0;
    }
    snprintf(expected, sizeof expected, "a number from %g to %g", least, most);
    return serve_refuse_field(o, key, expected, err);
}

int serve_read_bool(bool *out, const Json *o, const char *key, Err *err) {
    const Json *v = json_given(o, key);
    if (!v) return 0;
    if (v->type != JSON_TRUE && v->type != JSON_FALSE) return serve_refuse_field(o, key, "true or false", err);
    *out = v->type == JSON_TRUE;
    return 0;
}

int serve_read_text(const char **out, const Json *o, const char *key, Err *err) {
    const Json *v = json_given(o, key);
    if (!v) return 0;
    if (!json_is_text(v) || strlen(v->str.data) != v->str.len) return serve_refuse_field(o, key, "text", err);
    *out = v->str.data;
    return 0;
}
