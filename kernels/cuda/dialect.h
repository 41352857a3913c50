// dialect: macros for the syntax that only nvcc accepts, so that a host compiler compiles the .cu files too (tests run
// every kernel as host code on an emulated device, which defines these macros before this file is included).
#pragma once

// LAUNCH(kernel, grid, block, bytes of dynamic shared memory, stream, arguments...); a template in parentheses:
// LAUNCH((kernel<64, 64>), ...). Use RUN of device.cuh, which also checks for faults.
#ifndef LAUNCH
#define LAUNCH(kernel, grid, block, shared, stream, ...) kernel<<<(grid), (block), (shared), (stream)>>>(__VA_ARGS__)
#endif

// now = nanoseconds of the device's clock.
#ifndef DEVICE_NANOSECONDS
#define DEVICE_NANOSECONDS(now) asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now))
#endif

// SHARED(float, tile, [16][17]): an array of the block. DYN_SHARED(float, tile): the launch's dynamic shared memory.
#ifndef SHARED
#define SHARED(type, name, dimensions) __shared__ type name dimensions
#endif
#ifndef DYN_SHARED
#define DYN_SHARED(type, name)                                                                                         \
    extern __shared__ __align__(128) unsigned char dynamic_shared[];                                                   \
    type *name = reinterpret_cast<type *>(dynamic_shared)
#endif
