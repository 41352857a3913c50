// relative_error: how far a tensor is from the one of a golden file, as one number.
#pragma once

#include <math.h>

#include "test.h"

// |got - want| / |want| over all elements: norm-wise, so that one number stands for a tensor.
static double relative_error(const float *got, const float *want, size_t n) {
    double difference = 0, scale = 0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        scale += (double)want[i] * want[i];
    }
    assert_true(scale > 0);
    return sqrt(difference / scale);
}
