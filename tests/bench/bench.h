// bench: what the benchmarks share: random operands and the best time of several runs.
#pragma once

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

// n floats in (-1, 1), owned by the caller (free).
static inline float *bench_floats(int64_t n) {
    float *p = aligned_alloc(64, ((size_t)n * sizeof *p + 63) / 64 * 64);
    CHECK(p, "no memory for %lld floats", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        uint32_t words[4];
        rng_philox((RngKey){.seed = 1}, (uint32_t)(i & 0xFFFFFF), (uint32_t)(i >> 24), words);
        p[i] = rng_symmetric(words[0]);
    }
    return p;
}

// Seconds of the fastest of several runs of `run(arg)`, for about `budget` seconds in all.
static inline double bench_seconds(void (*run)(void *), void *arg, double budget) {
    double best = 1e30, begin = omp_get_wtime();
    run(arg);
    for (int i = 0; i < 3 || omp_get_wtime() - begin < budget; i++) {
        double start = omp_get_wtime();
        run(arg);
        double seconds = omp_get_wtime() - start;
        best = seconds < best ? seconds : best;
    }
    return best;
}
