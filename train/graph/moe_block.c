#include "moe_block.h"

Tensor *moe_mid(Tape *t, const ModelConfig *c, const ModelLayer *l, Tensor *h, MoeRouting *r) {
    const Weight *gates = l->experts, *ups = gates + c->experts;
    Tensor *logits = op_linear(t, h, &l->router, NULL, NULL, 0);
    *r = op_moe_route(t, logits, c->experts_used, c->renormalise_experts);
    Tensor *x = op_moe_gather(t, h, r);
    Tensor *gate = op_grouped_linear(t, x, gates, r), *up = op_grouped_linear(t, x, ups, r);
    return op_moe_scale(t, op_glu(t, gate, up, c->glu), r);
}

Tensor *moe_down(Tape *t, const ModelConfig *c, const ModelLayer *l, Tensor *mid, Tensor *residual,
                 const MoeRouting *r) {
    return op_moe_combine(t, op_grouped_linear(t, mid, l->experts + 2 * c->experts, r), residual, r);
}
