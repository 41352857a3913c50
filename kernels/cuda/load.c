// load: what the emulation of the tests replaces: the optional modules of the CUDA backend, NCCL for several ranks and
// cuDNN for attention.
#include "cuda_ranks.h"
#include "cudnn_attention.h"
#include "module.h"

const bool cuda_emulated = false;

const RanksLibrary *cuda_ranks_library(Err *err) {
    __typeof__(lorac_nccl) *entry;
    return module_symbol(&entry, "lorac-nccl.so", "lorac_nccl", "NCCL", err) ? NULL : entry();
}

const CudnnLibrary *cuda_cudnn_library(Err *err) {
    __typeof__(lorac_cudnn) *entry;
    return module_symbol(&entry, "lorac-cudnn.so", "lorac_cudnn", "cuDNN or cudnn-frontend", err) ? NULL : entry();
}
