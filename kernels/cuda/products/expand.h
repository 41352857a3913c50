// expand: rows of a placed weight of any type become rows of plain elements.
#pragma once

#include "cuda.h"

C_BEGIN

// out [n, cols] = rows [row, row + n) and columns [col, col + cols) of W, without its bias; queued on `stream`. col and
// cols are whole blocks.
void cuda_expand_part(Backend *b, Mat out, const Weight *w, int64_t row, int64_t col, cudaStream_t stream);

C_END
