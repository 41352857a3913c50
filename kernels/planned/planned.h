// planned: a GPU that this machine need not have, for `plan`: it reports memory sizes and computes nothing.
//
// The sizes are those of the CUDA backend (sizes.h), with cuDNN where that computes attention.
#pragma once

#include "kernels.h"

typedef struct PlannedDevice {
    const char *name; // at most as long as Backend.name
    int capability;   // 90 for 9.0
    size_t memory;    // bytes
} PlannedDevice;

// ERR_INPUT as the real device: FP8 below compute capability 8.9. Addresses from alloc must not be dereferenced; slots
// that compute are NULL.
int backend_open_planned(Backend **b, const PlannedDevice *d, const BackendOptions *o, Err *err);
