// all_backends: the reference and every float32 copy of the CPU backend that this machine can run, two threads each.
#pragma once

#include "kernels.h"

static Backend backends[4];
static int n_backends;

static int open_backends(void **state) { // a cmocka group set-up
    (void)state;
    const Kernels *const tables[] = {&kernels_ref, kernels_cpu(DTYPE_F32, PRECISION_HIGHEST, "base"),
                                     kernels_cpu(DTYPE_F32, PRECISION_HIGHEST, "v3"),
                                     kernels_cpu(DTYPE_F32, PRECISION_HIGHEST, "v4")};
    for (int i = 0; i < 4; i++)
        if (tables[i]) backends[n_backends++] = (Backend){.k = tables[i], .threads = 2};
    return 0;
}
