// json_read: typed reading of the keys of a JSON object.
//
// A key may be absent, null (absent too, unless a rule gives it a meaning), or a value, which is checked for type and
// range. A whole number may be written as a float (1.0). Errors are ERR_INPUT
// "DIR/config.json: text_config.hidden_size is 0; expected an integer from 2 to 262144".
#pragma once

#include "json.h"

// json_parse_data of a file of at most `most` bytes.
int json_load(JsonDoc **doc, const char *path, size_t most, Err *err);

typedef struct JsonReader {
    const Json *object; // NULL: all keys are absent
    const char *path;   // of the file, for messages; NULL: the caller adds it
    const char *prefix; // of the keys of this object, for messages: "", "text_config.", "rope_parameters."
    Err *err;
} JsonReader;

// For JsonIntRule: null means absent; null is refused; the key must be there, with a value.
#define JSON_AS_ABSENT INT64_MIN
#define JSON_NOT_NULL (INT64_MIN + 1)
#define JSON_REQUIRED (INT64_MIN + 2)
typedef struct JsonIntRule {
    const char *key, *alias; // alias NULL: none; the key comes first
    int64_t absent, null;    // the value in that case; may be out of range
    int64_t min, max;
} JsonIntRule;
int json_read_int(const JsonReader *r, const JsonIntRule *rule, int64_t *out);

// A finite number above 0; `absent` and `null` are not checked.
typedef struct JsonPositiveRule {
    const char *key;
    double absent, null;
} JsonPositiveRule;
int json_read_positive(const JsonReader *r, const JsonPositiveRule *rule, float *out);
int json_read_number(const JsonReader *r, const char *key, double *out); // required; finite
// true or false; absent and null: `absent`.
int json_read_flag(const JsonReader *r, const char *key, bool absent, bool *out);
int json_read_text(const JsonReader *r, const char *key, JsonStr *out); // required; may hold NUL bytes
// *out is `absent` when the key is absent or null; else it belongs to the document. Text with a NUL byte is refused.
int json_read_string(const JsonReader *r, const char *key, const char *absent, const char **out);
// *out NULL when absent or null.
int json_read_array(const JsonReader *r, const char *key, const Json **out);
int json_read_object(const JsonReader *r, const char *key, const Json **out);

// The value as in the file ("\"abc\"", "12", "an array"), for messages; valid until the next call with buf.
enum { JSON_SHOWN = 80 };
const char *json_show(char buf[JSON_SHOWN], const Json *v);
// "PATH: PREFIXKEY is VALUE; expected EXPECTED"; returns -1. v NULL: the value of the key.
int json_refuse(const JsonReader *r, const char *key, const Json *v, const char *fmt, ...) PRINTF_LIKE(4, 5);
