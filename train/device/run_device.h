// run_device: the backend that a run or a verb computes on. The one place of the product that opens it.
#pragma once

#include "enum_words.h"
#include "gpu_table.h"
#include "kernels.h"

// Type of the activations, as the config names it.
#define DTYPE_WORDS(X)                                                                                                 \
    X(DTYPE_WORD_AUTO, "auto", "bf16 on a GPU, f32 on the CPU")                                                        \
    X(DTYPE_WORD_F32, "f32", NULL)                                                                                     \
    X(DTYPE_WORD_TF32, "tf32", "f32 with products in TF32")                                                            \
    X(DTYPE_WORD_BF16, "bf16", NULL)                                                                                   \
    X(DTYPE_WORD_F16, "f16", NULL)                                                                                     \
    X(DTYPE_WORD_FP8, "fp8", "bf16 with products of frozen weights in 8 bits")
typedef enum { DTYPE_WORDS(ENUM_CONSTANT) N_DTYPE_WORDS } DtypeWord;

bool run_device_is_word(const char *device);
#define RUN_DEVICE_EXPECTED "auto, cpu, cuda or cuda:N" // what it accepts
// device NULL: auto, the GPU where module, driver and device are there, else the CPU. dtype auto: bf16 on a GPU, f32 on
// the CPU, which has nothing else. note (may be NULL): why auto took the CPU, where that can be said.
int run_device_open(Backend **b, const char *device, DtypeWord dtype, Err *note, Err *err);
// Collective: on all ranks or on none. One rank's: as above. "auto" and "cuda" are the GPU number local_rank of those
// that the rank sees (srun --gpus-per-task shows each its own one); all ranks compute on the same kind of device, and
// no two of them on one GPU. `threads` of the CPU where there are several ranks.
int run_device_open_rank(Backend **b, const char *device, DtypeWord dtype, int threads, Group *g, Err *note, Err *err);
// GPUs that this process sees; 0 where module or driver are absent too. Makes no context (backend_gpus).
int run_device_gpus(void);
// A GPU ("cuda", "cuda:N"), with one kind of its attention.
int run_device_open_gpu(Backend **b, const char *device, DtypeWord dtype, AttentionKind kind, Err *err);

// Whether the device has failed, asked while nothing is trained yet: short memory is EXIT_NO_FIT.
int run_device_check(Backend *b, Err *err);

// A GPU that is not there (planned.h), for `plan`.
int run_device_plan(Backend **b, const GpuSpec *gpu, DtypeWord dtype, Err *err);

const char *run_device_kind(const Backend *b);     // "cpu", "cuda": what a run cannot change
const char *run_device_dtype(const Backend *b);    // "f32", "tf32", "bf16", "f16", "fp8"
void run_device_describe(StrBuf *out, Backend *b); // "cpu (cpu-v4), f32, 2 threads"
