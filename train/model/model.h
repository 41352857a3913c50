// model: a base model in memory: its configuration (ModelConfig), its frozen weights, its tokenizer. Loaded by
// model_load.c and the files that model_internal.h names.
//
// An architecture is data: flags and names (architecture.h). Weights stay in the file's own blocks in the map; q/k rows
// of the `llama` GGUF architecture are put back in Hugging Face order by a row map, and a fused matrix is several
// Weights over its rows: outside the loader all shapes and names are those of Hugging Face.
#pragma once

#include "autograd.h"
#include "model_config.h"
#include "tokenizer.h"

typedef struct Norm {
    const float *weight, *bias; // device memory; NULL: absent. Effective values: Gemma's 1 + w is added at load
} Norm;

typedef struct ModelLayer {
    Norm norms[NORM_SITES];
    Weight w[PROJ_COUNT];
    Weight router;
    Weight *experts; // [3 * E]: gates, ups, downs; NULL: a dense layer
    // On a device what has the same input lies stacked, and is one product; 0 rows: not stacked. The last layer, whose
    // queries may be of fewer rows than its keys, has kv instead of qkv. Parts of a stacked weight have no segments.
    Weight qkv, kv, gate_up;
} ModelLayer;

typedef struct Model {
    ModelConfig config;
    char *path;           // as given by the user
    char *repository;     // from the file's own metadata (general.*), or NULL: for base_model_name_or_path
    char *name;           // general.name, or the stem of the file or folder
    char fingerprint[33]; // sampled hash of the files
    size_t weight_bytes;  // as stored
    Backend *backend;     // that computes
    Backend *host;        // for what is done in host memory: `backend` where it is there, else the model's own
    void *device_memory;  // all of the following, where that is not host memory
    size_t device_bytes;
    Tokenizer *tokenizer;
    Weight embedding, head; // head is embedding again when tied; 0 rows: a model without one
    Weight position_embedding, type_embedding, pooler;
    Weight class_head; // of a checkpoint that has one; 0 rows: none
    Norm embed_norm, final_norm;
    ModelLayer *layers;
    const float *cos_sin, *cos_sin_local; // [max_positions, rotated]; local: of sliding layers, may be the same memory
    int64_t max_positions;                // that a row may have
    bool outline;                         // no weight was read (ModelOptions)
    bool is_gguf;                         // what kind of file this is
    const HfPrefix *hf_prefix;            // how Hugging Face names this model's modules (PEFT)
    const Module *gguf_modules; // the layers' linears in a GGUF file of this model (of this file if it is one)
    struct ModelFile *file;     // maps, row maps and own copies: private to model_load.c
} Model;

typedef struct ModelOptions {
    int64_t max_positions;    // that rows may have, at most config.context; 0: context
    RopeScaling rope_scaling; // ROPE_NONE: the model's own; else ROPE_LINEAR or ROPE_YARN by rope_factor
    float rope_factor;
    int quantize;    // QUANTIZE_NONE, QUANTIZE_INT8, QUANTIZE_NF4 (quantize.h)
    bool outline;    // shapes, types and sizes only: no weight is read, and the model computes nothing (`plan`)
    bool classifier; // the model's own head is not needed: encoders and ...ForSequenceClassification are welcome
} ModelOptions;

// Loads a GGUF file or a Hugging Face folder, and moves it to b's device (EXIT_NO_FIT: it has not that much memory).
// options NULL: all 0. Refuses with EXIT_INPUT: missing tensors (first five named), shapes that disagree with the
// configuration, unsupported types or architectures, non-finite weights.
int model_load(Model **m, const char *path, Backend *b, const ModelOptions *options, Err *err);
void model_free(Model *m);
// Whether the files are still those that were loaded: what is computed from a map changes with its file.
int model_unchanged(const Model *m, Err *err);
// Bytes that a model in host memory would take on b's device; 0: it would stay where it is. Reads no weights.
size_t model_device_bytes(Model *m, Backend *b);
// Reads only the metadata (no weights, no tokenizer): for inspect and for checks before the load.
int model_read_config(ModelConfig *c, const char *path, const ModelOptions *options, Err *err);
// Only what `tokenize` and `inspect` need: the tokenizer of a model (a vocabulary-only GGUF is enough).
int model_load_tokenizer(Tokenizer **t, const char *path, Err *err);
