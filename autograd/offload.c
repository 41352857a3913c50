// offload: tensors in host memory between forward and backward (tape_offload). It adds instructions to the plan:
//
//   forward   ... last reader of x | settle: the previous offload is done | offload x | next block ...
//   backward  ... | settle: x is loaded | reload of the tensor before x | block of x ...
//
// So x is copied out while forward computes the next block, and copied back while backward computes that next block. At
// most two of these tensors are on the device at a time. The last one would be needed again immediately and stays.
#include "tape.h"

static void emit_transfer(Tape *t, InstructionKind kind, Tensor *x) {
    Instruction *in = instruction_add(t, kind, NO_NODE, false);
    in->moved = x;
    if (x) {
        buffer_touch(t, x->buffer);
        in->buffers[0] = x->buffer;
    }
    t->n_instructions++;
}

static Tensor **waiting_add(Tape *t) {
    MEM_GROW(t->waiting, t->waiting_capacity, t->n_waiting + 1);
    return &t->waiting[t->n_waiting++];
}

void offload_plan(Tape *t) {
    t->n_waiting = t->n_left = 0;
    t->stats.offloaded_bytes = 0;
    t->leaving = NULL;
    for (size_t i = 0; i < t->n_tensors; i++) {
        Tensor *x = tape_tensor_at(t, i);
        x->waiting = NOT_WAITING;
        x->last_reader = NO_NODE;
        if (x->offload && x->keep && !x->external && !x->whole) *waiting_add(t) = x;
    }
    if (t->n_waiting) t->n_waiting--;
    for (size_t i = 0; i < t->n_nodes; i++)
        for (int k = 0; k < t->nodes[i].n_in; k++) tensor_whole(t->nodes[i].in[k])->last_reader = (int)i;
    for (size_t i = 0; i < t->n_waiting; i++) {
        Tensor *x = t->waiting[i];
        CHECK(!i || x->last_reader >= t->waiting[i - 1]->last_reader, "offloaded tensors are read one after the other");
        x->waiting = (int)i;
        x->arrived = false;
        x->host_place = t->stats.offloaded_bytes;
        t->stats.offloaded_bytes += (x->bytes + 63) / 64 * 64;
    }
}

// The memory of the last offloaded tensor is free from here on.
static void settle_leaving(Tape *t) {
    if (!t->leaving) return;
    buffer_touch(t, t->leaving->buffer);
    emit_transfer(t, INSTRUCTION_SETTLE, NULL);
    t->leaving = NULL;
}

void offload_after(Tape *t, int node) {
    while (t->n_left < t->n_waiting && t->waiting[t->n_left]->last_reader == node) {
        settle_leaving(t);
        t->leaving = t->waiting[t->n_left++];
        emit_transfer(t, INSTRUCTION_OFFLOAD, t->leaving);
    }
}

static void reload(Tape *t, Tensor *x) {
    x->buffer = buffer_new(t, x->bytes, false);
    emit_transfer(t, INSTRUCTION_RELOAD, x);
}

void offload_turn(Tape *t) {
    settle_leaving(t);
    for (size_t i = 0; i < t->n_waiting; i++) t->waiting[i]->buffer = NO_BUFFER;
    if (t->n_waiting) reload(t, t->waiting[t->n_waiting - 1]);
}

void offload_arrive(Tape *t, Tensor *x) {
    if (x->waiting == NOT_WAITING || x->arrived) return;
    if (x->buffer == NO_BUFFER) reload(t, x);
    buffer_touch(t, x->buffer);
    emit_transfer(t, INSTRUCTION_SETTLE, NULL);
    x->arrived = true;
    Tensor *next = x->waiting ? t->waiting[x->waiting - 1] : NULL;
    if (next && next->buffer == NO_BUFFER && !next->arrived) reload(t, next);
}

// Only grows, as recorded passes hold its address.
void offload_reserve(Tape *t) {
    const Kernels *k = t->backend->k;
    if (t->stats.offloaded_bytes <= t->host_bytes) return;
    k->sync(t->backend);
    k->forget(t->backend);
    if (t->host) k->host_free(t->backend, t->host, t->host_bytes);
    t->host_bytes = t->stats.offloaded_bytes;
    t->host = k->host_alloc(t->backend, t->host_bytes);
}

void offload_run(Tape *t, const Instruction *in, void *device) {
    const Kernels *k = t->backend->k;
    Tensor *x = in->moved;
    if (in->kind == INSTRUCTION_SETTLE) {
        k->settle(t->backend);
    } else if (in->kind == INSTRUCTION_OFFLOAD) {
        k->offload(t->backend, t->host + x->host_place, x->data, x->bytes);
    } else {
        x->data = device;
        k->reload(t->backend, x->data, t->host + x->host_place, x->bytes);
    }
}
