// roofline: estimates the time of a planned pass, op by op: an op is limited either by its arithmetic or by the bytes
// that it moves (Williams et al. 2009).
#pragma once

#include "autograd.h"

// Data sheet of an NVIDIA GPU.
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

// Rates that a device reaches in practice.
typedef struct Roof {
    double products, head, attention; // FLOP per second: of matrix products in layers, in the head, of attention
    double bandwidth, host_bandwidth; // bytes per second, of the device's memory and to host memory and back
    double launch;                    // minimum seconds per op
} Roof;

// Of a GPU from its data sheet, for the dtypes of b.
Roof roof_of_gpu(const GpuSpec *g, const Backend *b);
// FLOP/s of the frozen product of rows [512, 1024] by a dense matrix [1024, 1024] in the activation type: the best of
// five, a fraction of a second in all.
double product_rate(Backend *b);
Roof roof_of_cpu(Backend *b); // by product_rate

// Seconds of ops, and of copies between host memory and the device, which run concurrently.
typedef struct RoofTime {
    double ops, copies;
} RoofTime;
// Of a planned tape. keys: mean number that a token attends to; tape_keys: the same for samples of equal length, as the
// tape assumes.
RoofTime roofline_seconds(const Roof *r, const Tape *t, double keys, double tape_keys);
