// cudnn_attention: attention of packed samples by cuDNN, in the module lorac-cudnn.so, so that machines without cuDNN
// use the own kernels. A C interface to C++ code (cudnn-frontend is a C++ library). Private to kernels/cuda.
#pragma once

#include <cuda_runtime_api.h>

#include "sizes.h"

C_BEGIN

// The key of a plan. Every token of a sample is a query and a key; positions count from 0.
typedef struct CudnnShape {
    DType type; // F16 or BF16
    bool backward, causal;
    bool deterministic;                 // the same bits each time; forward always
    int64_t batch, longest, rows;       // samples, bound of a sample's tokens, rows of all matrices
    int64_t heads, kv_heads, head_size; // GQA
    int64_t window;                     // 0: none
    float scale;
    int64_t stride[CUDNN_MATS]; // elements from row to row
} CudnnShape;

// Of a call that cuda_cudnn_space accepts.
void cudnn_shape(CudnnShape *shape, const Backend *b, const AttentionShape *s, Mat q, Mat k, bool backward);

typedef struct CudnnCall {
    void *data[CUDNN_MATS];
    int64_t *offset[CUDNN_MATS]; // [batch + 1] of each: elements before the first row of each sample
    int32_t *length;             // [batch] tokens of each sample
    void *workspace;             // as many bytes as the plan asked for, at a multiple of 256
    cudaStream_t stream;
} CudnnCall;

typedef struct CudnnLibrary {
    // On the current device, of this compute capability. -1: no cuDNN, or one that is too old for this GPU.
    int (*open)(void **cudnn, char *version, size_t size, int capability, Err *err);
    // For a GPU that is not here, from its properties as cuDNN serialises them: plans, which cannot be run. For tests.
    int (*open_absent)(void **cudnn, const char *json, int capability, Err *err);
    void (*close)(void *cudnn);
    // -1: cuDNN has no plan for this shape. Takes about a second; not while a stream is recorded.
    int (*plan)(void *cudnn, void **plan, size_t *workspace, const CudnnShape *shape, Err *err);
    void (*plan_free)(void *plan);
    int (*run)(void *cudnn, void *plan, const CudnnCall *call, Err *err); // queued on the stream; may be recorded
} CudnnLibrary;

// The library, or NULL with *err. Borrowed.
const CudnnLibrary *cuda_cudnn_library(Err *err);

// The entry of lorac-cudnn.so.
__attribute__((visibility("default"))) const CudnnLibrary *lorac_cudnn(void);

C_END
