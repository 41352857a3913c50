// tiles: weights of block types, expanded piece by piece into two buffers in turn, on the side stream, beside the
// products of earlier pieces. A piece does not wait for the call that asks for it, only for its buffer: so the first
// piece of a call is expanded while the call before still multiplies. Private to kernels/cuda.
//
// The buffers may be used through these functions alone: take, queue writes on side_stream, ready, queue reads on
// stream, done.
#pragma once

#include "cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

void *cuda_tile_take(Backend *b); // expanded_bytes; what is queued on side_stream from now on may write it
void cuda_tile_ready(Backend *b); // what is queued on stream from now on sees what was written
void cuda_tile_done(Backend *b);  // all that reads it has been queued on stream

// Rows [row, row + n), columns [col, col + cols) of a placed weight in the type of activations, as W's shape has it:
// take and ready. cols and col are whole blocks, n * cols at most cuda_tile_elements.
Mat cuda_tile(Backend *b, const Weight *w, int64_t row, int64_t n, int64_t col, int64_t cols);
static inline int64_t cuda_tile_elements(const Backend *b) {
    return (int64_t)(cuda_state(b)->scratch.expanded_bytes / cuda_element(b->activation));
}
// How many rows, all columns wide, a tile may have: W's, or fewer, a multiple of 16 (or 1).
int64_t cuda_tile_rows(const Backend *b, const Weight *w);
// How many columns, all rows high: W's, or fewer, whole blocks. CHECKs that W is not too high for a single one.
int64_t cuda_tile_columns(const Backend *b, const Weight *w);

#ifdef __cplusplus
}
#endif
