// graph: the graph of a model, built on a Tape from a Model, an optional Adapter and the inputs of one pass.
//
// Five ends: loss of a row (training, evaluation), vectors of texts, logits of all positions, logits of a classifier,
// and one step of cached generation. A block is a decoder's (decoder.c) or an encoder's (encoder.c); pass.h is what
// both are built of.
#pragma once

#include "adapter.h"
#include "config_choices.h"
#include "pass_inputs.h"

// The loss of a pass of preferences: kind, beta and so on; its arrays are those of the pass.
typedef struct PassPreference {
    PreferenceLoss loss;
    const Adapter *reference; // of the reference model; NULL: the base alone
    double nll_weight;        // of the mean token loss of the chosen sequences
} PassPreference;

// A teacher of a pass (knowledge distillation): the largest logits of its scored positions are soft targets.
typedef struct PassTeacher {
    const Model *model;     // NULL: the soft targets are inputs of the pass
    const Adapter *adapter; // NULL: the teacher's base alone
    int64_t vocab;          // tokens that teacher and student have
    SoftTargets loss;       // k, temperature, weights; its arrays are those of the pass
} PassTeacher;

// Where the pass of a stage of a pipeline meets those before and after it: activations [tokens, hidden], and their
// gradients, in device memory. Those at an end of the model are not used.
typedef struct PassEdges {
    void *in, *in_grad, *out, *out_grad;
} PassEdges;

// Options of one pass.
typedef struct PassOptions {
    Recompute recompute;
    float dropout;       // LoRA dropout of this pass (0 in evaluation)
    float neftune_alpha; // 0: none
    float label_smoothing;
    uint64_t seed;
    uint32_t row;                     // key of dropout and NEFTune: the row's index in its global batch
    const PassPreference *preference; // NULL: the token losses themselves
    const PassTeacher *teacher;       // NULL: none
    const PassEdges *edges;           // of a model that is a stage; else NULL
} PassOptions;
static const PassOptions PASS_OPTIONS_EVAL = {0}; // neither dropout nor noise nor label smoothing

// Loss of one row into in->result, of the language model (an encoder: of masked language modelling) or of the adapter's
// classifier;
// adapter gradients are added to adapter->grad (adapter NULL: base alone). After the keys and values of the last block
// only the scored positions are computed. Preferences: the reference's token losses first, without gradients, so in the
// same run. A stage of a pipeline begins and ends at o->edges; only the last one has a loss.
void graph_build_loss(Tape *t, const Model *m, const Adapter *a, const PassInputs *in, const PassOptions *o);
// Whether training needs the gradient of the input of a layer: there is a part of the adapter below.
bool graph_has_gradient_at(const Adapter *a, int64_t layer);
// The vectors of the samples into in->vectors, from the last hidden states at the scored positions. In training their
// gradients are read from there. o NULL: neither dropout nor noise nor recomputation.
void graph_build_vectors(Tape *t, const Model *m, const Adapter *a, const PassInputs *in, const PassOptions *o);
// Logits of all positions of a row, [T, V], into out (device memory), by the model's head.
void graph_build_logits(Tape *t, const Model *m, const Adapter *a, const PassInputs *in, Mat out);
// The teacher's soft targets of the scored positions, into in->soft_ids and in->soft_values.
void graph_build_top_logits(Tape *t, const PassInputs *in, const PassTeacher *teacher);
// Logits of the adapter's classifier at the scored positions, [samples, labels], into out.
void graph_build_class_logits(Tape *t, const Model *m, const Adapter *a, const PassInputs *in, Mat out);

// ---- cached generation ----

// Sequence s owns the cache rows [s * capacity, (s + 1) * capacity).
typedef struct KvCache {
    int64_t capacity, sequences;
    Mat *k,
        *v; // [layers], each [sequences * capacity, KV * D], device memory; of a convolution k is [..., C], v absent
} KvCache;
// New tokens of several sequences as one row. Device memory; its contents may change between runs of the same tape.
typedef struct DecodeInputs {
    int64_t tokens, samples;
    int32_t *ids, *pos;               // [tokens]
    int32_t *cache_row;               // [tokens] cache rows of their keys and values
    int32_t *q_start;                 // [samples + 1]
    int32_t *k_start, *k_len;         // [samples] ranges in the cache; k_len includes the new tokens
    int32_t *last;                    // [samples] row of each sample's last token
    int32_t *last_q_start, *last_pos; // [samples + 1], [samples]: those rows as queries of the last block
    int32_t *rotation;                // [tokens] and
    float *cos_sin;                   // [tokens, rotated], as in PassArrays
} DecodeInputs;
// Logits of each sample's last token, [samples, V], into out.
void graph_build_decode(Tape *t, const Model *m, const Adapter *a, const DecodeInputs *in, const KvCache *cache,
                        Mat out);
