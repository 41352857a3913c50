// optimizer: AdamW over the adapter's flat buffer, and the order-free sum of the rows' gradients.
//
// Each row's gradient is added in 64-bit fixed point, so results are bit-identical for any split of a step into
// micro-batches and ranks. One integer vector holds all that is summed over the ranks: the gradients, a flag for a
// gradient that was not finite, and the caller's counts.
#pragma once

#include "adapter.h"

typedef struct OptimizerOptions {
    double beta1, beta2, epsilon, weight_decay, max_grad_norm; // max_grad_norm 0: no clipping
    double loraplus_ratio;                                     // learning rate of B and magnitudes relative to A
} OptimizerOptions;

typedef struct Optimizer {
    Adapter *adapter; // borrowed; its grad is the working buffer
    OptimizerOptions options;
    float *m, *v;                 // device, adapter->count
    int64_t *sum;                 // device, adapter->count, unit 2^-44; the next three follow it in memory
    int64_t *bad;                 // not 0: an added gradient was not finite
    int64_t *counts;              // [n_counts] of the caller
    double *square;               // of the norm, before clipping
    int64_t n_counts, *host_tail; // *bad, counts and *square, downloaded
    float unscale;                // what added gradients are multiplied by, a power of 2: 1 / the loss scale
    AdamwSegment *segments;
    int64_t updates; // AdamW steps done
} Optimizer;

Optimizer *optimizer_new(Adapter *a, const OptimizerOptions *o, int64_t n_counts);
void optimizer_free(Optimizer *o);
void optimizer_begin(Optimizer *o); // a new step: the sum and the counts are 0
void optimizer_begin_row(Optimizer *o);
void optimizer_end_row(Optimizer *o, int64_t rows_in_step);
void optimizer_reduce(Optimizer *o); // sum, flag and counts become those of all ranks
// Queues clipping and AdamW; the device skips the update if the gradient is not finite.
void optimizer_queue(Optimizer *o, double learning_rate);
// Waits for the update. False: the gradient was not finite and nothing has changed. *norm: before clipping. *counts
// (may be NULL): valid until the next call.
bool optimizer_fetch(Optimizer *o, double *norm, const int64_t **counts);
