// safetensors: opening a file. The header is parsed as JSON, each tensor checked by itself, then all of them together.
#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "fileio.h"
#include "name_index.h"

enum { LENGTH_BYTES = 8, MAX_HEADER = 100000000 };

typedef struct StDtype {
    const char *name;
    int bits;
    DType dtype; // DTYPE_COUNT: known to the format only
} StDtype;

static const StDtype dtypes[] = {
    {"F32", 32, DTYPE_F32},          {"F16", 16, DTYPE_F16},      {"BF16", 16, DTYPE_BF16},
    {"I64", 64, DTYPE_I64},          {"I32", 32, DTYPE_I32},      {"U8", 8, DTYPE_U8},
    {"BOOL", 8, DTYPE_COUNT},        {"I8", 8, DTYPE_COUNT},      {"I16", 16, DTYPE_COUNT},
    {"U16", 16, DTYPE_COUNT},        {"U32", 32, DTYPE_COUNT},    {"F64", 64, DTYPE_COUNT},
    {"U64", 64, DTYPE_COUNT},        {"C64", 64, DTYPE_COUNT},    {"F8_E4M3", 8, DTYPE_COUNT},
    {"F8_E5M2", 8, DTYPE_COUNT},     {"F8_E8M0", 8, DTYPE_COUNT}, {"F8_E4M3FNUZ", 8, DTYPE_COUNT},
    {"F8_E5M2FNUZ", 8, DTYPE_COUNT}, {"F6_E2M3", 6, DTYPE_COUNT}, {"F6_E3M2", 6, DTYPE_COUNT},
    {"F4", 4, DTYPE_COUNT},
};

struct Safetensors {
    FileMap map;
    JsonDoc *header; // owns all names
    const Json *metadata;
    SafetensorsTensor *tensors; // in file order
    size_t count;
    NameIndex by_name;
};

static bool has_nul(const JsonStr *s) { return memchr(s->data, 0, s->len) != NULL; }

// ---- one tensor ----

static int read_dtype(SafetensorsTensor *t, int *bits, const Json *v, Err *err) {
    if (!v || v->type != JSON_STRING) return err_input(err, "dtype is %s; expected a string", json_type_name(v));
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (!json_is_string(v, dtypes[i].name)) continue;
        t->dtype = dtypes[i].dtype;
        t->dtype_name = dtypes[i].name;
        *bits = dtypes[i].bits;
        return 0;
    }
    return err_input(err, "dtype \"%.32s\" is unknown", v->str.data);
}

static int read_index(const Json *v, int64_t *out, const char *what, Err *err) {
    *out = 0;
    if (v->type != JSON_INT || v->integer < 0)
        return err_input(err, "%s is %s; expected an integer from 0 to 2^63 - 1", what,
                         v->str.data ? v->str.data : json_type_name(v));
    *out = v->integer;
    return 0;
}

// Bits of all elements. The product of the nonzero dimensions must fit even if another one is zero, so that strides
// cannot overflow.
static int read_shape(SafetensorsTensor *t, size_t *bits, const Json *v, Err *err) {
    if (!v || v->type != JSON_ARRAY) return err_input(err, "shape is %s; expected an array", json_type_name(v));
    if (v->count > SAFETENSORS_MAX_DIMS)
        return err_input(err, "shape has %zu dimension%s; expected at most %d", v->count, plural(v->count),
                         SAFETENSORS_MAX_DIMS);
    bool empty = false;
    t->n_dims = (int)v->count;
    for (size_t d = 0; d < v->count; d++) {
        if (read_index(&v->items[d], &t->shape[d], "a dimension", err)) return -1;
        if (t->shape[d] == 0)
            empty = true;
        else if (!size_mul(*bits, (size_t)t->shape[d], bits))
            return err_input(err, "its size in bits exceeds 64 bits");
    }
    if (empty) *bits = 0;
    return 0;
}

static int read_offsets(SafetensorsTensor *t, const uint8_t *buffer, size_t buffer_size, const Json *v, Err *err) {
    int64_t begin, end;
    if (!v || v->type != JSON_ARRAY || v->count != 2)
        return err_input(err, "data_offsets is %s; expected an array of two integers", json_type_name(v));
    if (read_index(&v->items[0], &begin, "a data offset", err) || read_index(&v->items[1], &end, "a data offset", err))
        return -1;
    if (begin > end || (uint64_t)end > buffer_size)
        return err_input(err, "data_offsets are %ld to %ld; the file has %zu byte%s of data", begin, end, buffer_size,
                         plural(buffer_size));
    t->data = buffer + begin;
    t->bytes = (size_t)(end - begin);
    return 0;
}

static int read_tensor(SafetensorsTensor *t, const uint8_t *buffer, size_t buffer_size, const Json *v, Err *err) {
    int element_bits = 0;
    if (v->type != JSON_OBJECT) return err_input(err, "found %s; expected an object", json_type_name(v));
    if (read_dtype(t, &element_bits, json_get(v, "dtype"), err)) return -1;
    size_t bits = (size_t)element_bits;
    if (read_shape(t, &bits, json_get(v, "shape"), err)) return -1;
    if (read_offsets(t, buffer, buffer_size, json_get(v, "data_offsets"), err)) return -1;
    if (bits % 8 || t->bytes != bits / 8)
        return err_input(err, "found %zu byte%s of data; %s of its shape needs %zu bits", t->bytes, plural(t->bytes),
                         t->dtype_name, bits);
    return 0;
}

// ---- all tensors ----

static int read_metadata(Safetensors *s, const Json *v, Err *err) {
    if (v->type != JSON_OBJECT) return err_input(err, "__metadata__ is %s; expected an object", json_type_name(v));
    for (size_t i = 0; i < v->count; i++)
        if (v->items[i].type != JSON_STRING)
            return err_input(err, "__metadata__: \"%.80s\" is %s; expected a string", v->keys[i].data,
                             json_type_name(&v->items[i]));
    s->metadata = v;
    return 0;
}

static int read_entries(Safetensors *s, const uint8_t *buffer, size_t buffer_size, Err *err) {
    const Json *root = json_root(s->header);
    s->tensors = mem_calloc(root->count, sizeof *s->tensors);
    for (size_t i = 0; i < root->count; i++) {
        const JsonStr *name = &root->keys[i];
        if (has_nul(name)) return err_input(err, "the name \"%.80s\" holds a NUL character", name->data);
        if (strcmp(name->data, "__metadata__") == 0) {
            if (read_metadata(s, &root->items[i], err)) return -1;
            continue;
        }
        SafetensorsTensor *t = &s->tensors[s->count++];
        t->name = name->data;
        if (read_tensor(t, buffer, buffer_size, &root->items[i], err))
            return err_context(err, "tensor \"%.200s\"", t->name);
    }
    return 0;
}

static int compare_places(const void *pa, const void *pb) {
    const SafetensorsTensor *a = pa, *b = pb;
    if (a->data != b->data) return (const uint8_t *)a->data < (const uint8_t *)b->data ? -1 : 1;
    return (a->bytes > b->bytes) - (a->bytes < b->bytes); // empty ones first: they begin where another one does
}

// Sorted, the tensors must tile the buffer: no hole can hide data, no overlap can expand a small file.
static int check_tiling(Safetensors *s, const uint8_t *buffer, size_t buffer_size, Err *err) {
    qsort(s->tensors, s->count, sizeof *s->tensors, compare_places);
    size_t end = 0;
    for (size_t i = 0; i < s->count; i++) {
        const SafetensorsTensor *t = &s->tensors[i];
        size_t begin = (size_t)((const uint8_t *)t->data - buffer);
        if (begin != end)
            return err_input(err, "tensor \"%.200s\" begins at byte %zu of the data; expected %zu, where %s", t->name,
                             begin, end, i ? "the one before ends" : "the data begins");
        end += t->bytes;
    }
    if (end != buffer_size)
        return err_input(err, "found %zu byte%s of data; the tensors have %zu", buffer_size, plural(buffer_size), end);
    return 0;
}

// ---- the file ----

static int read_header(Safetensors *s, size_t *header_size, Err *err) {
    uint64_t n = 0;
    *header_size = 0;
    if (s->map.size < LENGTH_BYTES)
        return err_input(err, "the file is %zu byte%s long; expected a safetensors file of at least 10", s->map.size,
                         plural(s->map.size));
    for (int i = 0; i < LENGTH_BYTES; i++) n |= (uint64_t)s->map.data[i] << 8 * i;
    if (n > MAX_HEADER) return err_input(err, "a header of %lu byte%s; expected at most %d", n, plural(n), MAX_HEADER);
    if (n > s->map.size - LENGTH_BYTES)
        return err_input(err, "a header of %lu byte%s; the file has %zu after the length", n, plural(n),
                         s->map.size - LENGTH_BYTES);
    const char *text = (const char *)s->map.data + LENGTH_BYTES;
    if (n == 0 || *text != '{') return err_input(err, "the header does not begin with '{'");
    *header_size = (size_t)n;
    return json_parse(&s->header, text, (size_t)n, "header", 0, err);
}

static int read_file(Safetensors *s, Err *err) {
    size_t header_size;
    if (read_header(s, &header_size, err)) return -1;
    const uint8_t *buffer = s->map.data + LENGTH_BYTES + header_size;
    size_t buffer_size = s->map.size - LENGTH_BYTES - header_size;
    if (read_entries(s, buffer, buffer_size, err) || check_tiling(s, buffer, buffer_size, err)) return -1;
    for (size_t i = 0; i < s->count; i++)
        name_index_add(&s->by_name, s->tensors[i].name, strlen(s->tensors[i].name), &s->tensors[i]);
    name_index_sort(&s->by_name); // the JSON reader has refused duplicates
    return 0;
}

int safetensors_open(Safetensors **out, const char *path, Err *err) {
    AUTO_SAFETENSORS Safetensors *s = mem_calloc(1, sizeof *s);
    *out = NULL;
    if (file_map(&s->map, path, err)) return -1;
    if (read_file(s, err)) return err_context(err, "%s", path);
    *out = mem_take(&s);
    return 0;
}

void safetensors_close(Safetensors *s) {
    if (!s) return;
    mem_free(s->tensors);
    name_index_clear(&s->by_name);
    json_free(s->header);
    file_unmap(&s->map);
    mem_free(s);
}

size_t safetensors_count(const Safetensors *s) { return s->count; }

const SafetensorsTensor *safetensors_at(const Safetensors *s, size_t i) {
    CHECK(i < s->count);
    return &s->tensors[i];
}

const SafetensorsTensor *safetensors_get(const Safetensors *s, const char *name) {
    return name_index_find(&s->by_name, name);
}

const char *safetensors_metadata(const Safetensors *s, const char *key) {
    const Json *v = json_get(s->metadata, key);
    return v ? v->str.data : NULL;
}
