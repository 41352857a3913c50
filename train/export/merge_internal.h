// merge_internal: shared by merge.c, merge_types.c and the two writers, merge_hf.c and merge_gguf.c.
#pragma once

#include "merge.h"
#include "weight_source.h"

typedef struct MergeTensor {
    const SourceTensor *source;
    DType dtype;          // as written; the source's unless a writer changes it
    const Module *module; // NULL: no adapter
    int64_t layer;
} MergeTensor;

typedef struct Merge {
    const Model *m;
    const Adapter *a;
    const float *params; // of the adapter, on the host
    DType dtype;         // requested; DTYPE_COUNT: none
    size_t shard_bytes;  // 0: the default
    WeightSource *files;
    MergeTensor *tensors; // in file order
    size_t n;
} Merge;

// Receives the bytes of a tensor in pieces.
typedef struct MergeSink {
    int (*write)(void *to, const void *data, size_t bytes, Err *err);
    void *to;
} MergeSink;

size_t merge_bytes(const MergeTensor *t); // that merge_write writes
int merge_write(const Merge *g, const MergeTensor *t, MergeSink sink, Err *err);

// Of a GGUF file: sets the types of the written tensors, returns the number of general.file_type (merge_types.c).
uint32_t merge_choose_types(Merge *g);

int merge_write_hf(Merge *g, const char *out, Err *err);
int merge_write_gguf(Merge *g, const char *out, Err *err);
