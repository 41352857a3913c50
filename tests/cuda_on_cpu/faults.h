// faults: what the tests of the emulated device call in faults.cu.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// Kernels that the emulated device must refuse, by name. True: the result holds NaN.
int fault_count(void);
const char *fault_name(int i);
bool fault_run(const char *name);
void fault_partial_warp(void); // a full mask in a block of 40 threads

// Kernels that move data between threads, with and without the barrier that they need.
int shift_count(void);
const char *shift_name(int i);
bool shift_is_right(int i, bool wait);
int count_blocks(bool atomic, int blocks); // each block adds 1

// Error of a launch of that many threads with that much dynamic shared memory. allow: after cudaFuncSetAttribute.
int launch_error(unsigned threads, size_t shared, bool allow);

#ifdef __cplusplus
}
#endif
