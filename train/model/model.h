// model: a base model in memory. What kind it is (ModelConfig), its frozen weights, its tokenizer, and the decoder
// graph.
//
// An architecture is data: flags and names (architecture.h), one graph for all (decoder.c). Weights stay in the file's
// own blocks in the map; q/k rows of the `llama` GGUF architecture are put back in Hugging Face order by a row map, and
// a fused matrix is several Weights over its rows, so everything above the file border thinks in Hugging Face's terms.
#pragma once

#include "architecture.h"
#include "autograd.h"
#include "overwrite.h"
#include "rows.h"
#include "tokenizer.h"

typedef enum { ROPE_NONE, ROPE_PLAIN, ROPE_LINEAR, ROPE_LLAMA3, ROPE_YARN, ROPE_LONGROPE } RopeScaling;
enum { ROPE_MAX_PAIRS = 512 };

// How positions become angles (rope.c). Names as in transformers' modeling_rope_utils; what a scaling does not use is
// 0.
typedef struct RopeConfig {
    RopeScaling scaling;
    float base;
    int64_t rotated; // dims of a head that turn; at most the head size
    float factor, low_freq_factor, high_freq_factor;
    float beta_fast, beta_slow, mscale, mscale_all_dim;
    float attention_factor; // of cos and sin; 0: by the scaling's formula
    bool keep_range;        // YaRN "truncate": false
    int64_t original_context;
    // Frequencies are divided by these: LongRoPE's lists; or, in short_divisor alone, GGUF's rope_freqs.
    bool has_divisor;
    float short_divisor[ROPE_MAX_PAIRS], long_divisor[ROPE_MAX_PAIRS];
} RopeConfig;

enum { MODEL_MAX_LAYERS = 1024 };

// A plain value. model_config_init gives what the family implies; a reader fills in the rest.
typedef struct ModelConfig {
    const Architecture *arch;
    const char *architecture; // arch->gguf: also the architecture of adapter files
    int64_t layers, hidden, heads, kv_heads, head_size, ffn, vocab, context;
    float norm_eps;
    float embed_scale;                 // 1: none
    float query_scale;                 // of q k^T
    float attn_softcap, final_softcap; // 0: none
    int64_t window;                    // of the sliding layers; 0: none
    uint8_t layer_sliding[MODEL_MAX_LAYERS];
    bool tied_head;   // no head of its own: the embedding
    bool head_unties; // it has one, though its config.json says that it is tied
    bool has_glu;
    GluKind glu;               // with has_glu
    ActivationKind activation; // without
    bool qkv_bias, o_bias, mlp_bias;
    RopeConfig rope, rope_local; // rope_local: of sliding layers where it differs (Gemma 3), else scaling is ROPE_NONE
    int64_t experts, experts_used, expert_ffn; // 0: dense
    bool renormalise_experts;
    uint8_t layer_dense[MODEL_MAX_LAYERS]; // with experts: layers with a plain MLP
    int64_t positions_table, token_types;  // rows of the learned tables; 0: none
    bool permuted_qk;                      // the q/k rows of this file are in llama.cpp's interleaved order
} ModelConfig;

// What the family implies; sizes stay 0.
void model_config_init(ModelConfig *c, const Architecture *a);
// Shape of a projection's weight: rows [out], cols [in].
void model_projection_shape(const ModelConfig *c, Projection p, int64_t *rows, int64_t *cols);
// True when the layers have this projection (no gate in a plain MLP; none of the MLP's in a mixture of experts).
bool model_has_projection(const ModelConfig *c, Projection p);

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
// What transformers would do to this base while it trains and lorac does not, as "attn_pdrop 0.1, embd_pdrop 0.1"
// (dropout inside the base, noise of a router); nothing is added for GGUF files, which do not say.
int model_training_noise(StrBuf *out, const char *path, Err *err);
// Every file that a model's path stands for. NULL: none.
void model_add_inputs(InputSet *inputs, const char *path);
// Only what `tokenize` and `inspect` need: the tokenizer of a model (a vocabulary-only GGUF is enough).
int model_load_tokenizer(Tokenizer **t, const char *path, Err *err);
