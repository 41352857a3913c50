// gguf_keys: typed access to the keys of an open GGUF file.
#include "gguf_internal.h"

#include <stdio.h>
#include <string.h>

const GgufKey *gguf_find_key(const Gguf *g, const char *name) { return name_index_find(&g->keys_by_name, name); }

bool gguf_has(const Gguf *g, const char *key) { return gguf_find_key(g, key) != NULL; }

bool gguf_has_array(const Gguf *g, const char *key) {
    const GgufKey *k = gguf_find_key(g, key);
    return k && k->type == GGUF_ARRAY;
}

// Sets of types: bit t is type t.
#define TYPE_SET(t) (1u << (t))
#define INTEGERS                                                                                                       \
    (TYPE_SET(GGUF_U8) | TYPE_SET(GGUF_I8) | TYPE_SET(GGUF_U16) | TYPE_SET(GGUF_I16) | TYPE_SET(GGUF_U32) |            \
     TYPE_SET(GGUF_I32) | TYPE_SET(GGUF_U64) | TYPE_SET(GGUF_I64))

typedef struct Wanted {
    bool array;           // of one of `types`, else a value
    unsigned types;       // a set
    const char *expected; // for messages
} Wanted;

// 0: found with a type that is wanted; 1: absent and not required; -1: an error.
static int find(const Gguf *g, const char *name, bool required, Wanted wanted, const GgufKey **out, Err *err) {
    const GgufKey *key = *out = gguf_find_key(g, name);
    if (!key) return required ? err_input(err, "%s: key \"%s\" is missing", gguf_path(g), name) : 1;
    bool is_array = key->type == GGUF_ARRAY;
    GgufType type = is_array ? key->element : key->type;
    if (is_array == wanted.array && wanted.types & TYPE_SET(type)) return 0;
    return err_input(err, "%s: key \"%s\": found %s%s; expected %s", gguf_path(g), name, is_array ? "an array of " : "",
                     gguf_types[type].name, wanted.expected);
}

static GgufStr str_at(const uint8_t *p) {
    uint64_t len;
    memcpy(&len, p, sizeof len);
    return (GgufStr){(const char *)p + sizeof len, (size_t)len};
}

// ---- numbers ----

static bool is_signed(GgufType type) {
    return type == GGUF_I8 || type == GGUF_I16 || type == GGUF_I32 || type == GGUF_I64;
}

// Little-endian, so the low bytes come first; signed values are sign-extended to 64 bits.
static uint64_t load_integer(const uint8_t *p, GgufType type) {
    uint64_t bits = 0;
    size_t bytes = gguf_types[type].bytes;
    memcpy(&bits, p, bytes);
    if (is_signed(type) && bytes < 8 && bits >> (8 * bytes - 1)) bits |= UINT64_MAX << 8 * bytes;
    return bits;
}

int gguf_u64(const Gguf *g, const char *name, bool required, uint64_t *out, Err *err) {
    const GgufKey *key;
    int rc = find(g, name, required, (Wanted){false, INTEGERS, "an integer"}, &key, err);
    if (rc) return rc;
    uint64_t value = load_integer(key->value, key->type);
    if (is_signed(key->type) && value > INT64_MAX)
        return err_input(err, "%s: key \"%s\": found %ld; expected no negative number", gguf_path(g), name,
                         (int64_t)value);
    *out = value;
    return 0;
}

int gguf_i64(const Gguf *g, const char *name, bool required, int64_t *out, Err *err) {
    const GgufKey *key;
    int rc = find(g, name, required, (Wanted){false, INTEGERS, "an integer"}, &key, err);
    if (rc) return rc;
    uint64_t value = load_integer(key->value, key->type);
    if (!is_signed(key->type) && value > INT64_MAX)
        return err_input(err, "%s: key \"%s\": found %lu; expected at most 2^63 - 1", gguf_path(g), name, value);
    *out = (int64_t)value;
    return 0;
}

int gguf_f32(const Gguf *g, const char *name, bool required, float *out, Err *err) {
    const GgufKey *key;
    int rc = find(g, name, required, (Wanted){false, TYPE_SET(GGUF_F32), "f32"}, &key, err);
    if (!rc) memcpy(out, key->value, sizeof *out);
    return rc;
}

int gguf_bool(const Gguf *g, const char *name, bool required, bool *out, Err *err) {
    const GgufKey *key;
    int rc = find(g, name, required, (Wanted){false, TYPE_SET(GGUF_BOOL), "bool"}, &key, err);
    if (!rc) *out = *key->value != 0;
    return rc;
}

int gguf_string(const Gguf *g, const char *name, bool required, GgufStr *out, Err *err) {
    const GgufKey *key;
    int rc = find(g, name, required, (Wanted){false, TYPE_SET(GGUF_STRING), "string"}, &key, err);
    if (!rc) *out = str_at(key->value);
    return rc;
}

// ---- arrays ----

int gguf_string_array(const Gguf *g, const char *name, bool required, GgufStr **out, size_t *count, Err *err) {
    const GgufKey *key;
    int rc = find(g, name, required, (Wanted){true, TYPE_SET(GGUF_STRING), "an array of string"}, &key, err);
    if (rc) return rc;
    GgufStr *table = *out = mem_alloc(key->count, sizeof *table);
    const uint8_t *p = key->value;
    for (size_t i = 0; i < key->count; i++) {
        table[i] = str_at(p);
        p = (const uint8_t *)table[i].data + table[i].len;
    }
    *count = key->count;
    return 0;
}

// A copy of elements of 4 bytes.
static void *copy_words(const GgufKey *key, size_t *count) {
    void *values = mem_alloc(key->count, 4);
    if (key->count) memcpy(values, key->value, key->count * 4);
    *count = key->count;
    return values;
}

int gguf_i32_array(const Gguf *g, const char *name, bool required, int32_t **out, size_t *count, Err *err) {
    const GgufKey *key;
    const Wanted wanted = {true, TYPE_SET(GGUF_I32) | TYPE_SET(GGUF_U32), "an array of i32 or u32"};
    int rc = find(g, name, required, wanted, &key, err);
    for (size_t i = 0; !rc && key->element == GGUF_U32 && i < key->count; i++)
        if (load_integer(key->value + 4 * i, GGUF_U32) > INT32_MAX)
            rc = err_input(err, "%s: key \"%s\": element %zu is above 2^31 - 1", gguf_path(g), name, i);
    if (!rc) *out = copy_words(key, count);
    return rc;
}

int gguf_u64_array(const Gguf *g, const char *name, bool required, uint64_t **out, size_t *count, Err *err) {
    const GgufKey *key;
    int rc = find(g, name, required, (Wanted){true, INTEGERS, "an array of integers"}, &key, err);
    if (rc) return rc;
    uint64_t *values = mem_alloc(key->count, sizeof *values);
    for (size_t i = 0; i < key->count; i++) {
        values[i] = load_integer(key->value + i * gguf_types[key->element].bytes, key->element);
        if (!is_signed(key->element) || values[i] <= INT64_MAX) continue;
        mem_free(values);
        return err_input(err, "%s: key \"%s\": element %zu is negative", gguf_path(g), name, i);
    }
    *out = values;
    *count = key->count;
    return 0;
}

int gguf_f32_array(const Gguf *g, const char *name, bool required, float **out, size_t *count, Err *err) {
    const GgufKey *key;
    int rc = find(g, name, required, (Wanted){true, TYPE_SET(GGUF_F32), "an array of f32"}, &key, err);
    if (!rc) *out = copy_words(key, count);
    return rc;
}

int gguf_bool_array(const Gguf *g, const char *name, bool required, uint8_t **out, size_t *count, Err *err) {
    const GgufKey *key;
    int rc = find(g, name, required, (Wanted){true, TYPE_SET(GGUF_BOOL), "an array of bool"}, &key, err);
    if (rc) return rc;
    *out = mem_alloc(key->count, 1);
    *count = key->count;
    for (size_t i = 0; i < key->count; i++) (*out)[i] = key->value[i] != 0;
    return 0;
}

// ---- listing ----

size_t gguf_key_count(const Gguf *g) { return g->n_keys; }

static void print_string(char *buf, size_t size, GgufStr s) {
    int n = s.len < size ? (int)s.len : (int)size;
    snprintf(buf, size, "string %.*s", n, s.data);
    for (; *buf; buf++)
        if ((unsigned char)*buf < 32 || *buf == 127) *buf = ' ';
}

static void print_float(char *buf, size_t size, const GgufKey *key) {
    float f;
    double d;
    if (key->type == GGUF_F64) {
        memcpy(&d, key->value, sizeof d);
    } else {
        memcpy(&f, key->value, sizeof f);
        d = (double)f;
    }
    snprintf(buf, size, "%s %.9g", gguf_types[key->type].name, d);
}

GgufStr gguf_key_at(const Gguf *g, size_t i, char *buf, size_t buf_size) {
    CHECK(i < g->n_keys && buf_size > 0);
    const GgufKey *key = &g->keys[i];
    const char *type = gguf_types[key->type].name;
    if (key->type == GGUF_ARRAY)
        snprintf(buf, buf_size, "%s[%zu]", gguf_types[key->element].name, key->count);
    else if (key->type == GGUF_STRING)
        print_string(buf, buf_size, str_at(key->value));
    else if (key->type == GGUF_BOOL)
        snprintf(buf, buf_size, "bool %s", *key->value ? "true" : "false");
    else if (key->type == GGUF_F32 || key->type == GGUF_F64)
        print_float(buf, buf_size, key);
    else if (is_signed(key->type))
        snprintf(buf, buf_size, "%s %ld", type, (int64_t)load_integer(key->value, key->type));
    else
        snprintf(buf, buf_size, "%s %lu", type, load_integer(key->value, key->type));
    return key->name;
}

GgufStr gguf_key_raw(const Gguf *g, size_t i) {
    CHECK(i < g->n_keys);
    const GgufKey *key = &g->keys[i];
    const char *begin = key->name.data - sizeof(uint64_t);
    const uint8_t *end = key->value;
    bool array = key->type == GGUF_ARRAY;
    GgufType type = array ? key->element : key->type;
    size_t count = array ? key->count : 1;
    if (type != GGUF_STRING) end += count * gguf_types[type].bytes;
    for (size_t n = 0; type == GGUF_STRING && n < count; n++) {
        GgufStr s = str_at(end);
        end = (const uint8_t *)s.data + s.len;
    }
    return (GgufStr){begin, (size_t)((const char *)end - begin)};
}
