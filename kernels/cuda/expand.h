// expand: rows of a placed weight of any type become rows of plain elements.
#pragma once

#include "cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

// dst [n, K] in the type of activations, rows back to back, 16-byte aligned = rows [row, row + n) of W; queued on
// `stream`. Without its bias.
void cuda_expand_rows(Backend *b, void *dst, const Weight *w, int64_t row, int64_t n, cudaStream_t stream);
// The same of columns [col, col + cols) alone, which are whole blocks: dst [n, cols].
void cuda_expand_columns(Backend *b, void *dst, const Weight *w, int64_t row, int64_t n, int64_t col, int64_t cols,
                         cudaStream_t stream);

#ifdef __cplusplus
}
#endif
