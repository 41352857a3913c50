// adapter_config: which modules of a model carry an adapter, with which rank and alpha.
#pragma once

#include "json.h"
#include "labels.h"
#include "model.h"

typedef struct AdapterRank { // of one projection of one layer
    int64_t rank;            // 0: no adapter
    float alpha;
} AdapterRank;

typedef enum {
    ADAPTER_UNIFORM,  // A uniform, B 0
    ADAPTER_GAUSSIAN, // A ~ N(0, 1/r), B 0
    // A and B are a part of W, and W is without this part while they are trained (adapter_start.c):
    ADAPTER_PISSA, // the largest singular values (Meng et al. 2024)
    ADAPTER_OLORA, // the first columns of Q and rows of R, W = Q R (Buyukakyuz 2024)
} AdapterInit;

typedef struct AdapterConfig {
    int64_t rank;
    float alpha;
    float dropout;
    AdapterInit init;     // of a new adapter
    int64_t svd_steps;    // of ADAPTER_PISSA: iterations of a randomised decomposition; -1: exact
    int64_t was_rank;     // of an adapter that adapter_plain has made: the rank in training; else 0
    bool rslora;          // scale = alpha / sqrt(r) (Kalajdzievski 2023) instead of alpha / r
    bool dora;            // with a magnitude for each row (Liu et al. 2024)
    uint32_t projections; // bit set of Projection
    int64_t *layers;      // which layers, ascending, owned; NULL: all
    int64_t n_layers;
    int64_t labels;  // 0: a language model; else the number of classes, or of numbers
    Problem problem; // with labels, what the head predicts; AUTO is as SINGLE_LABEL
    bool embedding;  // of the model without a head (AutoModel): PEFT's FEATURE_EXTRACTION
    // If modules differ in rank, alpha or layers (PEFT's rank_pattern, alpha_pattern, full names in target_modules):
    // [layers of the model * PROJ_COUNT], owned. Rank and alpha above are then PEFT's r and lora_alpha, projections and
    // layers the union. NULL: rank and alpha hold for all projections of all layers above.
    AdapterRank *each;
    int64_t n_each;
} AdapterConfig;
void adapter_config_clear(AdapterConfig *c);
// A and B begin as a part of W.
static inline bool adapter_takes_part(const AdapterConfig *c) { return c->init >= ADAPTER_PISSA; }
// Takes ownership of each [m->config.layers * PROJ_COUNT] as c->each, and sets projections and layers; if all modules
// are alike, c->each is NULL.
void adapter_config_set_each(AdapterConfig *c, AdapterRank *each, const Model *m);
// Applies rank_pattern, alpha_pattern and exclude_modules to the modules of `each` by PEFT's rules (matched against
// whole module keys). object: these, "r", "lora_alpha" and "target_modules": "all-linear". Refuses a pattern or a name
// that matches none of the modules.
int adapter_config_refine(AdapterRank *each, const Model *m, const Json *object, Err *err);
void adapter_config_copy(AdapterConfig *to, const AdapterConfig *from);
// Checks ranks, alphas, dropout, projections and layers against the model.
int adapter_config_check(const AdapterConfig *c, const Model *m, Err *err);
AdapterRank adapter_rank_at(const AdapterConfig *c, int64_t layer, Projection p); // of a layer that is in c->layers
float adapter_rank_scale(AdapterRank r, bool rslora);
uint32_t adapter_available(const ModelConfig *c); // all projections that can have an adapter
// Those of "all-linear": without experts. (PEFT 0.21 adds experts, shared or not by the version of transformers, and
// the router.)
uint32_t adapter_all_linear(const ModelConfig *c);
