// gguf_builder: GGUF files assembled byte by byte, valid or not, for tests of the reader.
#pragma once

#include "gguf.h"
#include "scratch.h"

enum { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 };

typedef struct Builder {
    StrBuf bytes;
} Builder;

static inline void add(Builder *b, const void *data, size_t n) { str_add(&b->bytes, data, n); }

static inline void add_u32(Builder *b, uint32_t v) { add(b, &v, sizeof v); }

static inline void add_u64(Builder *b, uint64_t v) { add(b, &v, sizeof v); }

static inline void add_strn(Builder *b, const char *s, size_t n) {
    add_u64(b, n);
    add(b, s, n);
}

static inline void add_str(Builder *b, const char *s) { add_strn(b, s, strlen(s)); }

static inline Builder begin(uint64_t n_tensors, uint64_t n_keys) {
    Builder b = {{0}};
    add(&b, "GGUF", 4);
    add_u32(&b, 3);
    add_u64(&b, n_tensors);
    add_u64(&b, n_keys);
    return b;
}

static inline void add_key(Builder *b, const char *name, uint32_t type) {
    add_str(b, name);
    add_u32(b, type);
}

static inline void add_key_u32(Builder *b, const char *name, uint32_t value) {
    add_key(b, name, U32);
    add_u32(b, value);
}

static inline void add_key_array(Builder *b, const char *name, uint32_t element, uint64_t count) {
    add_key(b, name, ARRAY);
    add_u32(b, element);
    add_u64(b, count);
}

static inline void add_tensor(Builder *b, const char *name, int n_dims, const int64_t *shape, uint32_t type,
                              uint64_t offset) {
    add_str(b, name);
    add_u32(b, (uint32_t)n_dims);
    add(b, shape, (size_t)n_dims * sizeof *shape);
    add_u32(b, type);
    add_u64(b, offset);
}

static inline void add_padding(Builder *b, size_t alignment) {
    while (b->bytes.len % alignment) add(b, "", 1);
}

static inline void add_data(Builder *b, size_t n) {
    for (size_t i = 0; i < n; i++) add(b, &(uint8_t){(uint8_t)i}, 1);
}

// ---- opening what was built ----

static inline int open_bytes(Gguf **g, const void *data, size_t n, Err *err) {
    scratch_put("f.gguf", data, n);
    return gguf_open(g, "f.gguf", err);
}

// Opens and frees the built file.
static inline int open_built(Gguf **g, Builder *b, Err *err) {
    int rc = open_bytes(g, b->bytes.data, b->bytes.len, err);
    str_clear(&b->bytes);
    return rc;
}

// A file with every type of key and three tensors; 4096 bytes, so that a read past its end faults.
static inline Builder build_good(void) {
    static const char *const words[] = {"a", "", "b\0c"};
    Builder b = begin(3, 19);
    add_key(&b, "u8", U8), add_data(&b, 1);
    add_key(&b, "i8", I8), add(&b, &(int8_t){-1}, 1);
    add_key(&b, "u16", U16), add(&b, &(uint16_t){65535}, 2);
    add_key(&b, "i16", I16), add(&b, &(int16_t){-2}, 2);
    add_key_u32(&b, "u32", UINT32_MAX);
    add_key(&b, "i32", I32), add(&b, &(int32_t){7}, 4);
    add_key(&b, "f32", F32), add(&b, &(float){0.5f}, 4);
    add_key(&b, "yes", BOOL), add(&b, "\1", 1);
    add_key(&b, "no", BOOL), add(&b, "\0", 1);
    add_key(&b, "string", STRING), add_str(&b, "text\n");
    add_key(&b, "u64", U64), add_u64(&b, UINT64_MAX);
    add_key(&b, "i64", I64), add(&b, &(int64_t){INT64_MIN}, 8);
    add_key(&b, "f64", F64), add(&b, &(double){0.25}, 8);
    add_key_array(&b, "strings", STRING, 3);
    add_str(&b, words[0]), add_str(&b, words[1]), add_strn(&b, words[2], 3);
    add_key_array(&b, "i32s", I32, 2), add(&b, (int32_t[]){-1, 2}, 8);
    add_key_array(&b, "u32s", U32, 2), add(&b, (uint32_t[]){1, INT32_MAX}, 8);
    add_key_array(&b, "f32s", F32, 2), add(&b, (float[]){-1.5f, 2}, 8);
    add_key_array(&b, "i8s", I8, 2), add_data(&b, 2);
    add_key_array(&b, "none", F32, 0);
    add_tensor(&b, "blk.0.w", 2, (int64_t[]){32, 3}, 3, 0); // Q4_1: 60 bytes
    add_tensor(&b, "empty", 1, (int64_t[]){0}, 0, 64);
    add_tensor(&b, "scalar", 4, (int64_t[]){2, 1, 5, 1}, 0, 64);
    add_padding(&b, 32);
    add_data(&b, 64 + 40);
    add_padding(&b, 4096);
    return b;
}
