// moe_block: the feed-forward of a layer of routed experts, on the ops of autograd/ops_moe.c. l->experts is there.
#pragma once

#include "model.h"

// The experts' inner activations for h, scaled by the weights of their choices, and who was chosen.
Tensor *moe_mid(Tape *t, const ModelConfig *c, const ModelLayer *l, Tensor *h, MoeRouting *r);
// residual + the sum of the chosen experts' outputs.
Tensor *moe_down(Tape *t, const ModelConfig *c, const ModelLayer *l, Tensor *mid, Tensor *residual,
                 const MoeRouting *r);
