// load: the modules that the CUDA backend itself loads, where what it does can go on without them.
#include <string.h>

#include "cuda_ranks.h"
#include "cudnn_attention.h"
#include "module.h"

const RanksLibrary *cuda_ranks_library(Err *err) {
    void *symbol;
    if (module_symbol(&symbol, "lorac-nccl.so", "lorac_nccl", "NCCL", err)) return NULL;
    __typeof__(lorac_nccl) *entry; // ISO C has no cast from an object's address to a function's
    memcpy(&entry, &symbol, sizeof entry);
    return entry();
}

const CudnnLibrary *cuda_cudnn_library(Err *err) {
    void *symbol;
    if (module_symbol(&symbol, "lorac-cudnn.so", "lorac_cudnn", "cuDNN or cudnn-frontend", err)) return NULL;
    __typeof__(lorac_cudnn) *entry;
    memcpy(&entry, &symbol, sizeof entry);
    return entry();
}
