// model: a base model in memory. What kind it is (ModelConfig), its frozen weights, its tokenizer, and the decoder
// graph.
//
// An architecture is data: flags and names, one graph for all (decoder.c). Weights stay in the file's own blocks in the
// map; q/k rows of the `llama` GGUF architecture are put back in Hugging Face order by a row map, so everything above
// the file border thinks in Hugging Face order.
#pragma once

#include "autograd.h"
#include "rows.h"
#include "tokenizer.h"

typedef struct ModelConfig {
    const char *architecture; // GGUF name: "llama"
    int64_t layers, hidden, heads, kv_heads, head_size, ffn, vocab, context;
    float rms_eps, rope_base;
    float rope_factor; // linear position interpolation: positions are divided by it; 1: none
    GluKind glu;
    bool tied_head;
    bool permuted_qk; // q/k rows of the GGUF file are in llama.cpp's interleaved order
} ModelConfig;

// The projections LoRA can sit on, in canonical order (the order of a layer's tensors in memory and snapshots).
typedef enum { PROJ_Q, PROJ_K, PROJ_V, PROJ_O, PROJ_GATE, PROJ_UP, PROJ_DOWN, PROJ_COUNT } Projection;
const char *projection_name(Projection p);         // "q_proj"
Projection projection_from_name(const char *name); // PROJ_COUNT when unknown
const char *projection_gguf_name(Projection p);    // "attn_q"
const char *projection_hf_module(Projection p);    // "self_attn.q_proj"

typedef struct ModelLayer {
    float *attn_norm, *ffn_norm; // [C] device memory
    Weight w[PROJ_COUNT];
} ModelLayer;

typedef struct Model {
    ModelConfig config;
    char *path;           // as given by the user
    char *repository;     // from the file's own metadata (general.*), or NULL: for base_model_name_or_path
    char *name;           // general.name or the file's stem
    char fingerprint[33]; // sampled hash of the file
    size_t weight_bytes;
    Backend *backend;
    Tokenizer *tokenizer;
    Weight embedding, head; // head is embedding again when tied
    float *final_norm;      // [C]
    ModelLayer *layers;
    float *cos_sin; // [rope_positions, D]
    int64_t rope_positions;
    struct ModelFile *file; // maps and row maps: private to model_load.c
} Model;

// Loads a GGUF file. max_positions: how many positions the RoPE table must cover (at most config.context; 0: context).
// Refuses with EXIT_INPUT: missing tensors (first five named), shapes that disagree with the metadata, unsupported
// types or architectures, non-finite weights.
int model_load(Model **m, const char *path, Backend *b, int64_t max_positions, Err *err);
void model_free(Model *m);
// Shape of a projection's weight: rows [out], cols [in].
void model_projection_shape(const ModelConfig *c, Projection p, int64_t *rows, int64_t *cols);
// Reads only the metadata (no weights, no tokenizer): for inspect and for checks before the load.
int model_read_config(ModelConfig *c, const char *path, Err *err);
// Only what `tokenize` and `inspect` need: the tokenizer of a model file (a vocabulary-only GGUF is enough).
int model_load_tokenizer(Tokenizer **t, const char *path, Err *err);
