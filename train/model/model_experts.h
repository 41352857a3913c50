// model_experts: the names of a layer's router and experts in the layouts that files have.
#pragma once

#include "weight_source.h"

// Names after the layer's prefix; the first layout that the file has is used.
typedef struct ExpertNames {
    const char *router;
    const char *gate, *up, *down; // of one expert, "%d" is its number; NULL gate: stacked
    const char *gates, *ups, *downs, *gate_ups;
    const char *router_bias, *gate_biases, *up_biases, *down_biases, *gate_up_biases; // of a family that has them
    bool interleaved; // of the family with this router alone: gate_ups has gate and up by turns, and both stacked
                      // tensors are [in, out] but in MXFP4
} ExpertNames;

// The layout of the layer in the files; without experts there, that of the family's published files, whose tensors are
// then reported as missing. router: of the family (TensorNames).
const ExpertNames *model_expert_names(const WeightSource *source, const char *router, const char *prefix);
