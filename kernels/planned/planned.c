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

static void planned_close(Backend *b) { mem_free(b->state); }

static DeviceMemory planned_memory(Backend *b) {
    const PlannedState *s = b->state;
    size_t taken = s->used + CONTEXT_BYTES, total = s->device.memory;
    return (DeviceMemory){.free = taken < total ? total - taken : 0, .total = total, .used = s->used};
}

static void *planned_alloc(Backend *b, size_t bytes) {
    PlannedState *s = b->state;
    uintptr_t at = s->next;
    s->next += cuda_align(bytes);
    s->used += cuda_align(bytes);
    return (void *)at;
}

static void planned_free(Backend *b, void *p, size_t bytes) {
    if (p) ((PlannedState *)b->state)->used -= cuda_align(bytes);
}

static void planned_upload(Backend *b, void *dst, const void *host, size_t bytes) {}

static void planned_zero(Backend *b, void *dst, size_t bytes) {}

static void planned_download(Backend *b, void *host, const void *src, size_t bytes) { memset(host, 0, bytes); }

static void planned_dora_norm(Backend *b, float *norm, const Weight *w, const Lora *l, void *ws) {}

// The slots that building and planning a run call.
#define SLOT_OF(room, slot) .slot = room##_##slot,
// clang-format off
static const Kernels planned_kernels = {
    .name = "cuda", .host_alloc = planned_alloc, .host_free = planned_free, .copy = planned_upload,
    SLOT_OF(planned, close) SLOT_OF(planned, memory) SLOT_OF(planned, alloc) SLOT_OF(planned, free)
    SLOT_OF(planned, upload) SLOT_OF(planned, download) SLOT_OF(planned, zero)
    SLOT_OF(planned, dora_norm)
    SLOT_OF(host, status) SLOT_OF(host, sync) SLOT_OF(host, forget) SLOT_OF(host, choices_get)
    SLOT_OF(cuda, attention_workspace)
    SLOT_OF(cuda, weight_bytes) SLOT_OF(cuda, weight_keep) SLOT_OF(cuda, linear_workspace) SLOT_OF(cuda, lora_workspace)
    SLOT_OF(cuda, dora_workspace)
    SLOT_OF(cuda, grouped_linear_workspace) SLOT_OF(cuda, head_loss_workspace) SLOT_OF(cuda, class_loss_workspace)
    SLOT_OF(cuda, preference_loss_workspace) SLOT_OF(cuda, embedding_loss_workspace)
};
// clang-format on

int backend_open_planned(Backend **b, const PlannedDevice *d, const BackendOptions *o, Err *err) {
    if (o->fp8 && d->capability < CUDA_FP8_CAPABILITY)
        return err_input(err, "dtype: fp8 needs compute capability 8.9, the %s has %d.%d", d->name, d->capability / 10,
                         d->capability % 10);
    PlannedState *s = mem_calloc(1, sizeof *s);
    s->device = *d;
    s->next = 1 << 20;
    *b = mem_calloc(1, sizeof **b);
    **b = (Backend){.k = &planned_kernels,
                    .threads = 1,
                    .activation = o->activation,
                    .precision = o->precision,
                    .fp8 = o->fp8,
                    .attention_kind = cuda_cudnn_refusal(o->activation, d->capability) ? ATTENTION_OWN : o->attention};
    (*b)->state = s;
    snprintf((*b)->name, sizeof(*b)->name, "%s", d->name);
    s->scratch = cuda_scratch(d->capability, d->memory);
    s->used = s->scratch.workspace_bytes + 2 * s->scratch.expanded_bytes + s->scratch.recorded_bytes;
    return 0;
}
