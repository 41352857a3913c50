// optimizer: AdamW over the adapter's flat buffer, and the order-free sum of the rows' gradients.
//
// Each row's gradient is added in 64-bit fixed point, so any split of a step into micro-batches gives the same bits.
#pragma once

#include "adapter.h"

typedef struct OptimizerOptions {
    double beta1, beta2, epsilon, weight_decay, max_grad_norm; // max_grad_norm 0: no clipping
    double loraplus_ratio;                                     // learning rate of B relative to A
} OptimizerOptions;

typedef struct Optimizer {
    Adapter *adapter; // borrowed; its grad is the working buffer
    OptimizerOptions options;
    float *m, *v;   // device, adapter->count
    int64_t *sum;   // device, adapter->count, unit 2^-44
    int64_t *bad;   // device: nonzero when an added gradient was not finite
    double *square; // device
    AdamwSegment *segments;
    int64_t updates; // AdamW steps done
} Optimizer;

Optimizer *optimizer_new(Adapter *a, const OptimizerOptions *o);
void optimizer_free(Optimizer *o);
void optimizer_begin(Optimizer *o); // a new step: the sum is 0
void optimizer_begin_row(Optimizer *o);
void optimizer_end_row(Optimizer *o, int64_t rows_in_step);
// Clips and updates. False: the gradient is not finite and nothing was changed. *norm: before clipping.
bool optimizer_update(Optimizer *o, double learning_rate, double *norm);
