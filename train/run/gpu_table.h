// gpu_table: what NVIDIA's data sheets say of the GPUs that `plan` knows by name.
#pragma once

#include <stddef.h>

typedef struct GpuSpec {
    const char *key;  // as `--gpu` takes it: "h100"
    const char *name; // what its driver calls it begins with or contains this: "H100"
    int capability;   // 90 for 9.0
    double memory;    // bytes
    double bandwidth; // bytes per second
    // FLOP per second, dense, summed in float32; 0: not there
    double f32, tf32, bf16, fp8;
} GpuSpec;

// By key, or by the name that a driver gives (the longest name that fits); NULL: not in the table.
const GpuSpec *gpu_by_key(const char *key);
const GpuSpec *gpu_by_name(const char *name);
// "a100, h100, ..."; for messages.
const char *gpu_keys(void);
