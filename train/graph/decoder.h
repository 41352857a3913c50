// decoder: the one decoder graph, built on a Tape from a Model, an optional Adapter and one row's inputs.
//
// Three ends: loss of a row (training, evaluation), logits of all positions, and one step of cached generation.
#pragma once

#include "adapter.h"
#include "model.h"
#include "row_inputs.h"

// What backward makes again instead of keeping it, the lightest first.
typedef enum {
    RECOMPUTE_NONE,
    RECOMPUTE_FFN,     // of each feed-forward: its norm, the products with gate and up, what is made of them
    RECOMPUTE_BLOCKS,  // every block from its input
    RECOMPUTE_OFFLOAD, // every block; the inputs wait in host memory
} Recompute;

typedef struct DecoderOptions {
    Recompute recompute;
    float dropout;       // LoRA dropout of this pass (0 in evaluation)
    float neftune_alpha; // 0: none
    float label_smoothing;
    uint64_t seed;
    uint32_t row; // key of dropout and NEFTune: the row's index in its global batch
} DecoderOptions;

// Loss of one row into in->result, of the language model or of the adapter's classifier; adapter gradients are added to
// adapter->grad (adapter NULL: base alone). Positions that predict nothing supervised are not computed behind the last
// block's keys and values.
void decoder_build_loss(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, const DecoderOptions *o);

// Logits of all positions of a row, [T, V], into out (device memory).
void decoder_build_logits(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, Mat out);

// Logits of the adapter's classifier at the scored positions, [samples, labels], into out.
void decoder_build_class_logits(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, Mat out);

// One step of cached generation. Sequence s owns the cache rows [s * capacity, (s + 1) * capacity).
typedef struct KvCache {
    int64_t capacity, sequences;
    Mat *k, *v; // [layers], each [sequences * capacity, KV * D], device memory
} KvCache;
// New tokens of several sequences as one row. Device memory; its contents may change between runs of the same tape.
typedef struct DecodeInputs {
    int64_t tokens, samples;
    int32_t *ids, *pos;               // [tokens]
    int32_t *cache_row;               // [tokens] where each token's keys and values go
    int32_t *q_start;                 // [samples + 1]
    int32_t *k_start, *k_len;         // [samples] ranges in the cache; k_len includes the new tokens
    int32_t *last;                    // [samples] row of each sample's last token
    int32_t *last_q_start, *last_pos; // [samples + 1], [samples]: those rows as queries of the last block
} DecodeInputs;
// Logits of each sample's last token, [samples, V], into out.
void decoder_build_decode(Tape *t, const Model *m, const Adapter *a, const DecodeInputs *in, const KvCache *cache,
                          Mat out);
