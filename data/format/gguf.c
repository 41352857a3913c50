// gguf: opening a file. Walks the header once with a cursor that cannot leave the file, then indexes both name spaces.
#include "gguf_internal.h"

#include <string.h>

#include <utf8proc.h>

enum { MIN_ALIGNMENT = 8, DEFAULT_ALIGNMENT = 32, MAX_ALIGNMENT = 1 << 16, MAX_KEY = 65535, MAX_DIMS = 4 };

// The shortest key (8 length, 1 name, 4 type, 1 value) and tensor (8 length, 1 name, 4 count, 4 type, 8 offset): a
// count that could not fit the file is refused before anything is allocated for it.
enum { MIN_KEY_BYTES = 14, MIN_TENSOR_BYTES = 25 };

const GgufTypeInfo gguf_types[GGUF_TYPE_COUNT] = {
    [GGUF_U8] = {"u8", 1},         [GGUF_I8] = {"i8", 1},       [GGUF_U16] = {"u16", 2}, [GGUF_I16] = {"i16", 2},
    [GGUF_U32] = {"u32", 4},       [GGUF_I32] = {"i32", 4},     [GGUF_F32] = {"f32", 4}, [GGUF_BOOL] = {"bool", 1},
    [GGUF_STRING] = {"string", 0}, [GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"u64", 8}, [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

typedef struct Cursor {
    const uint8_t *p, *end;
    Err *err;
} Cursor;

static size_t bytes_left(const Cursor *c) { return (size_t)(c->end - c->p); }

static int read_bytes(Cursor *c, void *out, size_t n, const char *what) {
    if (bytes_left(c) < n) {
        memset(out, 0, n); // never garbage, whatever the caller does
        return err_input(c->err, "the file ends inside %s", what);
    }
    memcpy(out, c->p, n);
    c->p += n;
    return 0;
}

static int read_str(Cursor *c, GgufStr *out, const char *what) {
    uint64_t len;
    if (read_bytes(c, &len, sizeof len, what)) return -1;
    if (len > bytes_left(c))
        return err_input(c->err, "%s is %lu bytes long; only %zu are left in the file", what, len, bytes_left(c));
    *out = (GgufStr){(const char *)c->p, (size_t)len};
    c->p += len;
    return 0;
}

static bool is_clean_utf8(GgufStr s) {
    for (size_t i = 0; i < s.len;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s.data + i, (utf8proc_ssize_t)(s.len - i), &c);
        if (n <= 0 || c == 0) return false;
        i += (size_t)n;
    }
    return true;
}

// Names are what messages and lookups use: not empty, not endless, UTF-8 without NUL.
static int read_name(Cursor *c, GgufStr *out, size_t max_len, const char *what) {
    if (read_str(c, out, what)) return -1;
    if (out->len < 1 || out->len > max_len)
        return err_input(c->err, "%s is %zu bytes long; expected 1 to %zu", what, out->len, max_len);
    if (!is_clean_utf8(*out)) return err_input(c->err, "%s is not valid UTF-8", what);
    return 0;
}

// ---- keys ----

static int read_type(Cursor *c, GgufType *out, const char *what) {
    uint32_t type;
    if (read_bytes(c, &type, sizeof type, what)) return -1;
    if (type >= GGUF_TYPE_COUNT)
        return err_input(c->err, "%s is %u; expected at most %d", what, type, GGUF_TYPE_COUNT - 1);
    *out = (GgufType)type;
    return 0;
}

static int skip_array(Cursor *c, GgufKey *key) {
    uint64_t count;
    size_t bytes;
    if (read_type(c, &key->element, "the array's element type")) return -1;
    if (key->element == GGUF_ARRAY) return err_input(c->err, "an array of arrays; expected numbers or strings");
    if (read_bytes(c, &count, sizeof count, "the array's length")) return -1;
    size_t least = key->element == GGUF_STRING ? 8 : gguf_types[key->element].bytes;
    if (!size_mul(count, least, &bytes) || bytes > bytes_left(c))
        return err_input(c->err, "an array of %lu %s; only %zu bytes are left in the file", count,
                         gguf_types[key->element].name, bytes_left(c));
    key->count = (size_t)count;
    key->value = c->p;
    GgufStr unused;
    if (key->element != GGUF_STRING)
        c->p += bytes;
    else
        for (size_t i = 0; i < key->count; i++)
            if (read_str(c, &unused, "a string of the array")) return -1;
    return 0;
}

static int read_value(Cursor *c, GgufKey *key) {
    GgufStr unused;
    if (read_type(c, &key->type, "the type of the value")) return -1;
    key->value = c->p;
    if (key->type == GGUF_ARRAY) return skip_array(c, key);
    if (key->type == GGUF_STRING) return read_str(c, &unused, "the string");
    if (bytes_left(c) < gguf_types[key->type].bytes) return err_input(c->err, "the file ends inside the value");
    c->p += gguf_types[key->type].bytes;
    return 0;
}

static int read_keys(Gguf *g, Cursor *c) {
    g->keys = mem_calloc(g->n_keys, sizeof *g->keys);
    for (size_t i = 0; i < g->n_keys; i++) {
        GgufKey *key = &g->keys[i];
        if (read_name(c, &key->name, MAX_KEY, "its name")) return err_context(c->err, "key %zu", i);
        if (read_value(c, key)) return err_context(c->err, "key \"%.*s\"", (int)key->name.len, key->name.data);
    }
    return 0;
}

static int index_keys(Gguf *g, Err *err) {
    for (size_t i = 0; i < g->n_keys; i++)
        name_index_add(&g->keys_by_name, g->keys[i].name.data, g->keys[i].name.len, &g->keys[i]);
    const NamedItem *twice = name_index_sort(&g->keys_by_name);
    if (!twice) return 0;
    return err_input(err, "key \"%.*s\" occurs twice; expected unique keys", (int)twice->name.len, twice->name.data);
}

static int read_alignment(const Gguf *g, size_t *alignment, Err *err) {
    const GgufKey *key = gguf_find_key(g, "general.alignment");
    uint32_t value = DEFAULT_ALIGNMENT;
    *alignment = value;
    if (key && key->type != GGUF_U32)
        return err_input(err, "key \"general.alignment\": found %s; expected u32", gguf_types[key->type].name);
    if (key) memcpy(&value, key->value, sizeof value);
    if (value < MIN_ALIGNMENT || value > MAX_ALIGNMENT || (value & (value - 1)))
        return err_input(err, "key \"general.alignment\": found %u; expected a power of two from %d to %d", value,
                         MIN_ALIGNMENT, MAX_ALIGNMENT);
    *alignment = value;
    return 0;
}

// ---- tensors ----

// Number of elements. The product of the nonzero dimensions must fit even if another one is zero, so that strides
// cannot overflow.
static int count_elements(const GgufTensor *t, size_t *count, Err *err) {
    size_t product = 1;
    bool empty = false;
    *count = 0;
    for (int d = 0; d < t->n_dims; d++) {
        if (t->shape[d] < 0) return err_input(err, "dimension %d is %ld", d, t->shape[d]);
        if (t->shape[d] == 0)
            empty = true;
        else if (!size_mul(product, (size_t)t->shape[d], &product) || product > INT64_MAX)
            return err_input(err, "the product of the dimensions exceeds 63 bits");
    }
    if (!empty) *count = product;
    return 0;
}

static int read_shape(Cursor *c, GgufTensor *t) {
    uint32_t n_dims;
    if (read_bytes(c, &n_dims, sizeof n_dims, "its number of dimensions")) return -1;
    if (n_dims > MAX_DIMS) return err_input(c->err, "found %u dimensions; expected at most %d", n_dims, MAX_DIMS);
    t->n_dims = (int)n_dims;
    for (int d = 0; d < MAX_DIMS; d++) {
        t->shape[d] = 1;
        if (d < t->n_dims && read_bytes(c, &t->shape[d], sizeof t->shape[d], "its shape")) return -1;
    }
    return 0;
}

static int read_dtype(Cursor *c, GgufTensor *t) {
    uint32_t type;
    if (read_bytes(c, &type, sizeof type, "its type")) return -1;
    t->dtype = dtype_from_gguf(type);
    if (t->dtype != DTYPE_COUNT) return 0;
    const char *name = dtype_gguf_name(type);
    if (name) return err_input(c->err, "type %s is not supported", name);
    return err_input(c->err, "found type %u, which does not exist", type);
}

// *offset is relative to the start of the tensor data, which is known only after the header.
static int read_tensor(Cursor *c, GgufTensor *t, uint64_t *offset) {
    size_t count;
    if (read_shape(c, t) || read_dtype(c, t) || count_elements(t, &count, c->err)) return -1;
    const DTypeInfo *info = dtype_info(t->dtype);
    if (t->shape[0] % info->block)
        return err_input(c->err, "rows of %ld elements; %s needs a multiple of %d", t->shape[0], info->name,
                         info->block);
    if (!dtype_bytes(t->dtype, count, &t->bytes) || t->bytes > INT64_MAX)
        return err_input(c->err, "its size in bytes exceeds 63 bits");
    return read_bytes(c, offset, sizeof *offset, "its offset");
}

// Reads all tensors; the format wants them in file order without gaps, each padded to the alignment. `end` becomes the
// end of the last one relative to the data, not padded: some writers leave the last padding out.
static int read_tensors(Gguf *g, Cursor *c, size_t alignment, uint64_t *offsets, size_t *end) {
    size_t expected = 0;
    *end = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        GgufTensor *t = &g->tensors[i];
        GgufStr name;
        if (read_name(c, &name, sizeof t->name - 1, "its name")) return err_context(c->err, "tensor %zu", i);
        memcpy(t->name, name.data, name.len);
        if (read_tensor(c, t, &offsets[i])) return err_context(c->err, "tensor \"%s\"", t->name);
        if (offsets[i] != expected)
            return err_input(c->err, "tensor \"%s\": found offset %lu; expected %zu, right after the one before",
                             t->name, offsets[i], expected);
        if (!size_add(expected, t->bytes, end) || !size_add(*end, alignment - 1, &expected))
            return err_input(c->err, "tensor \"%s\": the sizes up to it exceed 64 bits", t->name);
        expected &= ~(alignment - 1);
    }
    return 0;
}

static int index_tensors(Gguf *g, Err *err) {
    for (size_t i = 0; i < g->n_tensors; i++)
        name_index_add(&g->tensors_by_name, g->tensors[i].name, strlen(g->tensors[i].name), &g->tensors[i]);
    const NamedItem *twice = name_index_sort(&g->tensors_by_name);
    return twice ? err_input(err, "tensor \"%s\" occurs twice; expected unique names", twice->name.data) : 0;
}

static int place_tensors(Gguf *g, Cursor *c, size_t alignment) {
    size_t data_end;
    AUTO_FREE uint64_t *offsets = mem_alloc(g->n_tensors, sizeof *offsets);
    g->tensors = mem_calloc(g->n_tensors, sizeof *g->tensors);
    if (read_tensors(g, c, alignment, offsets, &data_end)) return -1;
    size_t header = (size_t)(c->p - g->map.data), start = (header + alignment - 1) & ~(alignment - 1);
    g->is_cut = g->n_tensors && (start > g->map.size || data_end > g->map.size - start);
    if (g->is_cut && !g->may_be_cut)
        return err_input(c->err, "the file is %zu bytes long; its tensors need %zu after byte %zu: it is truncated",
                         g->map.size, data_end, start);
    for (size_t i = 0; i < g->n_tensors && !g->is_cut; i++) g->tensors[i].data = g->map.data + start + offsets[i];
    return 0;
}

// ---- the file ----

static int check_version(Cursor *c) {
    char magic[4];
    uint32_t version;
    if (read_bytes(c, magic, sizeof magic, "the magic")) return -1;
    if (memcmp(magic, "GGUF", sizeof magic) != 0)
        return err_input(c->err, "found no GGUF at its beginning; expected a GGUF file");
    if (read_bytes(c, &version, sizeof version, "the version")) return -1;
    if (version && !(version & 0xFFFF))
        return err_input(c->err, "a big-endian GGUF file; expected a little-endian one");
    if (version < 2 || version > 3) return err_input(c->err, "GGUF version %u; expected 2 or 3", version);
    return 0;
}

static int read_count(Cursor *c, size_t *out, size_t min_bytes, const char *what) {
    int64_t count;
    if (read_bytes(c, &count, sizeof count, what)) return -1;
    if (count < 0 || (uint64_t)count > bytes_left(c) / min_bytes)
        return err_input(c->err, "%s is %ld; the file has room for %zu", what, count, bytes_left(c) / min_bytes);
    *out = (size_t)count;
    return 0;
}

static int read_file(Gguf *g, Err *err) {
    Cursor c = {g->map.data, g->map.data + g->map.size, err};
    size_t alignment;
    if (check_version(&c)) return -1;
    if (read_count(&c, &g->n_tensors, MIN_TENSOR_BYTES, "the number of tensors")) return -1;
    if (read_count(&c, &g->n_keys, MIN_KEY_BYTES, "the number of keys")) return -1;
    if (read_keys(g, &c) || index_keys(g, err)) return -1;
    if (read_alignment(g, &alignment, err)) return -1;
    return place_tensors(g, &c, alignment) || index_tensors(g, err) ? -1 : 0;
}

bool gguf_str_is(GgufStr s, const char *text) { return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0; }

static int open_file(Gguf **out, const char *path, bool may_be_cut, Err *err) {
    AUTO_GGUF Gguf *g = mem_calloc(1, sizeof *g);
    *out = NULL;
    g->may_be_cut = may_be_cut;
    if (file_map(&g->map, path, err)) return -1;
    if (g->map.size == 0 ? err_input(err, "an empty file; expected a GGUF file") : read_file(g, err)) {
        err_context(err, "%s", path);
        return -1;
    }
    *out = mem_take(&g);
    return 0;
}

int gguf_open(Gguf **out, const char *path, Err *err) { return open_file(out, path, false, err); }

int gguf_open_header(Gguf **out, const char *path, bool *whole, Err *err) {
    if (open_file(out, path, true, err)) return -1;
    *whole = !(*out)->is_cut;
    return 0;
}

void gguf_close(Gguf *g) {
    if (!g) return;
    mem_free(g->keys);
    name_index_clear(&g->keys_by_name);
    mem_free(g->tensors);
    name_index_clear(&g->tensors_by_name);
    file_unmap(&g->map);
    mem_free(g);
}

const char *gguf_path(const Gguf *g) { return g->map.path; }

int64_t gguf_tensor_count(const Gguf *g) { return (int64_t)g->n_tensors; }

const GgufTensor *gguf_tensor_at(const Gguf *g, int64_t i) {
    CHECK(i >= 0 && (uint64_t)i < g->n_tensors);
    return &g->tensors[i];
}

const GgufTensor *gguf_tensor(const Gguf *g, const char *name) { return name_index_find(&g->tensors_by_name, name); }
