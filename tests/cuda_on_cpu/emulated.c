#include "emulated.h"

#include "module.h"

int emulated_open_with(Backend **b, const BackendOptions *options, Err *err) {
    *b = mem_calloc(1, sizeof **b);
    if (!lorac_cuda_open(*b, options, kernels_cpu(DTYPE_F32, PRECISION_HIGHEST, NULL), err)) return 0;
    mem_free(*b);
    *b = NULL;
    return -1;
}

int emulated_open(Backend **b, DType activation, Err *err) {
    BackendOptions o = {.device = "cuda", .activation = activation};
    return emulated_open_with(b, &o, err);
}
