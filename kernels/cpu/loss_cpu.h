// loss_cpu: the state of a head's loss, for loss_cpu.c and what soft targets add to it, soft_targets_cpu.c.
#pragma once

#include "gemm.h"

// Softmax state of one row over one slice of the vocabulary.
typedef struct RowState {
    double others;  // sum of exp(logit - max) without the target; after finish_row: the loss
    double logits;  // sum of the logits (label smoothing only); of soft targets after finish_row: the hard loss
    double soft;    // as `others`, of exp((logit - max) / T) (temperature only); after finish_row: the soft loss
    float max;      // largest logit
    float target;   // the target's logit, -inf while not seen
    int32_t argmax; // lowest index of the largest logit
} RowState;

typedef struct Head {
    Backend *b;
    const Weight *w;
    const HeadLoss *h;
    Mat x, dx;
    int64_t slices, slice_rows, step; // slices of slice_rows rows of W, `step` of each expanded at a time
    Act *panels;                      // [slices, step, C] expanded rows of W
    Part *transposed, *packed;        // the same, packed: W^T for the logits, W for dx
    Part *parts, *left;               // of x; [threads] of the left side of a product
    Left rows;                        // x
    float *tiles;                     // [threads, TILE_M, step] logits, then exponentials
    Act *factors;                     // [threads, TILE_M, step] the same, rounded
    float *sums;                      // [slices, M, C] sums for dx
    Act *target_rows;                 // [threads, C]
    double *column_sum;               // [C] sum of the rows of W (label smoothing without a soft cap)
    bool smooth_capped, tempered;     // label smoothing with a soft cap; soft targets with T != 1: the next two
    float *second_sums;               // [slices, M, C] products of the seconds with W
    Act *seconds;                     // [threads, TILE_M, step] e/V dl/dx; exp((l - max) / T) dl/dx
    float *kept;                      // [M, k] logits of the soft targets
    RowState *states;                 // [slices, M]
} Head;

static inline float *sum_row(const Head *a, int64_t slice, int64_t m) {
    return a->sums + (slice * a->x.rows + m) * a->w->cols;
}

static inline float *second_row(const Head *a, int64_t slice, int64_t m) {
    return a->second_sums + (slice * a->x.rows + m) * a->w->cols;
}

// Takes the logits of row m's soft targets out of x, those of rows [at, at + n) of W.
#define cpu_keep_soft CPU_FN(keep_soft)
void cpu_keep_soft(const Head *a, int64_t m, float *x, int64_t at, int64_t n);
// out (NULL: not wanted) = exp((x - max) factor) dl/dx; returns the sum of the exponentials. cap 0: none.
#define cpu_tempered_exponentials CPU_FN(tempered_exponentials)
float cpu_tempered_exponentials(Act *out, const float *x, int64_t n, float max, float factor, float cap);
// The loss of row m, whose slices are merged into *all, and its dx; all->logits and all->soft become its parts.
#define cpu_finish_soft CPU_FN(finish_soft)
double cpu_finish_soft(const Head *a, int64_t m, RowState *all);
