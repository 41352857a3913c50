// model: a base model in memory: its configuration (ModelConfig), its frozen weights, its tokenizer. Loaded by
// model_load.c and the files that model_internal.h names.
//
// An architecture is data: flags and names (architecture.h). Weights stay in the file's own blocks in the map; q/k rows
// of the `llama` GGUF architecture are put back in Hugging Face order by a row map, and a fused matrix is several
// Weights over its rows: outside the loader all shapes and names are those of Hugging Face.
#pragma once

#include "autograd.h"
#include "base_memory.h"
#include "labels.h"
#include "model_config.h"
#include "model_stream.h"
#include "quantize.h"
#include "tokenizer.h"

typedef struct Norm {
    const float *weight, *bias; // device memory; NULL: absent. Effective values: Gemma's 1 + w is added at load
} Norm;

typedef struct ModelLayer {
    Norm norms[NORM_SITES];
    Weight w[PROJ_COUNT];
    Weight router;
    Weight *experts;        // [3 * E]: gates, ups, downs; NULL: a dense layer
    const float *down_bias; // [E, C] of the experts' last product; NULL: none. Their other biases are in experts
    Weight shared_gate;     // [1, C], of the expert that every token uses; 0 rows: there is none
    const float *sinks;     // [H] of attention (AttentionShape); NULL: none
    // On a device q, k, v and gate, up and a convolution's inputs are stacked into one weight each (0 rows: not
    // stacked). The last layer stacks only k and v, because its queries may have fewer rows than its keys. The parts
    // w[] keep their shapes, without segments or bias.
    Weight qkv, kv, gate_up, conv_in;
    const float *conv; // [C, taps] of a short convolution, device memory; NULL: the layer has none
} ModelLayer;

struct Model {
    ModelConfig config;
    char *path;           // as given by the user
    char *repository;     // "owner/name" on the hub, for base_model_name_or_path: of ModelOptions, else from the file's
                          // metadata (general.*) or the hub's cache; NULL: unknown
    char *revision;       // of the repository: of ModelOptions, else the commit in the hub's cache, unless that of
                          // main; NULL: main, or unknown
    char *name;           // general.name, or the stem of the file or folder
    char fingerprint[33]; // sampled hash of the files
    size_t weight_bytes;  // as stored
    Backend *backend;     // that computes
    Backend *host;        // for work in host memory: `backend` if that is the host, else one that the model owns
    void *device_memory;  // holds all of the following on a device; NULL: host memory
    size_t device_bytes;
    void *kept; // copies of weights (model_keep); NULL: none
    size_t kept_bytes;
    Tokenizer *tokenizer;
    Weight embedding, head; // head is embedding again when tied; 0 rows: a model without one
    Weight position_embedding, type_embedding, pooler;
    Weight masked_dense; // before an encoder's head of masked language modelling; 0 rows: not loaded
    Norm masked_norm;
    Weight class_head, class_dense; // of a checkpoint with a classifier; 0 rows: none
    Norm embed_norm, final_norm;
    Norm head_norm; // final_norm times config.logit_scale, for the language model's head
    ModelLayer *layers;
    int64_t first_layer, end_layer;       // those that are loaded; a model of all layers has embedding and head, too
    const float *cos_sin, *cos_sin_local; // [max_positions, rotated] or NULL; local: of sliding layers, may alias
    const float *cos_sin_query;           // of queries where they differ, else NULL
    int64_t max_positions;                // of a row
    bool outline;                         // no weight was read (ModelOptions)
    bool lacks_weights;                   // of an outline: the files have none
    DType assumed_dtype;                  // of an outline: of the tensors that a folder lacks
    bool dtype_is_named;                  // by config.json
    bool is_gguf;                         // loaded from GGUF, else from a Hugging Face folder
    bool fused_experts;                   // in GGUF: gate and up of all experts are one tensor
    const HfPrefix *hf_prefix;            // of the names of this model's modules (PEFT)
    const Module *gguf_modules;           // of the layers in a GGUF file of this model
    ModelStream *stream;                  // NULL: all matrices are in memory
    struct ModelFile *file;               // maps, row maps and copies (model_internal.h)
};

typedef struct ModelOptions {
    int64_t max_positions;    // of a row, at most config.context; 0: context
    RopeScaling rope_scaling; // ROPE_NONE: the model's own; else this by rope_factor (model_config_scale_rope)
    float rope_factor;
    QuantizeKind quantize;      // of the layers
    QuantizeKind quantize_head; // of the embedding and the head
    BaseMemory memory;          // AUTO: all in memory if it fits; HOST is DEVICE in host memory
    size_t max_memory;          // for AUTO: of the run; 0: what is free on the device, or `host_room`
    size_t host_room;           // 0: unknown
    const char *repository;     // Model.repository; NULL: as the files have it
    const char *revision;       // Model.revision of a repository that the path tells; NULL: as the path has it
    const char *eos_token;      // ends texts in place of the model's own; NULL: that
    bool outline;       // shapes, types and sizes only: no weight is read, and the model computes nothing (`plan`);
                        // weights and the tokenizer of a folder without them may be absent
    int stage, stages;  // of a pipeline: only the weights of this stage are loaded (model_stage.c); stages 0: all
    DType absent_dtype; // of absent weights, where config.json names no type
    bool embedder;      // needs the last hidden states alone: neither a head nor BERT's pooler
    bool classifier;    // accepts models without a language-model head: encoders, ...ForSequenceClassification
    bool masked_lm;     // loads an encoder's head of masked language modelling; without `classifier` it must be there
} ModelOptions;

// Loads a GGUF file or a Hugging Face folder, and moves it to b's device (ERR_NO_FIT: not enough memory there).
// options NULL: all 0. Refuses with ERR_INPUT: missing tensors (first five named), shapes that disagree with the
// configuration, unsupported types or architectures, non-finite weights.
int model_load(Model **m, const char *path, Backend *b, const ModelOptions *options, Err *err);
// The same in two parts: configuration, tokenizer and the headers of the files, in a fraction of a second; then the
// weights, which are read, checked and moved to the device.
int model_open(Model **m, const char *path, Backend *b, const ModelOptions *options, Err *err);
int model_load_weights(Model *m, Err *err);
void model_free(Model *m);
DEFINE_AUTO(Model, model_free)
#define AUTO_MODEL AUTO(model_free)
static inline bool model_is_first(const Model *m) { return m->first_layer == 0; }
static inline bool model_is_last(const Model *m) { return m->end_layer == m->config.layers; }
static inline bool model_is_whole(const Model *m) { return model_is_first(m) && model_is_last(m); }
// The layers of a decoder in stages of about equal cost: the products of a token in its layers, and in the head, which
// the last stage computes. first [stages + 1]. More stages than layers, or an encoder: ERR_INPUT.
int model_stages(int64_t *first, const ModelConfig *c, int stages, Err *err);
// The weight that holds a projection's rows, from *row on.
const Weight *model_layer_weight(const ModelLayer *l, Projection p, int64_t *row);
// Of the weights at a time: on the device, or in host memory.
size_t model_memory_bytes(const Model *m);
// Copies of the layers' weights for the backend's products, which then do not expand the stored blocks in each pass:
// the same bits. As many as `most` bytes hold; model_kept_bytes: what they would take. A device keeps none.
size_t model_kept_bytes(const Model *m, size_t most);
void model_keep(Model *m, size_t most);
// Fails if a file has changed since the load: results computed from a map change with its file.
int model_check_unchanged(const Model *m, Err *err);
// Reads only the metadata (no weights, no tokenizer): for checks before the load.
int model_read_config(ModelConfig *c, const char *path, const ModelOptions *options, Err *err);
// The model has what the head of a classifier of texts, or of tokens, reads: some encoders have a pooler.
int model_check_pooler(const Model *m, bool tokens, Err *err);
// What config.json says of the head of a ...ForSequenceClassification or ...ForTokenClassification that the model has
// (class_head): its classes, empty where they have only transformers' names LABEL_0, ..., and its problem_type
// (PROBLEM_AUTO: none). The caller clears *names.
int model_read_labels(LabelList *names, Problem *problem, const Model *m, Err *err);
// Loads only the tokenizer of a model (a vocabulary-only GGUF is enough).
int model_load_tokenizer(Tokenizer **t, const char *path, Err *err);
