// run_device: opens the backend of a run or verb.
#pragma once

#include "enum_words.h"
#include "kernels.h"

// Type of the activations, as the config names it.
#define DTYPE_WORDS(X)                                                                                                 \
    X(DTYPE_WORD_AUTO, "auto", "bf16 on a GPU, f32 on the CPU")                                                        \
    X(DTYPE_WORD_F32, "f32", NULL)                                                                                     \
    X(DTYPE_WORD_TF32, "tf32", "f32 with float32_matmul_precision high")                                               \
    X(DTYPE_WORD_BF16, "bf16", NULL)                                                                                   \
    X(DTYPE_WORD_F16, "f16", NULL)                                                                                     \
    X(DTYPE_WORD_FP8, "fp8", "bf16 with products of frozen weights in 8 bits")
// All types: those, and one that the config names by float32_matmul_precision.
#define ALL_DTYPE_WORDS(X) DTYPE_WORDS(X) X(DTYPE_WORD_F32_MEDIUM, "f32 medium", NULL)
typedef enum { ALL_DTYPE_WORDS(ENUM_CONSTANT) N_DTYPE_WORDS } DtypeWord;

// float32_matmul_precision; the constants are those of MatmulPrecision.
#define PRECISIONS(X)                                                                                                  \
    X(PRECISION_HIGHEST, "highest", "float32")                                                                         \
    X(PRECISION_HIGH, "high", "on a CPU three products of bf16 parts, on a GPU TF32")                                  \
    X(PRECISION_MEDIUM, "medium", "operands rounded to bf16, on a CPU only")
// *dtype = the type of that name with this precision: auto and f32 become TF32 (high) or F32_MEDIUM. Refused for types
// that are not float32.
int run_device_set_precision(DtypeWord *dtype, MatmulPrecision precision, Err *err);
// The other way: what the config says for a type.
void run_device_config_words(DtypeWord dtype, const char **word, const char **precision);

bool run_device_is_word(const char *device);
typedef enum { DEVICE_NONE, DEVICE_AUTO, DEVICE_CPU, DEVICE_CUDA, DEVICE_CUDA_NUMBER } DeviceWord;
DeviceWord run_device_word(const char *device);         // NULL: DEVICE_AUTO; DEVICE_NONE: not a device
#define RUN_DEVICE_EXPECTED "auto, cpu, cuda or cuda:N" // what it accepts
// device NULL: auto: the GPU if module, driver and device are available, else the CPU. dtype auto: bf16 on a GPU, f32
// on the CPU. note (may be NULL): why auto chose the CPU, if known.
int run_device_open(Backend **b, const char *device, DtypeWord dtype, Err *note, Err *err);
// Collective: on all ranks or on none. "auto" and "cuda" select GPU local_rank % visible GPUs (srun --gpus-per-task
// shows each rank only its own); all ranks use the same kind of device, and no two the same GPU. `threads`: of the CPU,
// if there are several ranks.
int run_device_open_rank(Backend **b, const char *device, DtypeWord dtype, int threads, Group *g, Err *note, Err *err);
// GPUs visible to this process; 0 without module or driver. Creates no context (backend_gpus).
int run_device_gpus(void);
// A GPU ("cuda", "cuda:N"), with one kind of its attention.
int run_device_open_gpu(Backend **b, const char *device, DtypeWord dtype, AttentionKind kind, Err *err);

// Whether the device has failed before training; out of memory is ERR_NO_FIT.
int run_device_check(Backend *b, Err *err);

// A GPU that need not exist (planned.h), for `plan`.
struct GpuSpec;
int run_device_plan(Backend **b, const struct GpuSpec *gpu, DtypeWord dtype, Err *err);

const char *run_device_kind(const Backend *b);     // "cpu", "cuda"
const char *run_device_dtype(const Backend *b);    // a word of ALL_DTYPE_WORDS
void run_device_describe(StrBuf *out, Backend *b); // "cpu (cpu-v4), f32, 2 threads"
