// cuda_open: the CUDA backend over the emulated device, for tests.
#pragma once

#include "emulated.h"
#include "test.h"

static Backend *open_emulated(DType activation) {
    Err err;
    Backend *b = NULL;
    emulated_set_memory((size_t)512 << 20); // what the backend takes for itself follows the device's size
    ASSERT_OK(emulated_open(&b, activation, &err), &err);
    return b;
}
