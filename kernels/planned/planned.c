#include "planned.h"

#include <stdio.h>
#include <string.h>

#include "host.h"
#include "sizes.h"

// Approximate memory of the CUDA context and the kernels' code.
static const size_t CONTEXT_BYTES = 500u << 20;

typedef struct PlannedState {
    CudaScratch scratch; // first: kernels/planned/sizes.c reads it
    PlannedDevice device;
    size_t used;
    uintptr_t next;
} PlannedState;

static PlannedState *planned_state(Backend *b) {
    return b->state;
}

static void planned_close(Backend *b) {
    mem_free(b->state);
}

static DeviceMemory planned_memory(Backend *b) {
    const PlannedState *s = planned_state(b);
    size_t taken = s->used + CONTEXT_BYTES, total = s->device.memory;
    return (DeviceMemory){.free = taken < total ? total - taken : 0, .total = total, .used = s->used};
}

static void *planned_alloc(Backend *b, size_t bytes) {
    PlannedState *s = planned_state(b);
    uintptr_t at = s->next;
    s->next += cuda_align(bytes);
    s->used += cuda_align(bytes);
    return (void *)at;
}

static void planned_free(Backend *b, void *p, size_t bytes) {
    if (p) planned_state(b)->used -= cuda_align(bytes);
}

static void planned_upload(Backend *b, void *dst, const void *host, size_t bytes) {}

static void planned_download(Backend *b, void *host, const void *src, size_t bytes) {
    memset(host, 0, bytes);
}

static void planned_zero(Backend *b, void *dst, size_t bytes) {}

static size_t planned_attention_workspace(Backend *b, const AttentionShape *s, Mat q, Mat k, bool backward) {
    return backward ? cuda_attention_delta_bytes(s, q) : 0;
}

// The slots that building and planning a run call.
static const Kernels planned_kernels = {
    .name = "cuda",
    .close = planned_close,
    .status = host_status,
    .memory = planned_memory,
    .alloc = planned_alloc,
    .free = planned_free,
    .upload = planned_upload,
    .download = planned_download,
    .copy = planned_upload,
    .zero = planned_zero,
    .sync = host_sync,
    .host_alloc = planned_alloc,
    .host_free = planned_free,
    .forget = host_forget,
    .choices_get = host_choices_get,
    .weight_bytes = cuda_weight_bytes,
    .linear_workspace = cuda_linear_workspace,
    .lora_workspace = cuda_lora_workspace,
    .attention_workspace = planned_attention_workspace,
    .grouped_linear_workspace = cuda_grouped_linear_workspace,
    .head_loss_workspace = cuda_head_loss_workspace,
    .class_loss_workspace = cuda_class_loss_workspace,
};

int backend_open_planned(Backend **b, const PlannedDevice *d, const BackendOptions *o, Err *err) {
    if (o->fp8 && d->capability < CUDA_FP8_CAPABILITY)
        return err_input(err, "dtype: fp8 needs compute capability 8.9, the %s has %d.%d", d->name, d->capability / 10,
                         d->capability % 10);
    PlannedState *s = mem_calloc(1, sizeof *s);
    s->device = *d;
    s->next = 1 << 20;
    *b = mem_calloc(1, sizeof **b);
    **b = (Backend){.k = &planned_kernels, .threads = 1, .activation = o->activation, .state = s};
    (*b)->tf32 = o->tf32;
    (*b)->fp8 = o->fp8;
    snprintf((*b)->name, sizeof(*b)->name, "%s", d->name);
    s->scratch = cuda_scratch(d->capability, d->memory);
    s->used = s->scratch.workspace_bytes + 2 * s->scratch.expanded_bytes;
    return 0;
}
