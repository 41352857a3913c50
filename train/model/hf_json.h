// hf_json: typed reading of a Hugging Face config.json.
//
// A key may be absent (the configuration class of transformers has a default), null (absent too, unless the class gives
// it a meaning), or a value, which is checked for type and range. A whole number may be written as a float (1.0).
// Errors are ERR_INPUT "DIR/config.json: text_config.hidden_size is 0; expected an integer from 2 to 262144".
#pragma once

#include "json.h"

typedef struct HfJson {
    const Json *object;
    const char *path;   // of the file, for messages
    const char *prefix; // of the keys of this object: "", "text_config.", "rope_parameters."
    Err *err;
} HfJson;

// For HfInt.null: null means absent; null is refused.
#define HF_AS_ABSENT INT64_MIN
#define HF_NOT_NULL (INT64_MIN + 1)
typedef struct HfInt {
    const char *key, *alias; // alias NULL: none; the key comes first
    int64_t absent, null;    // the value in that case; may be out of range
    int64_t min, max;
} HfInt;
int hf_int(const HfJson *j, const HfInt *spec, int64_t *out);

// A finite number above 0; `absent` and `null` are not checked.
typedef struct HfNumber {
    const char *key;
    double absent, null;
} HfNumber;
int hf_positive(const HfJson *j, const HfNumber *spec, float *out);
bool hf_has(const HfJson *j, const char *key); // present and not null
// true or false; absent and null: `absent`.
int hf_bool(const HfJson *j, const char *key, bool absent, bool *out);
// *out is `absent` when the key is absent or null; else it belongs to the document.
int hf_string(const HfJson *j, const char *key, const char *absent, const char **out);
// *out NULL when absent or null.
int hf_array(const HfJson *j, const char *key, const Json **out);
int hf_object(const HfJson *j, const char *key, const Json **out);

// The value as in the file ("\"abc\"", "12", "an array"), for messages; valid until the next call with buf.
enum { HF_SHOWN = 80 };
const char *hf_show(char buf[HF_SHOWN], const Json *v);
// "key is VALUE; expected EXPECTED"; returns -1.
int hf_refuse(const HfJson *j, const char *key, const Json *v, const char *fmt, ...) PRINTF_LIKE(4, 5);

// Opens the config.json of a folder, or the .json file itself; *path is its name. On success the caller frees both.
int hf_config_open(JsonDoc **doc, char **path, const char *where, Err *err);
