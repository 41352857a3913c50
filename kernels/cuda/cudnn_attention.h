// cudnn_attention: attention of packed samples by cuDNN, in the module lorac-cudnn.so, so that machines without cuDNN
// use the own kernels. A C interface to C++ code (cudnn-frontend is a C++ library). Private to kernels/cuda.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels.h"

C_BEGIN

// The matrices of attention: rows of queries, of keys (K, V, DK, DV), and LSE [rows, H] float32.
// Forward has those up to CUDNN_LSE.
// clang-format off
typedef enum CudnnMat {
    CUDNN_Q, CUDNN_K, CUDNN_V, CUDNN_OUT, CUDNN_LSE, CUDNN_DOUT, CUDNN_DQ, CUDNN_DK, CUDNN_DV, CUDNN_MATS
} CudnnMat;
// clang-format on

// The key of a plan. Every token of a sample is a query and a key; positions count from 0.
typedef struct CudnnShape {
    DType type; // F16 or BF16
    bool backward, causal;
    int64_t batch, longest, rows;       // samples, bound of a sample's tokens, rows of all matrices
    int64_t heads, kv_heads, head_size; // GQA
    int64_t window;                     // 0: none
    float scale;
    int64_t stride[CUDNN_MATS]; // elements from row to row
} CudnnShape;

typedef struct CudnnCall {
    void *data[CUDNN_MATS];
    int64_t *offset[CUDNN_MATS]; // [batch + 1] of each: elements before the first row of each sample
    int32_t *length;             // [batch] tokens of each sample
    void *workspace;             // as many bytes as the plan asked for, at a multiple of 256
    cudaStream_t stream;
} CudnnCall;

typedef struct CudnnLibrary {
    int (*open)(void **cudnn, char *version, size_t size, Err *err); // on the current device
    void (*close)(void *cudnn);
    // -1: cuDNN has no plan for this shape that gives the same bits each time. Not while a stream is recorded.
    int (*plan)(void *cudnn, void **plan, size_t *workspace, const CudnnShape *shape, Err *err);
    void (*plan_free)(void *plan);
    int (*run)(void *cudnn, void *plan, const CudnnCall *call, Err *err); // queued on the stream; may be recorded
} CudnnLibrary;

// The library, or NULL with *err. Borrowed.
const CudnnLibrary *cuda_cudnn_library(Err *err);

// The entry of lorac-cudnn.so.
__attribute__((visibility("default"))) const CudnnLibrary *lorac_cudnn(void);

C_END
