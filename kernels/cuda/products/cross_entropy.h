// cross_entropy: loss, arg max and gradients of rows of logits, for both heads.
#pragma once

#include "cuda.h"

C_BEGIN

typedef struct CrossEntropy {
    const int32_t *targets; // [M]; -1: the row is ignored, its gradients are 0
    const PassState *state; // its grad_scale; NULL: gradients are not wanted
    float label_smoothing;  // 0: none
    float softcap;          // 0: none; else of logits c tanh(logits / c)
    RowLoss *rows;          // [M], written
    double *token_loss;     // [M], the losses alone; or NULL
    int32_t *predicted;     // [M] or NULL: arg max (lowest index wins ties), -1 for a row with a NaN and for padding
} CrossEntropy;

// logits [M, V], F32, F16 or BF16, become grad_scale * d(loss)/d(logits) in place where gradients are wanted. A row's
// numbers depend on that row alone.
void cuda_cross_entropy(Backend *b, Mat logits, const CrossEntropy *c);
// The same with soft targets; kept: [M, k], written.
void cuda_soft_cross_entropy(Backend *b, Mat logits, const CrossEntropy *c, const SoftTargets *s, float *kept);
// *result = the sums of m rows, over a tree fixed by m.
void cuda_total_loss(Backend *b, HeadResult *result, const RowLoss *rows, int64_t m);
// dst = src, float32, rounded to dst's type.
void cuda_round_rows(Backend *b, Mat dst, Mat src);

C_END
