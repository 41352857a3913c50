// gguf_internal: what gguf.c (opening) and gguf_keys.c (reading keys) share. Not for others.
#pragma once

#include "fileio.h"
#include "gguf.h"
#include "name_index.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "GGUF values are used in place, as stored");

typedef enum { // numbers of the format
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_COUNT
} GgufType;

typedef struct GgufTypeInfo {
    const char *name;
    size_t bytes; // 0 for strings and arrays
} GgufTypeInfo;
extern const GgufTypeInfo gguf_types[GGUF_TYPE_COUNT];

typedef struct GgufKey {
    GgufStr name;
    GgufType type;
    GgufType element;     // of an array
    size_t count;         // of an array
    const uint8_t *value; // first byte: of the number, of a string's length, of an array's first element
} GgufKey;

struct Gguf {
    FileMap map;
    GgufKey *keys;
    size_t n_keys;
    NameIndex keys_by_name;
    GgufTensor *tensors;
    size_t n_tensors;
    NameIndex tensors_by_name;
    bool may_be_cut, is_cut; // the file ends before its tensors' data
};

const GgufKey *gguf_find_key(const Gguf *g, const char *name); // NULL when absent
