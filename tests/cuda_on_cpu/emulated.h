// emulated: opening the CUDA backend over the emulated device in a test, and what a test may set on that device.
//
// The emulated device runs the kernels of kernels/cuda as host code, each thread of a block a fiber. A kernel that
// breaks a rule (a barrier that not all threads reach, a read of uninitialised shared memory, a write beyond an array)
// ends the process with one line that names kernel, block and source line. Streams put work off until somebody waits.
// In the module build/emulated/lorac-cuda.so the same settings come from the environment: LORAC_EMULATED_MEMORY
// (bytes), LORAC_EMULATED_FAIL_LAUNCH (n), LORAC_EMULATED_ORDER (ascending, descending, shuffled),
// LORAC_EMULATED_CUDNN (set: there is one), LORAC_EMULATED_FAIL_RECORDING (the number of an EmulatedRecording),
// LORAC_EMULATED_DEVICES, LORAC_EMULATED_FIRST_DEVICE (which of the machine's devices cuda:0 is: as a launcher shows
// each process its own).
#pragma once

#include "kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum EmulatedOrder { EMULATED_ASCENDING, EMULATED_DESCENDING, EMULATED_SHUFFLED } EmulatedOrder;

// The backend as lorac opens it, on device 0. activation: F32, BF16 or F16. Ends with backend_close.
int emulated_open(Backend **b, DType activation, Err *err);
int emulated_open_with(Backend **b, const BackendOptions *options, Err *err);

// For the devices of this process, before anything is opened or between tests.
void emulated_set_memory(size_t bytes);       // of each device; 0: 1 GiB
void emulated_set_devices(int n);             // 1 unless set
void emulated_set_order(EmulatedOrder order); // in which threads and blocks run
void emulated_fail_launch(uint64_t n);        // the n-th launch from now on fails (1: the next); 0: none
typedef enum {
    EMULATED_RECORDS,
    EMULATED_NO_BEGIN,
    EMULATED_NO_CALL,
    EMULATED_NO_END,
    EMULATED_NO_GRAPH
} EmulatedRecording;
void emulated_fail_recording(EmulatedRecording where); // of the next recording: what fails, once; or nothing
uint64_t emulated_launches(void);                      // kernels launched so far
size_t emulated_memory_used(void);                     // bytes of device memory that are allocated now
void emulated_set_capability(int major, int minor);    // 9.0 unless set
void emulated_set_cudnn(bool there);                   // what is opened from now on finds cuDNN, or not: unless set
void emulated_set_cudnn_workspace(size_t bytes);       // that its plans ask for: 1000 unless set

#ifdef __cplusplus
}
#endif
