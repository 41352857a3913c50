// merge_internal: shared by merge.c, merge_types.c, merge_convert.c and the two writers, merge_hf.c and merge_gguf.c.
#pragma once

#include "merge.h"
#include "weight_source.h"

// As written: the source's name, shape and type, unless a writer changes them.
typedef struct MergeTensor {
    const SourceTensor *source;
    const char *name;
    DType dtype; // DTYPE_COUNT: bytes that cannot be read
    int n_dims;
    int64_t shape[SOURCE_MAX_DIMS]; // slowest first
    const Module *module;           // NULL: no adapter
    int64_t layer;
    uint32_t expert_parts; // of routed experts: whose rows the tensor has, for each expert; 0: it has none of theirs
    int64_t expert;        // of one; -1: of all, one after the other
    // A tensor of a GGUF file that is no copy of one in a Hugging Face folder (merge_convert.c); else all 0:
    bool converted;
    bool transposed;              // the source is stored [in, out]
    int64_t permuted;             // size of heads whose rows become llama.cpp's interleaved pairs
    bool plus_one;                // 1 is added
    const SourceTensor **experts; // one tensor for each
    int64_t rows, stride, first; // of each expert: rows; those of the source from one to the next, and before the first
    const float *values;         // there is no source
} MergeTensor;

typedef struct Merge {
    const Model *m;
    const Adapter *a;    // NULL: none
    const float *params; // of the adapter, on the host
    const float *norms;  // the same; NULL: no DoRA
    bool to_gguf;
    bool is_quantized;  // the base is a quantised checkpoint; its matrices are written expanded
    bool is_packed;     // it has experts of numbers and scales (MXFP4), which are written as they are
    DType dtype;        // requested; DTYPE_COUNT: none
    size_t shard_bytes; // 0: the default
    WeightSource *files;
    MergeTensor *tensors; // in file order
    size_t n, capacity;
    void **owned; // of merge_convert.c
    size_t n_owned, owned_capacity;
} Merge;

// The tensor has rows of routed experts (MergeTensor).
void merge_mark_experts(const Merge *g, MergeTensor *t, int64_t layer, uint32_t parts, int64_t expert);
bool merge_has_adapter(const Merge *g, int64_t layer, const Module *module);

// Receives the bytes of a tensor in pieces.
typedef struct MergeSink {
    int (*write)(void *to, const void *data, size_t bytes, Err *err);
    void *to;
} MergeSink;

size_t merge_bytes(const MergeTensor *t); // that merge_write writes
int merge_write(const Merge *g, const MergeTensor *t, MergeSink sink, Err *err);

// Of a GGUF file: sets the types of the written tensors, returns the number of general.file_type (merge_types.c).
uint32_t merge_choose_types(Merge *g);

// Lists the tensors of a GGUF file with the weights of a Hugging Face folder (merge_convert.c).
int merge_list_converted(Merge *g, Err *err);

int merge_write_hf(Merge *g, const char *out, Err *err);
int merge_write_gguf(Merge *g, const char *out, Err *err);
