// merge_quality: how far the next-token distributions of a merged model are from those of base and adapter.
#pragma once

#include "adapter.h"
#include "run_data.h"

typedef struct MergeQuality {
    int64_t tokens, same; // supervised tokens compared; those whose most likely token is the same
    double kl;            // mean KL divergence of merged from adapter, nats per token
} MergeQuality;

// Over the evaluation data of d, sample by sample, up to a few thousand supervised tokens. The adapter is applied in
// float32 to the expanded base, which is what a merge to f32 computes: the numbers are those of the written type
// against f32, too.
int merge_quality(MergeQuality *q, const Model *base, const Adapter *a, const Model *merged, const RunData *d,
                  Err *err);
