// cuda_ranks: sums over the ranks' devices. RanksLibrary is NCCL, in the module lorac-nccl.so, so that a single device
// needs no NCCL. Private to kernels/cuda.
#pragma once

#include "cuda.h"

C_BEGIN

enum { RANK_ID_BYTES = 128 };

typedef struct RanksLibrary {
    int (*id)(void *id, Err *err); // RANK_ID_BYTES
    // *group of `ranks` ranks, on the current device. Waits for the others at most `seconds`, here and in all_reduce.
    int (*connect)(void **group, int rank, int ranks, const void *id, double seconds, Err *err);
    int (*all_reduce)(void *group, int64_t *data, int64_t n, cudaStream_t stream, Err *err); // data = sum; queued
    int (*check)(void *group, Err *err);                                                     // of what is queued
    void (*close)(void *group, bool failed); // failed: other ranks may be dead; does not wait
} RanksLibrary;

// The library, or NULL with *err. Borrowed.
const RanksLibrary *cuda_ranks_library(Err *err);

// Waits for the stream; ends with a fault if another rank fails meanwhile, which the stream alone would not report.
void cuda_ranks_wait(Backend *b);

// The entry of lorac-nccl.so.
__attribute__((visibility("default"))) const RanksLibrary *lorac_nccl(void);

C_END
