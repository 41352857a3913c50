// toy: random numbers and dense weights for the small graphs of the tape's tests.
#pragma once

#include "kernels.h"

static void fill(float *p, int n, float base, float scale, uint32_t module) {
    for (int i = 0; i < n; i++) {
        uint32_t word[4];
        rng_philox((RngKey){.seed = 7, .module = module}, (uint32_t)i, 0, word);
        p[i] = base + scale * rng_symmetric(word[0]);
    }
}

static Weight dense(const char *name, const float *data, int rows, int cols) {
    Weight w = {.name = name, .n_segments = 1, .rows = rows, .cols = cols};
    w.segments[0] = (WeightSegment){.data = data, .dtype = DTYPE_F32, .rows = rows};
    return w;
}
