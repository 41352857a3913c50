// json: a bounded, strict JSON reader for text that is large or hostile (records, tokenizer.json, headers), into a
// tree.
//
// RFC 8259, no extensions (a byte order mark is refused too), except where json_parse_data and json_parse_config say
// so. Depth is limited to 64 and a document to 2^22 values (at most 600 MB of tree while it is built); strings may hold
// NUL bytes (length counts), UTF-8 is validated, lone surrogates are refused, object keys keep their order and
// duplicates are refused, numbers that overflow a double are refused. Time is linear, but for the keys of one object,
// which are sorted. All nodes of a document live in one arena: json_free frees everything.
#pragma once

#include "base.h"

enum { JSON_MAX_DEPTH = 64, JSON_MAX_VALUES = 1 << 22 };

typedef enum { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_INT, JSON_FLOAT, JSON_STRING, JSON_ARRAY, JSON_OBJECT } JsonType;

typedef struct JsonStr {
    const char *data; // len bytes, then a NUL
    size_t len;
} JsonStr;

typedef struct Json Json;
struct Json {
    JsonType type;
    uint32_t line;       // where the value begins, counted from the line that the parser was given
    JsonStr str;         // JSON_STRING: the text; JSON_INT / JSON_FLOAT: the number as written
    int64_t integer;     // JSON_INT that fits int64 (else the type is JSON_FLOAT)
    double number;       // JSON_INT and JSON_FLOAT
    size_t count;        // JSON_ARRAY, JSON_OBJECT
    const Json *items;   // count values
    const JsonStr *keys; // JSON_OBJECT: count keys
};

typedef struct JsonDoc JsonDoc;

// Parses exactly one value (white space around it is allowed). `name` and `line` begin the error message
// ("name:line: ..."), line counted from `line` on; line 0 leaves it out. The text need not outlive the call.
int json_parse(JsonDoc **doc, const char *text, size_t len, const char *name, size_t line, Err *err);
// As json_parse, for data that Python wrote: NaN, Infinity, -Infinity and numbers beyond a double are JSON_FLOAT too,
// so that a column that is not read cannot stop a run. Callers that read a number must check isfinite (json_whole
// does).
int json_parse_data(JsonDoc **doc, const char *text, size_t len, const char *name, size_t line, Err *err);
// As json_parse_data, for values of types that JSON does not have: NaN(what it is), a JSON_FLOAT that is refused by
// that name where it is read.
int json_parse_columns(JsonDoc **doc, const char *text, size_t len, const char *name, size_t line, Err *err);
// A file of settings: `//` comments, a byte order mark and strings that are not UTF-8 (paths) are allowed, NUL
// characters are not.
int json_parse_config(JsonDoc **doc, const char *text, size_t len, const char *name, Err *err);
const Json *json_root(const JsonDoc *doc);
void json_free(JsonDoc *doc);
DEFINE_AUTO(JsonDoc, json_free)
#define AUTO_JSON AUTO(json_free)

// Lookups; NULL when absent or of another type.
const Json *json_get(const Json *object, const char *key);   // object may be NULL; linear in its keys
const Json *json_given(const Json *object, const char *key); // as json_get; NULL for null too: null is absence
const char *json_type_name(const Json *v);                   // "a string", "an array", ...; for messages
static inline bool json_is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool json_str_equal(JsonStr a, JsonStr b);
bool json_str_is(JsonStr s, const char *text);        // all of s, which may hold NUL bytes
bool json_is_string(const Json *v, const char *text); // v is a string equal to text
static inline bool json_is_text(const Json *v) { return v->type == JSON_STRING; }
static inline bool json_is_number(const Json *v) { return v->type == JSON_INT || v->type == JSON_FLOAT; }
bool json_is_off(const Json *v);              // absent, null, false, [] or {}: an option that is not used
bool json_whole(const Json *v, int64_t *out); // v is a whole number, also if written as a float (1.0)

// Appends `s` as a JSON string with quotes: what say.h keeps from terminals, quote and backslash are escaped, other
// UTF-8 is unchanged.
void json_quote(StrBuf *out, const char *s, size_t len);
void json_print(StrBuf *out, const Json *v); // a value as JSON text, numbers as they were written
