// merge_internal: what merge.c gives the two writers, merge_hf.c and merge_gguf.c. Private to them.
#pragma once

#include "merge.h"
#include "weight_source.h"

typedef struct MergeTensor {
    const SourceTensor *source;
    DType dtype;          // of what is written; the source's own unless a writer changes it
    const Module *module; // NULL: carries no adapter
    int64_t layer;
} MergeTensor;

typedef struct Merge {
    const Model *m;
    const Adapter *a;
    const float *params; // of the adapter, on the host
    DType dtype;         // asked for; DTYPE_COUNT: none
    size_t shard_bytes;  // 0: the usual
    WeightSource *files;
    MergeTensor *tensors; // in file order
    size_t n;
} Merge;

// Takes the bytes of a tensor, piece by piece.
typedef struct MergeSink {
    int (*write)(void *to, const void *data, size_t bytes, Err *err);
    void *to;
} MergeSink;

size_t merge_bytes(const MergeTensor *t); // that merge_write gives
int merge_write(const Merge *g, const MergeTensor *t, MergeSink sink, Err *err);

int merge_write_hf(Merge *g, const char *out, Err *err);
int merge_write_gguf(Merge *g, const char *out, Err *err);
