// moe_block: the feed-forward of a layer of routed experts (l->experts), on the ops of autograd/ops_moe.c.
#pragma once

#include "model.h"

// The inner activations of the chosen experts for h, scaled by their weights, and the routing.
Tensor *moe_mid(Tape *t, const ModelConfig *c, const ModelLayer *l, Tensor *h, MoeRouting *r);
// residual + the sum of the chosen experts' outputs.
Tensor *moe_down(Tape *t, const ModelConfig *c, const ModelLayer *l, Tensor *mid, Tensor *residual,
                 const MoeRouting *r);
