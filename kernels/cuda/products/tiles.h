// tiles: weights of block types, expanded tile by tile into two buffers in turn, on the side stream, concurrently with
// the products of earlier tiles. A tile waits only for its buffer, so the first tile of a call is expanded while the
// previous call still multiplies. Private to kernels/cuda.
//
// Use of a buffer: take, queue writes on side_stream, ready, queue reads on stream, done.
#pragma once

#include "cuda.h"

C_BEGIN

void *cuda_tile_take(Backend *b); // expanded_bytes; later work on side_stream may write it
void cuda_tile_ready(Backend *b); // later work on stream may read it
void cuda_tile_done(Backend *b);  // all reads are queued on stream

// Rows [row, row + n), columns [col, col + cols) of a placed weight in the activation type, as W's shape has it:
// take and ready. cols and col are whole blocks, n * cols at most cuda_tile_elements.
Mat cuda_tile(Backend *b, const Weight *w, int64_t row, int64_t n, int64_t col, int64_t cols);
static inline int64_t cuda_tile_elements(const Backend *b) {
    return (int64_t)(cuda_state(b)->scratch.expanded_bytes / cuda_element(b->activation));
}
// How many rows, all columns wide, a tile may have: W's, or fewer, a multiple of 16 (or 1).
int64_t cuda_tile_rows(const Backend *b, const Weight *w);
// How many columns, all rows high: W's, or fewer, whole blocks. CHECKs that one block of columns fits.
int64_t cuda_tile_columns(const Backend *b, const Weight *w);

// out [n, cols] = rows [row, row + n) and columns [col, col + cols) of a placed weight of any type as plain elements,
// without its bias; queued on `stream`. col and cols are whole blocks (expand.cu).
void cuda_expand_part(Backend *b, Mat out, const Weight *w, int64_t row, int64_t col, cudaStream_t stream);

C_END
