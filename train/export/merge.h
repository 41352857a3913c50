// merge: writes a base model with an adapter merged into its weights: a Hugging Face folder as a folder or as a GGUF
// file, a GGUF file as a GGUF file.
#pragma once

#include "adapter.h"

typedef struct MergeOptions {
    DType dtype;        // F32, F16, BF16; for GGUF also Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q6_K, and Q4_K, Q5_K for the
                        // mixtures Q4_K_M, Q5_K_M; DTYPE_COUNT: every tensor keeps its type, and the matrices of a
                        // quantised base become F16
    size_t shard_bytes; // most of a file in a folder, if no tensor is larger; 0: 5 GB, as in transformers
} MergeOptions;

// W + scale * B A in float32, rounded once; a NULL: the base alone, in another type or form. All other content of the
// base is copied: metadata, tokenizer, template. A GGUF file of a folder has the tensors and keys that llama.cpp's
// converter gives it (merge_convert.c, model_config_gguf_write.c, tokenizer_gguf_write.c); its name ends in .gguf.
// Tensors without an adapter and of the right type are copied byte for byte. Vectors of a GGUF file keep their type;
// which matrices of a quantised file have a larger type is in merge_types.c. `out` must not exist; it appears whole or
// not at all. Memory besides the maps: a few blocks of rows.
int model_merge(const Model *m, const Adapter *a, const char *out, const MergeOptions *o, Err *err);
// Refuses what model_merge would refuse about out and options, without computing anything.
int model_merge_check(const Model *m, const char *out, const MergeOptions *o, Err *err);
