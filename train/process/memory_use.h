// memory_use: what this process uses and may use, from /proc and the cgroup.
#pragma once

#include "kernels.h"

// 0 where the system does not say.
size_t memory_peak(void);         // VmHWM
size_t memory_device(Backend *b); // what the backend holds on its device, which only grows in a run; 0 in host memory
size_t memory_resident(void);     // VmRSS
// What may still be allocated where b computes: up to max_memory in all, or, where that is 0, 90% of what is free.
size_t memory_room(Backend *b, int64_t max_memory);
size_t memory_free(void); // least of MemAvailable and what the control groups leave (cgroup.h)
