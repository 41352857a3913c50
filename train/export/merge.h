// merge: a base model with an adapter folded into its weights, written as a model of its own kind: a Hugging Face
// folder from a folder, a .gguf file from GGUF.
#pragma once

#include "adapter.h"

typedef struct MergeOptions {
    DType dtype;        // F32, F16, BF16, for GGUF also Q8_0; DTYPE_COUNT: every tensor keeps the type it has, and the
                        // matrices of a quantised base become F16
    size_t shard_bytes; // of a folder's files at most, if tensors are not larger; 0: 5 GB, as transformers has it
} MergeOptions;

// W + scale * B A in float32, rounded once. Everything else of the base is kept: metadata, tokenizer, template; tensors
// without an adapter that have the type already are copied byte for byte. Vectors of a GGUF file stay as they are, as
// llama.cpp's converter has them. Nothing may be at `out` yet; it appears whole or not at all. Memory beyond the maps:
// a few blocks of rows.
int model_merge(const Model *m, const Adapter *a, const char *out, const MergeOptions *o, Err *err);
// What model_merge would refuse about out and options, before anything is computed.
int model_merge_check(const Model *m, const char *out, const MergeOptions *o, Err *err);
