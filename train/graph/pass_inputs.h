// pass_inputs: the integers of one pass in device memory, in one block that is allocated once for the largest pass. The
// offset of an array depends on the pass's shape alone, so recorded passes of one shape use the same addresses.
#pragma once

#include "model.h"
#include "rows.h"

// Sizes of a pass.
typedef struct PassShape {
    int64_t tokens, samples, scored;
    int64_t longest; // tokens of the longest sample, at most; 0: unknown
} PassShape;

// The arrays of a pass. A pass is one packed row, or, on a device, several in sequence followed by padding (kernels.h),
// so that passes of similar size have the same shape.
typedef struct PassArrays {
    PassState *state;
    int32_t *ids, *pos, *type;   // [tokens]; type: 0 or 1
    int32_t *start, *length;     // [samples + 1], [samples]
    int32_t *position, *target;  // [scored]
    int32_t *q_start, *q_pos;    // [samples + 1], [scored]: the scored positions as queries of the last block
    float *values;               // [scored, width] of Row, else NULL
    int32_t *answer, *desirable; // [scored], [samples] of preferences (Row), else NULL
    int32_t *soft_ids;           // [scored, k] and
    float *soft_values;          // [scored, k] soft targets that are given; else NULL
    float *neftune;              // [tokens] noise magnitude for alpha = 1: 1 / sqrt(sample length * C)
    // Keys of random numbers (TokenKeys) of all tokens and of the scored ones; NULL in host memory, where a pass is one
    // row and its key is in PassOptions.
    int32_t *key_index, *key_row;               // [tokens]
    int32_t *scored_key_index, *scored_key_row; // [scored]
    // If the rotation of a token depends on the length of its sample (rope_is_by_length), else NULL: the rotations of
    // the tokens, and which row of them a token and a scored one has.
    float *cos_sin;                      // [tokens, rotated]
    int32_t *rotation, *scored_rotation; // [tokens], [scored]
} PassArrays;

// Soft targets of the scored positions (SoftTargets).
typedef struct SoftInputs {
    int64_t k;  // of each; 0: none
    bool given; // as inputs of the pass; else a teacher's graph writes them
} SoftInputs;

// What rows hold beside tokens and targets.
typedef struct PassExtras {
    bool preferences;
    int64_t width, max_scored; // Row.width, and its scored positions at most; 0: no values
    SoftInputs soft;
} PassExtras;

// The arrays of a pass in device memory, one block of fixed capacity that is written by one upload.
typedef struct PassInputs {
    Backend *backend;
    const RopeConfig *rope; // of the model if it is by length, else NULL
    PassShape capacity, shape;
    PassArrays at;                       // in device memory, at the offsets of the shape
    int32_t *predicted;                  // device [scored]: the predicted classes of a classifier, after the run
    float *logits;                       // device [scored, width]: of a classifier with values, after the run
    double *token_loss, *reference_loss; // device [scored], of preferences; else NULL
    int32_t *soft_ids;                   // device [scored, k], and
    float *soft_values; // device [scored, k] soft targets that a teacher computes in the pass; else NULL
    float *vectors;     // device [samples, hidden], of embeddings: after a forward run the vectors of
                        // the samples, before a training run their gradients; else NULL
    HeadResult *result; // device
    char *block;        // device
    char *staging;      // host, the same layout
    size_t block_bytes, used_bytes;
    PassExtras extras;
    int64_t vector_cols; // of vectors
} PassInputs;
PassInputs *pass_inputs_new(const Model *m, int64_t max_tokens, int64_t max_samples); // m is borrowed
PassInputs *pass_inputs_new_with(const Model *m, int64_t max_tokens, int64_t max_samples, PassExtras extras);
PassInputs *pass_inputs_new_embeddings(const Model *m, int64_t max_tokens, int64_t max_samples);
size_t pass_inputs_soft_bytes(SoftInputs soft, int64_t scored); // of these, on the host and on the device
void pass_inputs_free(PassInputs *in);
// Sets the shape, for planning, without touching the arrays' contents. Within the capacity (CHECKed).
void pass_inputs_shape(PassInputs *in, PassShape shape);
// Packs a row in host memory, padded to `shape`; first_row: index of its first row in its global batch.
// pass_inputs_send then uploads it, in the order of the device's work.
void pass_inputs_pack(PassInputs *in, const Row *row, PassShape shape, int64_t hidden, int64_t first_row);
void pass_inputs_send(PassInputs *in, PassState state);
// Where the soft targets of the packed row are to be filled in on the host, before it is sent.
void pass_inputs_soft(const PassInputs *in, int32_t **ids, float **values);
// Both, without padding.
void pass_inputs_set(PassInputs *in, const Row *row, int64_t hidden, PassState state);
