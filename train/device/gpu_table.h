// gpu_table: what NVIDIA's data sheets say of the GPUs that `plan` knows by name.
#pragma once

typedef struct GpuSpec {
    const char *key;  // as `--gpu` takes it: "h100"
    const char *name; // in what the driver calls it: "H100" in "NVIDIA H100 80GB HBM3"
    int capability;   // 90 for 9.0
    double memory;    // bytes, as advertised; the driver shows 0.6 to 7 % more
    double bandwidth; // bytes per second
    // FLOP per second, dense, summed in float32; 0: not there
    double f32, tf32, bf16, fp8;
} GpuSpec;

// All keys, for messages and help.
#define GPU_KEYS "a100, a10, a6000, rtx3090, l4, l40s, rtx4090, h100, h200, b200, rtx5090"

// By key, or by the name that a driver gives; NULL: not in the table, as its slower relatives are not ("H100 PCIe",
// "RTX 4090 Laptop GPU").
const GpuSpec *gpu_by_key(const char *key);
const GpuSpec *gpu_by_name(const char *name);
