// adamw: the arguments of the optimizer step (kernels.h).
#pragma once

#include "base.h"

C_BEGIN

// One named run of the flat trainable buffer for AdamW.
typedef struct AdamwSegment {
    int64_t offset, count;
    float lr_factor; // LoRA+ (Hayou et al. 2024): ratio for B, 1 for A
} AdamwSegment;
typedef struct Adamw {
    double lr, beta1, beta2, epsilon, weight_decay; // double: 1 - 0.999f is 1e-5 off, and PyTorch has it in double
    double max_grad_norm; // the gradient is multiplied by min(1, max_grad_norm / (sqrt(*square) + 1e-6)); 0: 1
    const double *square; // device: squared norm of the gradient. Not finite: the step is skipped
    const int64_t *bad;   // device: not 0: the step is skipped
    int64_t step;         // 1 for the first update (bias correction)
    const AdamwSegment *segments;
    int64_t n_segments;
} Adamw;

C_END
