// adapter: the trainable LoRA parameters, one flat float32 buffer of named segments, and the same for gradients.
//
// Canonical order: layer by layer, projection by projection (model.h), A before B, Hugging Face row order. Files:
// adapter_peft.c (PEFT folder), adapter_gguf.c (GGUF); llama.cpp's q/k row order exists only inside adapter_gguf.c.
#pragma once

#include "model.h"

typedef struct AdapterConfig {
    int64_t rank;
    float alpha;
    float dropout;
    bool rslora;          // scale = alpha / sqrt(r) (Kalajdzievski 2023) instead of alpha / r
    uint32_t projections; // bit set of Projection
    int64_t *layers;      // which layers, ascending, owned; NULL: all
    int64_t n_layers;
} AdapterConfig;
void adapter_config_clear(AdapterConfig *c);
float adapter_scale(const AdapterConfig *c);

typedef struct AdapterSegment { // one matrix
    int64_t layer;
    Projection projection;
    bool is_b;
    int64_t rows, cols; // A [r, in], B [out, r]
    int64_t offset;     // elements from the start of the flat buffer
} AdapterSegment;

typedef struct Adapter {
    AdapterConfig config;
    Backend *backend;
    AdapterSegment *segments;
    int64_t n_segments;
    int64_t count;  // elements of the flat buffer
    float *params;  // [count] device memory
    float *grad;    // [count] device memory, or NULL (inference)
    int64_t *index; // [layers * PROJ_COUNT] segment of A, or -1; B is the next one
} Adapter;

// Checks r, alpha, targets and layers against the model; A is initialised U(-1/sqrt(in), 1/sqrt(in)) from (seed, tensor
// name), B is 0, as PEFT does. with_grad: for training.
int adapter_new(Adapter **a, const Model *m, const AdapterConfig *c, uint64_t seed, bool with_grad, Err *err);
void adapter_free(Adapter *a);
// Segment of A for a projection, or NULL when it carries no adapter; B is the next segment.
const AdapterSegment *adapter_segment(const Adapter *a, int64_t layer, Projection p);
// "base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight"
void adapter_tensor_name(const AdapterSegment *s, char *buf, size_t size);

// Loads a PEFT folder or a GGUF adapter (told apart by what path is) for this model; wrong base, shapes, unsupported
// options (DoRA, modules_to_save, rank patterns ...): EXIT_INPUT with the difference. with_grad: to train on from it.
int adapter_load(Adapter **a, const Model *m, const char *path, bool with_grad, Err *err);
int adapter_load_peft(Adapter **a, const Model *m, const char *dir, bool with_grad, Err *err);
int adapter_load_gguf(Adapter **a, const Model *m, const char *file, bool with_grad, Err *err);

// Refuses (EXIT_RUNTIME) an adapter that is not finite, or whose B is zero everywhere: it would do nothing.
int adapter_check(const Adapter *a, Err *err);
// Both run adapter_check, write under a temporary name, fsync and rename. model_card: text of README.md in the folder.
int adapter_save_peft(const Adapter *a, const Model *m, const char *dir, const char *model_card, Err *err);
int adapter_save_gguf(const Adapter *a, const Model *m, const char *file, const char *name, Err *err);
