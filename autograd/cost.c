// cost: what an instruction of the plan reads, writes and multiplies, for estimates of time (tape_cost).
#include "tape.h"

// Activations that an instruction reads and writes.
static double activation_bytes(const Tape *t, const Node *n, bool backward) {
    double sum = backward ? (double)n->out[0]->bytes : 0;
    for (int i = 0; i < n->n_in; i++) {
        if (!backward || n->reads_in >> i & 1) sum += (double)n->in[i]->bytes;
        if (backward && n->in[i]->needs_grad) sum += (double)n->in[i]->bytes;
    }
    bool only_forward = n->op->makes_grad && t->mode == TAPE_FORWARD; // its output, a gradient, is not written
    for (int i = 0; i < n->n_out && !only_forward; i++)
        if (!backward || n->reads_out >> i & 1) sum += (double)n->out[i]->bytes;
    return sum;
}

TapeCost tape_cost(const Tape *t, int64_t instruction) {
    CHECK(instruction >= 0 && instruction < (int64_t)t->n_instructions);
    const Instruction *in = &t->instructions[instruction];
    if (in->kind == INSTRUCTION_STAGE)
        return (TapeCost){.op = TAPE_OP_OFFLOAD, .bytes = (double)t->stages->bytes[in->stage]};
    if (in->kind != INSTRUCTION_RUN)
        return (TapeCost){.op = TAPE_OP_OFFLOAD, .bytes = in->moved ? (double)in->moved->bytes : 0};
    const Node *n = &t->nodes[in->node];
    const Op *op = n->op;
    TapeCost cost = {
        .op = op->id, .backward = in->backward, .bytes = activation_bytes(t, n, in->backward) + n->parameter_bytes};
    if (op->id == TAPE_OP_ROPE) cost.bytes *= (double)n->args.rope.cols / (double)n->in[0]->cols; // of a part of it
    if (op->flops) cost.flops += op->flops(n, in->backward);
    if (op->inner_flops) cost.flops += op->inner_flops(n, in->backward);
    return cost;
}

// A device holds dense weights in the type of activations.
double cost_weight_bytes(const Tape *t, const Weight *w) {
    const Backend *b = t->backend;
    double sum = 0;
    for (int i = 0; i < w->n_segments; i++) {
        const WeightSegment *s = &w->segments[i];
        bool converted = !b->host_memory && dtype_info(s->dtype)->block == 1 && s->dtype <= DTYPE_BF16;
        size_t row = 0;
        dtype_bytes(converted ? b->activation : s->dtype, (size_t)w->cols, &row);
        sum += (double)row * (double)s->rows;
    }
    return sum;
}
