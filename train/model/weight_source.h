// weight_source: the tensors of a base model: one view over a Hugging Face folder (one model.safetensors, or shards and
// their index), a GGUF file, or llama.cpp's split GGUF files.
//
// Opening maps the files and checks their headers: milliseconds at any size. No tensor data is read. Names are those of
// the file ("model.layers.0.self_attn.q_proj.weight", "blk.0.attn_q.weight"); each occurs once. A matrix of a quantised
// checkpoint is one tensor, NAME.weight; the others that store it are its parts.
#pragma once

#include "base.h"
#include "dtype.h"
#include "gguf.h"
#include "name_index.h"
#include "overwrite.h"

enum { SOURCE_MAX_DIMS = 8 };
typedef struct SourceTensor {
    const char *name;
    const char *file;       // path of the file that holds it
    const char *dtype_name; // for messages
    DType dtype;            // DTYPE_COUNT: a type that lorac cannot read (F8, F64, ...)
    int n_dims;
    int64_t shape[SOURCE_MAX_DIMS]; // slowest first, as in PyTorch, for GGUF files too; unused are 1
    const void *data;               // into the map, may be unaligned: weight_source_aligned
    size_t bytes;
    bool is_absent;                    // weight_source_open_outline: data is an address of its own that cannot be read
    bool is_part;                      // of a matrix that is stored in several tensors
    const struct Quantized *quantized; // how a matrix is stored in several (quantized.h); NULL: in this one
} SourceTensor;

typedef struct WeightSource {
    char *dir;             // the Hugging Face folder; NULL for GGUF
    const Gguf *gguf;      // the file with the metadata; NULL for a folder
    SourceTensor *tensors; // in the order of the files
    size_t n_tensors, tensors_capacity;
    bool lacks_weights;                // weight_source_open_outline: some tensors are absent
    struct QuantizedConfig *quantized; // of a folder whose config.json has a quantization_config; NULL: none
    // of weight_source.c:
    bool may_lack_weights;
    char *path;
    struct SourceFile *files;
    size_t n_files, files_capacity;
    struct SourceStamp *stamps; // of all files of the model, when they were opened
    size_t n_stamps, stamps_capacity;
    NameIndex by_name;
    void **copies; // weight_source_aligned
    size_t n_copies, copies_capacity;
    struct SourceRange *ranges; // addresses of absent tensors
    size_t n_ranges, ranges_capacity;
} WeightSource;

// path: a folder with config.json, or that file; a .safetensors file in one (a shard: all shards of its index); a .gguf
// file (any one of a split model's). ERR_INPUT names the file and what is wrong: missing or cut shard, an index that
// names files outside the folder, a tensor in two files, PyTorch-only folders.
int weight_source_open(WeightSource **s, const char *path, Err *err);
// For shapes and sizes alone: the weights may be absent (a GGUF file cut off after its header; a folder without its
// .safetensors files, or with Git LFS pointers in their places).
int weight_source_open_outline(WeightSource **s, const char *path, Err *err);
// Adds a tensor that the files of such a source do not have. NULL: its size exceeds memory.
const SourceTensor *weight_source_assume(WeightSource *s, const char *name, DType dtype, int n_dims,
                                         const int64_t *shape);
void weight_source_close(WeightSource *s); // NULL is allowed
DEFINE_AUTO(WeightSource, weight_source_close)
#define AUTO_SOURCE AUTO(weight_source_close)

void *weight_source_own(WeightSource *s, size_t bytes);                         // memory that belongs to s
int weight_source_reindex(WeightSource *s, Err *err);                           // after names have changed
const SourceTensor *weight_source_get(const WeightSource *s, const char *name); // NULL when absent
const void *weight_source_aligned(WeightSource *s, const SourceTensor *t);      // its data, or an aligned copy of
                                                                                // it that belongs to s
void weight_source_drop_pages(const WeightSource *s); // of the maps; they are read from the files again when used
// The Hugging Face folder of a path: itself, or the parent of config.json or a .safetensors file; NULL: neither, expect
// GGUF. Opens nothing. The caller frees.
char *weight_source_folder(const char *path);

// Adds every file of the model at `path` (all parts of a split GGUF model). NULL: none.
void weight_source_add_inputs(InputSet *inputs, const char *path);
// Fails if a file (weights, configuration, tokenizer) has changed since it was opened: ERR_RUNTIME names it.
int weight_source_unchanged(const WeightSource *s, Err *err);

// Identifies a base model: a hash of sampled blocks of every file and of config.json. One GGUF file: hash_file_sampled.
int weight_source_fingerprint(char hex[33], const WeightSource *s, Err *err);
