// memory_use: memory that this process uses and may use, from /proc and the control groups.
#pragma once

#include "kernels.h"

// Bytes; 0: unknown.
size_t memory_peak(void);         // VmHWM
size_t memory_device(Backend *b); // held on the device, never shrinks during a run; 0 in host memory
size_t memory_resident(void);     // VmRSS
// What b may still allocate: up to max_memory in all, or, if that is 0, 90% of what is free.
size_t memory_room(Backend *b, int64_t max_memory);
size_t memory_free(void); // the smaller of MemAvailable and what the control groups leave (cgroup.h)
