// cuda: private header of the CUDA backend, host side (device side: device.cuh).
//
// One CudaState per backend, in Backend.state. Ops are queued on `stream`; a second stream expands quantised weights
// concurrently with the products that use them, a third one offloads to host memory. Each area of the backend keeps its
// state (descriptors, plans, device copies of lists) in a struct of CudaState, between cuda_<area>_open and _close.
//
// Rules for every slot:
//  - begin with `if (cuda_failed(b)) return;`: after the first fault slots do nothing;
//  - no cudaMalloc, no wait, no read of device data on the host: a slot may run inside a recording (CUDA graph), where
//    these are errors, and its launches are replayed with the same arguments;
//  - grids, blocks and branches on the host depend on shapes alone, never on device data;
//  - same shapes, same bits: fixed reduction trees, no atomics on floats.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include "sizes.h"

C_BEGIN

// Areas with state: X(name, type).
// clang-format off
#define CUDA_AREAS(X) \
    X(transfer, CudaTransfer) X(matmul, CudaMatmul) X(tiles, CudaTiles) X(attention, CudaAttention) \
    X(optim, CudaOptim) X(choices, CudaChoices) X(records, CudaRecords) X(ranks, CudaRanks)
// clang-format on

#define DECLARE_CUDA_TYPE(name, type) typedef struct type type;
CUDA_AREAS(DECLARE_CUDA_TYPE)

typedef struct CudaState {
    CudaScratch scratch; // first: kernels/planned/sizes.c reads it
    const Kernels *host; // the CPU's table, for the two slots that work in host memory on every backend
    int device;
    char name[128];              // "NVIDIA H100 80GB HBM3"
    int capability;              // 90 for 9.0
    int processors;              // streaming multiprocessors
    size_t shared_bytes;         // shared memory that a block may ask for
    bool emulated;               // cuda_emulated
    bool graphs;                 // passes may be recorded
    const char *attention_asked; // by LORAC_ATTENTION: "own", "cudnn"; NULL: not set
    bool recording;              // between record and record_end
    uint64_t epoch;              // grows at record, record_end and replay: an event is valid in its own epoch only
    cudaStream_t stream;         // of all ops
    cudaStream_t side_stream;    // expansion of quantised weights
    cublasLtHandle_t blas;
    void *workspace;   // of cuBLASLt
    void *expanded[2]; // tiles of quantised weights in the activation type, used in turn
    size_t used_bytes; // allocated by cuda_alloc and not freed
    Err fault;         // the first one; ERR_NONE: none
#define CUDA_AREA_FIELD(name, type) type *name;
    CUDA_AREAS(CUDA_AREA_FIELD)
} CudaState;

static inline CudaState *cuda_state(const Backend *b) { return (CudaState *)b->state; }
static inline cudaStream_t cuda_stream(const Backend *b) { return cuda_state(b)->stream; }
static inline void check_mat(const char *name, Mat m, DType type, int64_t rows, int64_t cols) {
    CHECK(m.data && m.dtype == type && m.rows == rows && m.cols == cols,
          "%s: [%ld, %ld] of %s, expected [%ld, %ld] of %s", name, m.rows, m.cols, dtype_info(m.dtype)->name, rows,
          cols, dtype_info(type)->name);
}
#define CHECK_MAT(m, type, rows, cols) check_mat(#m, m, type, rows, cols)
static inline bool cuda_failed(const Backend *b) { return cuda_state(b)->fault.kind != ERR_NONE; }

// Keeps the first fault; status() reports it as "device cuda:0 (NAME): WHAT: REASON". True: no error.
bool cuda_check(Backend *b, cudaError_t error, const char *what);
bool cuda_check_blas(Backend *b, cublasStatus_t status, const char *what);
cudaEvent_t cuda_new_event(Backend *b, bool timed); // NULL: b has failed
void cuda_fail(Backend *b, ErrKind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);

// LORAC_CUDA_GRAPHS and LORAC_ATTENTION, before the areas are opened; kind: BackendOptions.attention. Check:
// afterwards.
int cuda_environment(Backend *b, AttentionKind kind, Err *err);
int cuda_environment_check(const Backend *b, Err *err);

// Of each area. open: allocates for the backend's lifetime; -1 with *err (the caller then closes b's state).
#define DECLARE_CUDA_AREA(name, type)                                                                                  \
    int cuda_##name##_open(Backend *b, Err *err);                                                                      \
    void cuda_##name##_close(Backend *b);
CUDA_AREAS(DECLARE_CUDA_AREA)

#define DECLARE_CUDA_SLOT(slot) SLOT_TYPE(slot) cuda_##slot;
DEVICE_SLOTS(DECLARE_CUDA_SLOT)
OP_SLOTS(DECLARE_CUDA_SLOT)

extern const bool cuda_emulated; // true in the tests' build, without a GPU (tests/cuda_on_cpu)
// Launches a small kernel: a fault if it was not compiled for this GPU.
void cuda_try_kernel(Backend *b);

// Rows of a weight through the pinned ring: dst [n contiguous rows] = rows map[row], map[row + 1], ... of src; map
// NULL: rows [row, row + n).
void cuda_upload_rows(Backend *b, void *dst, const void *src, size_t row_bytes, const int32_t *map, int64_t row,
                      int64_t n);

// The library of attention, "cudnn 9.19.0"; NULL: the own kernels only.
const char *cuda_attention_library(const Backend *b);

// Autotuning results: the value of `key`, NULL if there is none; borrowed until the next cuda_choice_set.
const char *cuda_choice_get(const Backend *b, const char *key);
void cuda_choice_set(Backend *b, const char *key, const char *value);
// Whether shapes without a choice are autotuned: not after choices_set, in a recording, or on an emulated device.
bool cuda_choices_by_speed(const Backend *b);

C_END
