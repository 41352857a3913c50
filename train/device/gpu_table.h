// gpu_table: data sheets of the NVIDIA GPUs that `plan` knows by name.
#pragma once

typedef struct GpuSpec {
    const char *key;  // as `--gpu` takes it: "h100"
    const char *name; // part of the driver's name: "H100" in "NVIDIA H100 80GB HBM3"
    int capability;   // 90 for 9.0
    double memory;    // bytes, as advertised; the driver shows 0.6 to 7 % more
    double bandwidth; // bytes per second
    // FLOP per second, dense, accumulated in float32; 0: not supported
    double f32, tf32, bf16, fp8;
} GpuSpec;

// All keys, for messages and help.
#define GPU_KEYS "a100, a10, a6000, rtx3090, l4, l40s, rtx4090, h100, h200, b200, rtx5090"

// By key, or by the driver's name; NULL: not in the table, as slower variants ("H100 PCIe", "RTX 4090 Laptop GPU").
const GpuSpec *gpu_by_key(const char *key);
const GpuSpec *gpu_by_name(const char *name);
