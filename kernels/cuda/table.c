// table: the op table of the CUDA backend.
#include "cuda.h"

#define CUDA_ENTRY(slot) .slot = cuda_##slot,

const Kernels cuda_kernels = {.name = "cuda", DEVICE_SLOTS(CUDA_ENTRY) OP_SLOTS(CUDA_ENTRY)};

// The slots that work in host memory on every backend.
bool cuda_weight_finite(Backend *b, const Weight *w) {
    return cuda_state(b)->host->weight_finite(b, w);
}

bool cuda_pack(Backend *b, void *dst, float *row_scale, Mat src, DType type) {
    return cuda_state(b)->host->pack(b, dst, row_scale, src, type);
}
