// attention_cudnn: attention by cuDNN where it is supported and faster. Supported: every token of a sample is a query
// and a key (AttentionShape.longest), activations are half or bfloat16, no soft cap, and a device whose backward pass
// is deterministic (compute capability 9 and 10). Autotuning measures both kinds once per shape, on the first call that
// is not recorded; without autotuning (cuda_choices_by_speed) the own kernels are used, which every machine has.
#include <stdio.h>
#include <string.h>

#include "attention.h"

enum { TIMED_RUNS = 3, KEY_TEXT = 256 };

typedef struct Plan {
    CudnnShape shape;
    void *plan; // NULL: cuDNN has none
    size_t bytes;
    bool chosen, fast; // fast: cuDNN is to be used
} Plan;

struct CudaAttention {
    const CudnnLibrary *library; // NULL: absent
    void *cudnn;
    char name[64]; // "cudnn 9.19.0"
    cudaEvent_t start, stop;
    Plan *plans;
    size_t n, capacity;
};

int cuda_attention_open(Backend *b, Err *err) {
    CudaState *s = cuda_state(b);
    CudaAttention *a = s->attention = mem_calloc(1, sizeof *a);
    a->start = cuda_new_event(b, true);
    a->stop = cuda_new_event(b, true);
    int generation = s->capability / 10;
    AttentionKind wanted = b->attention_kind;
    b->attention_kind = ATTENTION_OWN;
    snprintf(b->attention, sizeof b->attention, "own kernels");
    bool can = b->activation != DTYPE_F32 && (generation == 9 || generation == 10);
    if (!can || wanted == ATTENTION_OWN) return 0;
    Err absent; // cuDNN is optional: a library that does not open is not used
    a->library = cuda_cudnn_library(&absent);
    char version[32] = "";
    if (a->library && a->library->open(&a->cudnn, version, sizeof version, &absent)) a->library = NULL;
    if (!a->library) return 0;
    snprintf(a->name, sizeof a->name, "cudnn %s", version);
    b->attention_kind = wanted;
    snprintf(b->attention, sizeof b->attention, "%.40s where it %s", a->name,
             wanted == ATTENTION_LIBRARY ? "can" : "is faster");
    return 0;
}

void cuda_attention_close(Backend *b) {
    CudaAttention *a = cuda_state(b)->attention;
    if (!a) return;
    for (size_t i = 0; i < a->n; i++)
        if (a->plans[i].plan) a->library->plan_free(a->plans[i].plan);
    if (a->library) a->library->close(a->cudnn);
    if (a->start) cudaEventDestroy(a->start);
    if (a->stop) cudaEventDestroy(a->stop);
    mem_free(a->plans);
    mem_free(a);
}

const char *cuda_attention_library(const Backend *b) {
    const CudaAttention *a = cuda_state(b)->attention;
    return a->library ? a->name : NULL;
}

// ---- plans ----

// Gradients with a stride are computed in the workspace and copied: cuDNN's sums have the stride of its outputs.
static void set_strides(CudnnShape *shape, const AttentionShape *s, Mat q, Mat k) {
    int64_t wide = s->heads * s->head_size, narrow = s->kv_heads * s->head_size;
    int64_t stride[CUDNN_MATS] = {
        [CUDNN_Q] = mat_stride(q), [CUDNN_K] = mat_stride(k), [CUDNN_V] = mat_stride(k),
        [CUDNN_OUT] = wide,        [CUDNN_LSE] = s->heads,    [CUDNN_DOUT] = wide,
        [CUDNN_DQ] = wide,         [CUDNN_DK] = narrow,       [CUDNN_DV] = narrow,
    };
    memcpy(shape->stride, stride, sizeof stride);
}

static bool shape_of(CudnnShape *shape, const Backend *b, const AttentionShape *s, Mat q, Mat k, bool backward) {
    if (!cuda_state(b)->attention->library || !s->longest || q.rows != k.rows || s->softcap != 0) return false;
    if (s->head_size % 8 || mat_stride(q) % 8 || mat_stride(k) % 8 || s->window > INT32_MAX) return false;
    memset(shape, 0, sizeof *shape); // compared as bytes
    shape->type = b->activation;
    shape->backward = backward;
    shape->causal = !s->bidirectional;
    shape->batch = s->samples;
    shape->longest = s->longest;
    shape->rows = q.rows;
    shape->heads = s->heads;
    shape->kv_heads = s->kv_heads;
    shape->head_size = s->head_size;
    shape->window = s->window < s->longest ? s->window : 0;
    shape->scale = s->scale;
    set_strides(shape, s, q, k);
    return true;
}

// The plan of a shape, built on first use; NULL: cuDNN has none, or it is new and a pass is recorded.
static Plan *plan_of(Backend *b, const CudnnShape *shape) {
    CudaAttention *a = cuda_state(b)->attention;
    for (size_t i = 0; i < a->n; i++)
        if (!memcmp(&a->plans[i].shape, shape, sizeof *shape)) return a->plans[i].plan ? &a->plans[i] : NULL;
    if (cuda_state(b)->recording) return NULL;
    MEM_GROW(a->plans, a->capacity, a->n + 1);
    Plan *p = &a->plans[a->n++];
    *p = (Plan){.plan = NULL};
    memcpy(&p->shape, shape, sizeof *shape); // with the bytes between the fields
    Err none;
    if (a->library->plan(a->cudnn, &p->plan, &p->bytes, shape, &none)) p->plan = NULL;
    return p->plan ? p : NULL;
}

// ---- the workspace: cuDNN's own, offsets, lengths, gradients in the order dq, dk, dv ----

typedef struct Space {
    char *base;
    size_t used;
} Space;

static void *take(Space *s, size_t bytes) {
    void *p = s->base ? s->base + s->used : NULL;
    s->used += cuda_align(bytes);
    return p;
}

static int64_t row_length(const CudnnShape *s, CudnnMat m) {
    return (m == CUDNN_DQ ? s->heads : s->kv_heads) * s->head_size;
}

// Returns the bytes.
static size_t lay_out(CudnnCall *call, void *gradients[CUDNN_MATS], const Plan *p, void *ws) {
    const CudnnShape *s = &p->shape;
    Space space = {.base = ws};
    call->workspace = take(&space, p->bytes);
    for (int m = 0; m < CUDNN_MATS; m++) call->offset[m] = take(&space, (size_t)(s->batch + 1) * sizeof(int64_t));
    call->length = take(&space, (size_t)s->batch * sizeof(int32_t));
    for (int m = CUDNN_DQ; m < CUDNN_MATS && s->backward; m++)
        gradients[m] = take(&space, (size_t)(s->rows * row_length(s, (CudnnMat)m)) * cuda_element(s->type));
    return space.used;
}

size_t cudnn_workspace(Backend *b, const AttentionShape *s, Mat q, Mat k, bool backward) {
    CudnnShape shape;
    Plan *p = shape_of(&shape, b, s, q, k, backward) ? plan_of(b, &shape) : NULL;
    CudnnCall call;
    void *gradients[CUDNN_MATS];
    return p ? lay_out(&call, gradients, p, NULL) : 0;
}

// ---- running ----

static bool back_to_back(Mat m) { return m.data && mat_stride(m) == m.cols && (uintptr_t)m.data % 16 == 0; }

static void run_plan(Backend *b, const Plan *p, const AttentionCall *c) {
    CudaAttention *a = cuda_state(b)->attention;
    CudnnCall call = {.stream = cuda_stream(b)};
    void *gradients[CUDNN_MATS] = {NULL};
    lay_out(&call, gradients, p, c->ws);
    const Mat mats[CUDNN_MATS] = {c->q, c->k, c->v, c->out, c->lse, c->dout, c->dq, c->dk, c->dv};
    for (int m = 0; m < CUDNN_MATS; m++)
        call.data[m] = m < CUDNN_DQ || back_to_back(mats[m]) ? mats[m].data : gradients[m];
    RaggedLayout layout = {.length = call.length};
    memcpy(layout.offset, call.offset, sizeof layout.offset);
    memcpy(layout.stride, p->shape.stride, sizeof layout.stride);
    ragged_begin(b, c, &layout);
    Err err;
    if (!cuda_failed(b) && a->library->run(a->cudnn, p->plan, &call, &err)) cuda_fail(b, ERR_RUNTIME, "%s", err.msg);
    if (p->shape.backward) ragged_end(b, c, call.data + CUDNN_DQ);
}

static void run_kind(Backend *b, const Plan *p, const AttentionCall *c, bool cudnn) {
    if (cudnn)
        run_plan(b, p, c);
    else if (p->shape.backward)
        own_backward(b, c);
    else
        own_forward(b, c);
}

// ---- autotuning ----

// The shortest time of a few runs; waits. Outputs are overwritten by each run.
static float time_kind(Backend *b, const Plan *p, const AttentionCall *c, bool cudnn) {
    CudaAttention *a = cuda_state(b)->attention;
    float best = INFINITY;
    for (int i = 0; i <= TIMED_RUNS && !cuda_failed(b); i++) { // the first run loads code
        float ms = INFINITY;
        cuda_check(b, cudaEventRecord(a->start, cuda_stream(b)), "timing attention");
        run_kind(b, p, c, cudnn);
        cuda_check(b, cudaEventRecord(a->stop, cuda_stream(b)), "timing attention");
        cuda_check(b, cudaEventSynchronize(a->stop), "timing attention");
        if (!cuda_failed(b)) cuda_check(b, cudaEventElapsedTime(&ms, a->start, a->stop), "timing attention");
        if (i && ms < best) best = ms;
    }
    return best;
}

static void choose(Backend *b, Plan *p, const AttentionCall *c) {
    const CudaState *state = cuda_state(b);
    const CudaAttention *a = state->attention;
    const CudnnShape *s = &p->shape;
    char key[KEY_TEXT];
    snprintf(key, sizeof key, "attention_%s %s %ldx%ld of %ld, heads %ld/%ld of %ld in %ld/%ld, window %ld%s",
             s->backward ? "backward" : "forward", dtype_info(s->type)->name, s->batch, s->longest, s->rows, s->heads,
             s->kv_heads, s->head_size, s->stride[CUDNN_Q], s->stride[CUDNN_K], s->window,
             s->causal ? "" : " bidirectional");
    const char *known = cuda_choice_get(b, key);
    p->chosen = true;
    if (known) // of this cuDNN: another one's was refused (cuda_choices_set)
        p->fast = !strcmp(known, a->name);
    else
        p->fast = b->attention_kind == ATTENTION_LIBRARY || state->emulated || // its timings are meaningless
                  (cuda_choices_by_speed(b) && time_kind(b, p, c, true) < time_kind(b, p, c, false));
    b->library_shapes += p->fast;
    if (!known) cuda_choice_set(b, key, p->fast ? a->name : "own");
}

bool cudnn_attention(Backend *b, const AttentionCall *c, bool backward) {
    CudnnShape shape;
    if (!shape_of(&shape, b, c->shape, c->q, c->k, backward)) return false;
    const Mat *read[] = {&c->q, &c->k, &c->v, &c->out, &c->dout};
    for (int i = 0; i < (backward ? 5 : 4); i++)
        if ((uintptr_t)read[i]->data % 16) return false;
    const Mat *written[] = {&c->dq, &c->dk, &c->dv};
    for (int i = 0; i < 3; i++)
        if (written[i]->data && ((uintptr_t)written[i]->data % 16 || mat_stride(*written[i]) % 8)) return false;
    if (mat_stride(c->v) != mat_stride(c->k) || mat_stride(c->lse) != c->lse.cols || !back_to_back(c->out) ||
        (backward && !back_to_back(c->dout)))
        return false;
    Plan *p = plan_of(b, &shape);
    if (!p) return false;
    if (!p->chosen) choose(b, p, c);
    if (!p->fast) return false;
    run_plan(b, p, c);
    return true;
}
