// text_vectors: the vectors of texts, several to a pass. A text's vector depends on no other text, but for rounding:
// products of few rows are computed in another order.
#pragma once

#include "adapter.h"
#include "record_format.h"

typedef struct TextTokens {
    const int32_t *ids;
    int64_t count; // 1 to the model's positions
} TextTokens;

typedef struct TextVectors TextVectors;
// a NULL: the base alone. Both are borrowed.
TextVectors *text_vectors_new(const Model *m, const Adapter *a, Pooling pooling);
void text_vectors_free(TextVectors *v);
DEFINE_AUTO(TextVectors, text_vectors_free)
// out [n, hidden], host memory.
int text_vectors_run(TextVectors *v, const TextTokens *texts, int64_t n, float *out, Err *err);
