// logits: the plain forward pass of one sequence, for `lorac logits`, verify and tests.
#pragma once

#include "adapter.h"
#include "model.h"

// Ids out of the vocabulary: ERR_INPUT with the first one, its text and position.
int model_check_ids(const Model *m, const int32_t *ids, int64_t n, Err *err);
// out: host memory [n, vocab] float32. Ids out of the vocabulary, or more than the model's positions: ERR_INPUT.
int model_logits(const Model *m, const Adapter *a, const int32_t *ids, int64_t n, float *out, Err *err);
// Bytes that model_logits allocates on the device at its peak; computes nothing. n: at most the model's positions.
size_t model_logits_bytes(const Model *m, const Adapter *a, int64_t n);
// Of an adapter with a classifier: out [labels], its logits for the sequence. second: index of the first token of the
// second text (BERT's token type 1); n: there is none.
int model_class_logits(const Model *m, const Adapter *a, const int32_t *ids, int64_t n, int64_t second, float *out,
                       Err *err);
// Of an adapter that labels tokens: out [n, labels], the logits of each position.
int model_token_logits(const Model *m, const Adapter *a, const int32_t *ids, int64_t n, float *out, Err *err);
