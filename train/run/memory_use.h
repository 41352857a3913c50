// memory_use: what this process uses and may use, from /proc and the cgroup.
#pragma once

#include "kernels.h"

// 0 where the system does not say.
size_t memory_peak(void);         // VmHWM
size_t memory_device(Backend *b); // what the backend holds on its device, which only grows in a run; 0 in host memory
size_t memory_resident(void);     // VmRSS
size_t memory_free(void);         // least of MemAvailable and what the control groups leave (cgroup.h)
