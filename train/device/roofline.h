// roofline: how long a planned pass takes at the least, op by op: what limits an op is either its arithmetic or the
// bytes that it moves (Williams et al. 2009). An estimate, not a promise.
#pragma once

#include "autograd.h"
#include "gpu_table.h"

// What a device reaches in practice.
typedef struct Roof {
    double products, head, attention; // FLOP per second: of layers' products, of the head's, of attention
    double bandwidth, host_bandwidth; // bytes per second, of the device's memory and to host memory and back
    double launch;                    // seconds that an op takes at the least
} Roof;

// Of a GPU from its data sheet, with activations and products as b has them.
Roof roof_of_gpu(const GpuSpec *g, const Backend *b);
// Of this machine's CPU, by a product of matrices that takes a fraction of a second.
Roof roof_of_cpu(Backend *b);

// Of a planned tape. keys: that a token sees on the average; tape_keys: the same if all samples were equally long, as
// the tape takes them.
double roofline_seconds(const Roof *r, const Tape *t, double keys, double tape_keys);
