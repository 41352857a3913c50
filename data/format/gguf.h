// gguf: reads a GGUF file (versions 2 and 3, little-endian) through a read-only map, and writes GGUF files.
//
// Every count, length, type, shape and offset is checked against the file before it is used; nothing is copied but the
// index. Tensor data stays in the map. Format: ggml/include/gguf.h of llama.cpp. A tensor type that lorac does not
// compute with is refused at open. One file at a time: the keys split.* of a sharded model are left to the caller.
#pragma once

#include "base.h"
#include "dtype.h"
#include "json.h"
#include "overwrite.h"

typedef struct Gguf Gguf;

typedef JsonStr GgufStr; // points into the map, not NUL-terminated

typedef struct GgufTensor {
    char name[64];
    DType dtype;
    int n_dims;
    int64_t shape[4]; // ne[0] first: the fastest, the input dimension of a weight; unused are 1
    const void *data; // into the map
    size_t bytes;
} GgufTensor;

bool gguf_str_is(GgufStr s, const char *text);

int gguf_open(Gguf **g, const char *path, Err *err);
// The same for a file that may end before its tensors' data: then that is NULL, and *whole is false.
int gguf_open_header(Gguf **g, const char *path, bool *whole, Err *err);
void gguf_close(Gguf *g);
DEFINE_AUTO(Gguf, gguf_close)
#define AUTO_GGUF AUTO(gguf_close)
const char *gguf_path(const Gguf *g);

int64_t gguf_tensor_count(const Gguf *g);
const GgufTensor *gguf_tensor_at(const Gguf *g, int64_t i);
const GgufTensor *gguf_tensor(const Gguf *g, const char *name); // NULL when absent

// Typed getters: 0 and *out set; absent: `required` ? error : 1 and *out untouched; wrong type: error naming the key,
// the type found and the type expected. gguf_u64 takes any unsigned or non-negative signed integer type, and
// gguf_i32_array also takes u32 below 2^31. Numbers are not converted otherwise.
int gguf_u64(const Gguf *g, const char *key, bool required, uint64_t *out, Err *err);
int gguf_i64(const Gguf *g, const char *key, bool required, int64_t *out, Err *err); // any integer type
int gguf_f32(const Gguf *g, const char *key, bool required, float *out, Err *err);
int gguf_bool(const Gguf *g, const char *key, bool required, bool *out, Err *err);
int gguf_string(const Gguf *g, const char *key, bool required, GgufStr *out, Err *err);
// Arrays. Strings: one pass builds the caller's table (mem_free). Numbers: copied to the caller (mem_free).
int gguf_string_array(const Gguf *g, const char *key, bool required, GgufStr **out, size_t *count, Err *err);
int gguf_i32_array(const Gguf *g, const char *key, bool required, int32_t **out, size_t *count, Err *err);
// Of any integer type, none of them negative.
int gguf_u64_array(const Gguf *g, const char *key, bool required, uint64_t **out, size_t *count, Err *err);
int gguf_f32_array(const Gguf *g, const char *key, bool required, float **out, size_t *count, Err *err);
int gguf_bool_array(const Gguf *g, const char *key, bool required, uint8_t **out, size_t *count, Err *err); // 0 or 1
bool gguf_has(const Gguf *g, const char *key);
bool gguf_has_array(const Gguf *g, const char *key);
// i-th key for listings: returns its name, puts "u32 576", "string llama" or "string[49152]" in buf, cut to fit.
size_t gguf_key_count(const Gguf *g);
GgufStr gguf_key_at(const Gguf *g, size_t i, char *buf, size_t buf_size);
GgufStr gguf_key_raw(const Gguf *g, size_t i); // its bytes in the file: name, type, value

// Writer: version 3, alignment 32. Collect keys and tensors (each name once), then write through fileio's temporary
// name: all at once (gguf_writer_save; tensor data is borrowed until then), or in a stream (begin, append the tensors'
// bytes in order, end; data NULL in gguf_writer_tensor). gguf_writer_free without end removes what was begun.
typedef struct GgufWriter GgufWriter;
GgufWriter *gguf_writer_new(void);
void gguf_writer_string(GgufWriter *w, const char *key, const char *value);
void gguf_writer_u32(GgufWriter *w, const char *key, uint32_t value);
void gguf_writer_i32(GgufWriter *w, const char *key, int32_t value);
void gguf_writer_f32(GgufWriter *w, const char *key, float value);
void gguf_writer_bool(GgufWriter *w, const char *key, bool value);
void gguf_writer_strings(GgufWriter *w, const char *key, const GgufStr *values, size_t count);
void gguf_writer_i32s(GgufWriter *w, const char *key, const int32_t *values, size_t count);
void gguf_writer_f32s(GgufWriter *w, const char *key, const float *values, size_t count);
void gguf_writer_bools(GgufWriter *w, const char *key, const uint8_t *values, size_t count); // 0 or 1
void gguf_writer_key(GgufWriter *w, GgufStr raw);                                            // as gguf_key_raw gives it
void gguf_writer_tensor(GgufWriter *w, const char *name, DType dtype, int n_dims, const int64_t *shape,
                        const void *data);
int gguf_writer_begin(GgufWriter *w, const char *path, OwnCheck *own, Err *err); // own: overwrite.h
int gguf_writer_append(GgufWriter *w, const void *data, size_t bytes, Err *err);
int gguf_writer_end(GgufWriter *w, Err *err); // CHECKs that all tensors were appended
int gguf_writer_save(GgufWriter *w, const char *path, OwnCheck *own, Err *err);
void gguf_writer_free(GgufWriter *w);
DEFINE_AUTO(GgufWriter, gguf_writer_free)
#define AUTO_GGUF_WRITER AUTO(gguf_writer_free)
