// gguf_write: writes GGUF files. Header fields are collected as bytes; tensor data is borrowed, or comes in a stream.
#include "gguf_internal.h"

#include <string.h>

enum { VERSION = 3, ALIGNMENT = 32 };

typedef struct PendingTensor {
    const void *data; // NULL: given to gguf_writer_append
    size_t bytes;
} PendingTensor;

struct GgufWriter {
    StrBuf keys, infos; // as in the file
    uint64_t n_keys;
    PendingTensor *tensors;
    size_t n_tensors, capacity;
    uint64_t offset;         // where the next tensor goes, relative to the data
    FileWriter *file;        // between begin and end
    size_t current, written; // the tensor that is being written, and its bytes so far
};

GgufWriter *gguf_writer_new(void) { return mem_calloc(1, sizeof(GgufWriter)); }

static void add_u32(StrBuf *out, uint32_t v) { str_add(out, (const char *)&v, sizeof v); }

static void add_u64(StrBuf *out, uint64_t v) { str_add(out, (const char *)&v, sizeof v); }

static void add_str(StrBuf *out, const char *s) {
    add_u64(out, strlen(s));
    str_puts(out, s);
}

static void begin_key(GgufWriter *w, const char *key, GgufType type) {
    add_str(&w->keys, key);
    add_u32(&w->keys, type);
    w->n_keys++;
}

void gguf_writer_string(GgufWriter *w, const char *key, const char *value) {
    begin_key(w, key, GGUF_STRING);
    add_str(&w->keys, value);
}

void gguf_writer_u32(GgufWriter *w, const char *key, uint32_t value) {
    begin_key(w, key, GGUF_U32);
    add_u32(&w->keys, value);
}

void gguf_writer_i32(GgufWriter *w, const char *key, int32_t value) {
    begin_key(w, key, GGUF_I32);
    add_u32(&w->keys, (uint32_t)value);
}

void gguf_writer_f32(GgufWriter *w, const char *key, float value) {
    begin_key(w, key, GGUF_F32);
    str_add(&w->keys, (const char *)&value, sizeof value);
}

void gguf_writer_bool(GgufWriter *w, const char *key, bool value) {
    begin_key(w, key, GGUF_BOOL);
    str_add(&w->keys, value ? "\1" : "\0", 1);
}

static void begin_array(GgufWriter *w, const char *key, GgufType element, size_t count) {
    begin_key(w, key, GGUF_ARRAY);
    add_u32(&w->keys, element);
    add_u64(&w->keys, count);
}

void gguf_writer_strings(GgufWriter *w, const char *key, const GgufStr *values, size_t count) {
    begin_array(w, key, GGUF_STRING, count);
    for (size_t i = 0; i < count; i++) {
        add_u64(&w->keys, values[i].len);
        str_add(&w->keys, values[i].data, values[i].len);
    }
}

void gguf_writer_i32s(GgufWriter *w, const char *key, const int32_t *values, size_t count) {
    begin_array(w, key, GGUF_I32, count);
    str_add(&w->keys, (const char *)values, count * sizeof *values);
}

void gguf_writer_f32s(GgufWriter *w, const char *key, const float *values, size_t count) {
    begin_array(w, key, GGUF_F32, count);
    str_add(&w->keys, (const char *)values, count * sizeof *values);
}

void gguf_writer_bools(GgufWriter *w, const char *key, const uint8_t *values, size_t count) {
    begin_array(w, key, GGUF_BOOL, count);
    str_add(&w->keys, (const char *)values, count);
}

void gguf_writer_key(GgufWriter *w, GgufStr raw) {
    str_add(&w->keys, raw.data, raw.len);
    w->n_keys++;
}

static size_t padding(uint64_t offset) { return (size_t)(-offset & (ALIGNMENT - 1)); }

void gguf_writer_tensor(GgufWriter *w, const char *name, DType dtype, int n_dims, const int64_t *shape,
                        const void *data) {
    size_t count = 1, bytes;
    int type = dtype_info(dtype)->gguf_type;
    CHECK(strlen(name) < sizeof((GgufTensor *)0)->name && n_dims >= 1 && n_dims <= 4 && type >= 0, "%s", name);
    add_str(&w->infos, name);
    add_u32(&w->infos, (uint32_t)n_dims);
    for (int d = 0; d < n_dims; d++) {
        CHECK(shape[d] >= 0 && size_mul(count, (size_t)shape[d], &count), "%s", name);
        add_u64(&w->infos, (uint64_t)shape[d]);
    }
    add_u32(&w->infos, (uint32_t)type);
    add_u64(&w->infos, w->offset);
    CHECK(shape[0] % dtype_info(dtype)->block == 0 && dtype_bytes(dtype, count, &bytes), "%s", name);
    MEM_GROW(w->tensors, w->capacity, w->n_tensors + 1);
    w->tensors[w->n_tensors++] = (PendingTensor){data, bytes};
    w->offset += bytes + padding(bytes);
}

static int write_header(GgufWriter *w, FileWriter *file, Err *err) {
    static const char zeros[ALIGNMENT];
    AUTO_STR StrBuf head = {0};
    str_puts(&head, "GGUF");
    add_u32(&head, VERSION);
    add_u64(&head, w->n_tensors);
    add_u64(&head, w->n_keys);
    str_add(&head, w->keys.data, w->keys.len);
    str_add(&head, w->infos.data, w->infos.len);
    str_add(&head, zeros, padding(head.len));
    return file_write(file, head.data, head.len, err);
}

int gguf_writer_begin(GgufWriter *w, const char *path, OwnCheck *own, Err *err) {
    w->current = w->written = 0;
    if (file_create(&w->file, path, own, err)) return -1;
    return write_header(w, w->file, err);
}

int gguf_writer_append(GgufWriter *w, const void *data, size_t bytes, Err *err) {
    static const char zeros[ALIGNMENT];
    CHECK(w->current < w->n_tensors && bytes <= w->tensors[w->current].bytes - w->written,
          "too many bytes of a tensor");
    if (file_write(w->file, data, bytes, err)) return -1;
    w->written += bytes;
    if (w->written < w->tensors[w->current].bytes) return 0;
    w->written = 0;
    return file_write(w->file, zeros, padding(w->tensors[w->current++].bytes), err);
}

int gguf_writer_end(GgufWriter *w, Err *err) {
    CHECK(w->current == w->n_tensors, "%zu of %zu tensors written", w->current, w->n_tensors);
    FileWriter *file = w->file;
    w->file = NULL;
    return file_commit(file, err);
}

int gguf_writer_save(GgufWriter *w, const char *path, OwnCheck *own, Err *err) {
    if (gguf_writer_begin(w, path, own, err)) return -1;
    while (w->current < w->n_tensors)
        if (gguf_writer_append(w, w->tensors[w->current].data, w->tensors[w->current].bytes, err)) return -1;
    return gguf_writer_end(w, err);
}

void gguf_writer_free(GgufWriter *w) {
    if (!w) return;
    file_abandon(w->file);
    str_clear(&w->keys);
    str_clear(&w->infos);
    mem_free(w->tensors);
    mem_free(w);
}
