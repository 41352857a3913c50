// module: backends that live in a shared object of their own, so that the binary needs none of their libraries.
#pragma once

#include "kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

// The one entry of lorac-cuda.so. Fills *b, whose threads are set; `host`: the CPU's table, whose weight_finite and
// pack work in host memory on every backend.
__attribute__((visibility("default"))) int lorac_cuda_open(Backend *b, const BackendOptions *o, const Kernels *host,
                                                           Err *err);

#ifdef __cplusplus
}
#endif
