// safetensors: reads a .safetensors file through a read-only map and writes one.
//
// The reader enforces every rule of the format (header at most 100 MB and inside the file, unique names, offsets that
// tile the buffer exactly, sizes that equal shape x dtype, __metadata__ of strings only). More than 8 dimensions and
// NUL characters in names are refused too, though the format allows them. Tensors are listed in file order. The writer
// gives the bytes of the reference library: wider dtypes first, then by name; header padded with spaces to 8 bytes.
// Metadata is in the order given.
#pragma once

#include "base.h"
#include "dtype.h"
#include "overwrite.h"

typedef struct Safetensors Safetensors;

enum { SAFETENSORS_MAX_DIMS = 8 };
typedef struct SafetensorsTensor {
    const char *name;
    DType dtype;            // DTYPE_COUNT for a dtype of the format that lorac does not compute with
    const char *dtype_name; // as in the file
    int n_dims;
    int64_t shape[SAFETENSORS_MAX_DIMS]; // slowest first, as in PyTorch
    const void *data;                    // into the map; may be unaligned for its dtype
    size_t bytes;
} SafetensorsTensor;

int safetensors_open(Safetensors **s, const char *path, Err *err);
void safetensors_close(Safetensors *s);
DEFINE_AUTO(Safetensors, safetensors_close)
#define AUTO_SAFETENSORS AUTO(safetensors_close)
size_t safetensors_count(const Safetensors *s);
const SafetensorsTensor *safetensors_at(const Safetensors *s, size_t i);
const SafetensorsTensor *safetensors_get(const Safetensors *s, const char *name); // NULL when absent
const char *safetensors_metadata(const Safetensors *s, const char *key);          // NULL when absent

// What to write; everything is borrowed until the call returns.
typedef struct SafetensorsEntry {
    const char *name;
    DType dtype; // F32, F16, BF16, I32, I64 or U8
    int n_dims;
    int64_t shape[SAFETENSORS_MAX_DIMS];
    const void *data;
} SafetensorsEntry;
// metadata: n_metadata pairs key, value. Written under a temporary name, fsync'd, renamed. own: overwrite.h.
int safetensors_save(const char *path, const SafetensorsEntry *entries, size_t count, const char *const *metadata,
                     size_t n_metadata, OwnCheck *own, Err *err);

// The same in a stream: entries (their data is not looked at; names are borrowed until begin returns) are put into the
// file's order, the caller appends the bytes of one after the other, in that order and in pieces of any size. End or
// abandon frees in any case; end CHECKs that all bytes were appended. path must be free.
typedef struct SafetensorsWriter SafetensorsWriter;
void safetensors_order(SafetensorsEntry *entries, size_t count);
int safetensors_begin(SafetensorsWriter **w, const char *path, const SafetensorsEntry *ordered, size_t count,
                      const char *const *metadata, size_t n_metadata, Err *err);
int safetensors_append(SafetensorsWriter *w, const void *data, size_t bytes, Err *err);
int safetensors_end(SafetensorsWriter *w, Err *err);
void safetensors_abandon(SafetensorsWriter *w); // NULL is allowed
