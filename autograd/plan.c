// plan: turns the recorded nodes into instructions and gives every buffer its place.
//
//   instructions: forward 0 .. n-1 | for each node that carries a gradient, last to first: recomputations, backward
//   arena:        [ kept: grows in forward, read by backward | temporary: everything else, reused within a block ]
//
// 1. keep_for_backward marks tensors that backward reads, unless they can be recomputed, and sources of recomputations.
// 2. emit_* append instructions; every version of a tensor, gradient and workspace is a Buffer from first to last use.
// 3. place_buffers walks the instructions once and takes places from the two regions.
// Recomputation is on demand and recursive, so a checkpointed range is replayed only as far as its backward reads.
#include "tape.h"

// May x, read by the backward of a node in `segment`, be recomputed by re-running its producer?
static bool is_remade(const Tape *t, const Tensor *x, int segment) {
    const Node *p = &t->nodes[x->producer];
    if (p->segment != NO_SEGMENT && p->segment == segment) return true;
    return p->op->cheap && x->output == 0 && (p->segment == NO_SEGMENT || segment == NO_SEGMENT);
}

static void keep_or_remake(Tape *t, Tensor *x, int segment) {
    if (x->external || x->keep) return;
    if (!is_remade(t, x, segment)) {
        x->keep = tensor_whole(x)->keep = true;
        return;
    }
    if (x->visited) return;
    x->visited = true;
    const Node *p = &t->nodes[x->producer];
    for (int i = 0; i < p->n_in; i++) keep_or_remake(t, p->in[i], p->segment);
}

static bool carries_grad(const Node *n) { return n->n_out > 0 && n->out[0]->needs_grad && n->op->backward; }

static void keep_for_backward(Tape *t) {
    for (size_t i = 0; i < t->n_nodes; i++) {
        const Node *n = &t->nodes[i];
        if (!carries_grad(n)) continue;
        for (int k = 0; k < n->n_in; k++) {
            if (!(n->reads_in >> k & 1)) continue;
            CHECK(!n->in[k]->overwritten, "%s reads in backward what is overwritten", tape_op_name(n->op->id));
            keep_or_remake(t, n->in[k], n->segment);
        }
        for (int k = 0; k < n->n_out; k++)
            if (n->reads_out >> k & 1) keep_or_remake(t, n->out[k], n->segment);
    }
}

// ---- emitting ----

int buffer_new(Tape *t, size_t bytes, bool keep) {
    MEM_GROW(t->buffers, t->buffer_capacity, t->n_buffers + 1);
    int now = (int)t->n_instructions;
    t->buffers[t->n_buffers] = (Buffer){.bytes = bytes, .place = PLACE_NONE, .first = now, .last = now, .keep = keep};
    return (int)t->n_buffers++;
}

void buffer_touch(Tape *t, int buffer) {
    if (buffer != NO_BUFFER) t->buffers[buffer].last = (int)t->n_instructions;
}

Instruction *instruction_add(Tape *t, InstructionKind kind, int node, bool backward) {
    Instruction in = {.kind = kind, .node = node, .backward = backward, .ws_buffer = NO_BUFFER};
    for (int i = 0; i < NODE_MAX_INPUTS; i++) in.buffers[i] = NO_BUFFER;
    const Op *op = kind == INSTRUCTION_RUN ? t->nodes[node].op : NULL;
    size_t ws = op && op->workspace ? op->workspace(&t->nodes[node], t->backend, backward) : 0;
    if (t->shares_workspace && ws > t->most_workspace) t->most_workspace = ws;
    if (ws && !t->shares_workspace) in.ws_buffer = buffer_new(t, ws, false);
    MEM_GROW(t->instructions, t->instruction_capacity, t->n_instructions + 1);
    t->instructions[t->n_instructions] = in;
    return &t->instructions[t->n_instructions];
}

// again: recomputation for backward; its outputs are temporary, but those that were kept are written to their place.
static void emit_forward(Tape *t, int node, bool again) {
    const Node *n = &t->nodes[node];
    if (n->op->view) {
        n->out[0]->buffer = n->in[0]->buffer;
        return;
    }
    stages_before(t, node);
    if (n->op->id == TAPE_OP_TURN) t->turn = t->n_instructions;
    Instruction *in = instruction_add(t, INSTRUCTION_RUN, node, false);
    for (int i = 0; i < n->n_in; i++) buffer_touch(t, n->in[i]->buffer);
    for (int i = 0; i < n->n_out; i++) {
        Tensor *x = n->out[i];
        if (x->external || (n->op->makes_grad && t->mode == TAPE_FORWARD)) continue;
        if (i == 0 && n->op->in_place) {
            CHECK(!n->in[0]->keep, "%s works in place on a tensor that backward reads", tape_op_name(n->op->id));
            x->buffer = n->in[0]->buffer;
            n->in[0]->buffer = NO_BUFFER;
            if (x->keep && !again) t->buffers[x->buffer].keep = true;
        } else if (x->buffer == NO_BUFFER) {
            x->buffer = buffer_new(t, x->bytes, !again && x->keep && x->waiting == NOT_WAITING);
        }
        buffer_touch(t, x->buffer);
        in->buffers[i] = x->buffer;
    }
    t->n_instructions++;
    if (!n->op->flops) return;
    *(again ? &t->stats.recompute_flops : &t->stats.forward_flops) += n->op->flops(n, false);
}

static void ensure(Tape *t, Tensor *x) {
    offload_arrive(t, x);
    if (x->external || x->buffer != NO_BUFFER) return;
    const Node *p = &t->nodes[x->producer];
    for (int i = 0; i < p->n_in; i++) ensure(t, p->in[i]);
    emit_forward(t, x->producer, true);
    if (!p->op->view) t->stats.recomputed++;
}

// Whether the gradients of both inputs of a sum may share dout's memory. The first must be read before anything is
// added to the second: its producer's backward must come next, and neither write to this memory nor overwrite dout.
static bool may_share(const Tape *t, const Tensor *first, const Tensor *second, int node) {
    if (first->producer == NO_NODE || first->producer != node - 1) return false;
    const Node *p = &t->nodes[first->producer];
    for (int i = 0; i < p->n_in; i++)
        if (p->in[i] == second || p->in[i]->grad_buffer == first->grad_buffer) return false;
    return !p->passes_grad;
}

// The instruction being emitted writes the gradient of in[i] or, if it exists already, adds to it.
static void emit_input_grad(Tape *t, const Node *n, int i, Instruction *in) {
    Tensor *x = n->in[i], *out = n->out[0], *whole = tensor_whole(x);
    if (!x->needs_grad) return;
    bool passes = n->passes_grad >> i & 1 && x->whole == out->whole;
    for (int k = 0; k < i && passes; k++)
        if (in->buffers[k] == out->grad_buffer) passes = may_share(t, n->in[k], x, in->node);
    if (x->grad_buffer != NO_BUFFER) {
        in->accumulate |= 1u << i;
    } else if (passes) {
        x->grad_buffer = out->grad_buffer;
    } else if (n->op->grads_over_inputs && !x->whole && !x->external) {
        x->grad_buffer = x->buffer;
        x->buffer = NO_BUFFER;
    } else {
        if (whole->grad_buffer == NO_BUFFER) whole->grad_buffer = buffer_new(t, whole->bytes, false);
        x->grad_buffer = whole->grad_buffer;
    }
    buffer_touch(t, x->grad_buffer);
    in->buffers[i] = x->grad_buffer;
}

// The views' gradients must make up the whole's: nothing clears its memory.
static void check_graded(const Tensor *x, const Op *op) {
    if (x->whole || x->graded_elements == 0) return;
    int64_t wanted = x->part_needs_grad ? x->needs_elements : x->rows * x->cols;
    CHECK(x->graded_elements >= wanted, "%s: %ld of %ld elements have a gradient", tape_op_name(op->id),
          x->graded_elements, wanted);
}

static void emit_backward(Tape *t, int node) {
    const Node *n = &t->nodes[node];
    if (n->op->makes_grad && n->in[0]->needs_grad) {
        CHECK(n->in[0]->grad_buffer == NO_BUFFER, "%s must be the last reader of its input", tape_op_name(n->op->id));
        n->in[0]->grad_buffer = n->out[0]->buffer;
        return;
    }
    if (n->op->view && n->out[0]->grad_buffer != NO_BUFFER)
        n->in[0]->graded_elements += n->out[0]->rows * n->out[0]->cols;
    if (!carries_grad(n) || n->out[0]->grad_buffer == NO_BUFFER) return;
    check_graded(n->out[0], n->op);
    for (int i = 0; i < n->n_in; i++)
        if (n->reads_in >> i & 1) ensure(t, n->in[i]);
    for (int i = 0; i < n->n_out; i++)
        if (n->reads_out >> i & 1) ensure(t, n->out[i]);
    stages_before(t, node);
    Instruction *in = instruction_add(t, INSTRUCTION_RUN, node, true);
    for (int i = 0; i < n->n_in; i++)
        if (n->reads_in >> i & 1) buffer_touch(t, n->in[i]->buffer);
    for (int i = 0; i < n->n_out; i++)
        if (n->reads_out >> i & 1) buffer_touch(t, n->out[i]->buffer);
    buffer_touch(t, n->out[0]->grad_buffer);
    for (int i = 0; i < n->n_in; i++) emit_input_grad(t, n, i, in);
    t->n_instructions++;
    if (n->op->flops) t->stats.backward_flops += n->op->flops(n, true);
}

static void emit_all(Tape *t) {
    for (size_t i = 0; i < t->n_nodes; i++) {
        emit_forward(t, (int)i, false);
        offload_after(t, (int)i);
    }
    if (t->mode == TAPE_FORWARD) return;
    offload_turn(t);
    for (size_t i = 0; i < t->n_tensors; i++) {
        Tensor *x = tape_tensor_at(t, i);
        bool made = x->producer != NO_NODE && t->nodes[x->producer].op->makes_grad;
        if (!tensor_whole(x)->keep && !made) x->buffer = NO_BUFFER;
    }
    for (size_t i = t->n_nodes; i-- > 0;) emit_backward(t, (int)i);
}

// ---- placing ----

static void chain_endings(Tape *t) {
    MEM_GROW(t->ending, t->ending_capacity, t->n_instructions);
    for (size_t i = 0; i < t->n_instructions; i++) t->ending[i] = NO_BUFFER;
    for (size_t b = 0; b < t->n_buffers; b++) {
        Buffer *buffer = &t->buffers[b];
        buffer->next_ending = t->ending[buffer->last];
        t->ending[buffer->last] = (int)b;
    }
}

static void place_buffers(Tape *t) {
    chain_endings(t);
    region_reset(t->regions[0]);
    region_reset(t->regions[1]);
    size_t next = 0; // buffers are in order of their first instruction
    for (size_t i = 0; i < t->n_instructions; i++) {
        for (; next < t->n_buffers && t->buffers[next].first == (int)i; next++) {
            Buffer *b = &t->buffers[next];
            b->place = region_take(t->regions[!b->keep], b->bytes);
        }
        for (int e = t->ending[i]; e != NO_BUFFER; e = t->buffers[e].next_ending)
            region_give(t->regions[!t->buffers[e].keep], t->buffers[e].place, t->buffers[e].bytes);
    }
    for (size_t b = 0; b < t->n_buffers; b++)
        if (!t->buffers[b].keep) t->buffers[b].place |= PLACE_TEMPORARY;
    t->stats.kept_bytes = region_peak(t->regions[0]);
    t->stats.temporary_bytes = region_peak(t->regions[1]);
}

size_t tape_plan(Tape *t, TapeMode mode) {
    CHECK(t->segment == NO_SEGMENT, "a checkpointed range is still open");
    t->mode = mode;
    t->turn = SIZE_MAX;
    t->n_instructions = t->n_buffers = 0;
    t->most_workspace = 0;
    t->stats = (TapeStats){.nodes = (int64_t)t->n_nodes};
    for (size_t i = 0; i < t->n_tensors; i++) {
        Tensor *x = tape_tensor_at(t, i);
        x->buffer = x->grad_buffer = NO_BUFFER;
        x->keep = x->visited = false;
        x->graded_elements = 0;
    }
    if (mode == TAPE_TRAIN) keep_for_backward(t);
    offload_plan(t);
    stages_plan(t);
    emit_all(t);
    stages_end(t);
    place_buffers(t);
    t->stats.instructions = (int64_t)t->n_instructions;
    return t->stats.kept_bytes + t->stats.temporary_bytes;
}
