// roofline: estimates the time of a planned pass, op by op: an op is limited either by its arithmetic or by the bytes
// that it moves (Williams et al. 2009).
#pragma once

#include "autograd.h"
#include "gpu_table.h"

// Rates that a device reaches in practice.
typedef struct Roof {
    double products, head, attention; // FLOP per second: of matrix products in layers, in the head, of attention
    double bandwidth, host_bandwidth; // bytes per second, of the device's memory and to host memory and back
    double launch;                    // minimum seconds per op
} Roof;

// Of a GPU from its data sheet, for the dtypes of b.
Roof roof_of_gpu(const GpuSpec *g, const Backend *b);
// Of this CPU, measured with a matrix product that takes a fraction of a second.
Roof roof_of_cpu(Backend *b);

// Of a planned tape. keys: mean number that a token attends to; tape_keys: the same for samples of equal length, as the
// tape assumes.
double roofline_seconds(const Roof *r, const Tape *t, double keys, double tape_keys);
