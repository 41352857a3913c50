// moe_block: the feed-forward of a layer of routed experts, on the ops of autograd/ops_moe.c.
#pragma once

#include "model.h"

// residual + the weighted sum of the chosen experts' outputs for h. l->experts is there.
Tensor *moe_block(Tape *t, const ModelConfig *c, const ModelLayer *l, Tensor *h, Tensor *residual);
