// transfer: uploads of a weight's rows through the pinned ring. Private to kernels/cuda.
#pragma once

#include "cuda.h"

C_BEGIN

// dst [n contiguous rows] = rows map[row], map[row + 1], ... of src; map NULL: rows [row, row + n).
void cuda_upload_rows(Backend *b, void *dst, const void *src, size_t row_bytes, const int32_t *map, int64_t row,
                      int64_t n);

C_END
