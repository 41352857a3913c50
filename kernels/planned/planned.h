// planned: a GPU that is not there, for `plan`: it says what everything would take and computes nothing.
//
// Sizes are those of the CUDA backend (cuda/sizes.h) with its own kernels; libraries that are asked on the device
// itself (cuDNN) may want a little more.
#pragma once

#include "kernels.h"

typedef struct PlannedDevice {
    const char *name; // at most as long as Backend.name
    int capability;   // 90 for 9.0
    size_t memory;    // bytes
} PlannedDevice;

// Refuses what the real one would: types it has not, FP8 below compute capability 8.9. Allocations give addresses that
// must not be followed, and ops are not there.
int backend_open_planned(Backend **b, const PlannedDevice *d, const BackendOptions *o, Err *err);
