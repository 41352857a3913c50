// cuda_ranks: what the backend needs of a library that adds up over several devices. The functions of NCCL, in the
// module lorac-nccl.so, so that one device needs no NCCL. Private to kernels/cuda.
#pragma once

#include "cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { RANK_ID_BYTES = 128 };

typedef struct RanksLibrary {
    int (*id)(void *id, Err *err); // RANK_ID_BYTES
    // *group of `ranks` ranks, on the current device. Waits for the others at most `seconds`, here and in all_reduce.
    int (*connect)(void **group, int rank, int ranks, const void *id, double seconds, Err *err);
    int (*all_reduce)(void *group, int64_t *data, int64_t n, cudaStream_t stream, Err *err); // data = sum; queued
    int (*check)(void *group, Err *err);                                                     // of what is queued
    void (*close)(void *group, bool failed); // failed: other ranks may be gone, nothing is waited for
} RanksLibrary;

// The library, NULL with one line where it is absent. Borrowed.
const RanksLibrary *cuda_ranks_library(Err *err);

// Waits for the stream; with other ranks, also for a sign that one of them has failed, which the stream would not see.
void cuda_ranks_wait(Backend *b);

// The one entry of lorac-nccl.so.
__attribute__((visibility("default"))) const RanksLibrary *lorac_nccl(void);

#ifdef __cplusplus
}
#endif
