// attention_cudnn: attention by cuDNN where it is supported (cuda_cudnn_space) and faster. Autotuning measures both
// kinds once per shape, on the first call that is not recorded; without autotuning (cuda_choices_by_speed) the own
// kernels are used, which every machine has. A plan is built only for a shape that may use it.
#include <stdio.h>
#include <string.h>

#include "attention.h"

enum { TIMED_RUNS = 3, KEY_TEXT = 256 };

typedef struct Plan {
    CudnnShape shape;
    void *plan; // NULL: the own kernels compute this shape
} Plan;

struct CudaAttention {
    const CudnnLibrary *library; // NULL: absent
    void *cudnn;
    char name[64]; // "cudnn 9.19.0"
    cudaEvent_t start, stop;
    Plan *plans;
    size_t n, capacity;
};

static int use_own(Backend *b, const char *why) {
    b->attention_kind = ATTENTION_OWN;
    snprintf(b->attention, sizeof b->attention, "own kernels (%.230s)", why);
    return 0;
}

int cuda_attention_open(Backend *b, Err *err) {
    CudaState *s = cuda_state(b);
    CudaAttention *a = s->attention = mem_calloc(1, sizeof *a);
    a->start = cuda_new_event(b, true);
    a->stop = cuda_new_event(b, true);
    const char *refusal = cuda_cudnn_refusal(b->activation, s->capability);
    if (refusal) return use_own(b, refusal);
    if (b->attention_kind == ATTENTION_OWN) return use_own(b, s->attention_asked ? "LORAC_ATTENTION" : "asked for");
    Err absent; // cuDNN is optional: a library that does not open is not used
    a->library = cuda_cudnn_library(&absent);
    char version[32] = "";
    if (a->library && a->library->open(&a->cudnn, version, sizeof version, s->capability, &absent)) a->library = NULL;
    if (!a->library) return use_own(b, absent.msg);
    snprintf(a->name, sizeof a->name, "cudnn %s", version);
    snprintf(b->attention, sizeof b->attention, "%s where it %s", a->name,
             b->attention_kind == ATTENTION_LIBRARY ? "can" : "is faster");
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

static Plan *find_plan(CudaAttention *a, const CudnnShape *shape) {
    for (size_t i = 0; i < a->n; i++)
        if (!memcmp(&a->plans[i].shape, shape, sizeof *shape)) return &a->plans[i];
    return NULL;
}

static void drop_plan(CudaAttention *a, Plan *p) {
    if (p->plan) a->library->plan_free(p->plan);
    p->plan = NULL;
}

// -1: cuDNN has no plan that needs at most `most` bytes.
static int build_plan(CudaAttention *a, Plan *p, size_t most, Err *err) {
    size_t bytes;
    if (a->library->plan(a->cudnn, &p->plan, &bytes, &p->shape, err)) {
        p->plan = NULL;
        return -1;
    }
    if (bytes <= most) return 0;
    drop_plan(a, p);
    return err_runtime(err, "cuDNN's plan needs %.1f MB, expected at most %.1f MB", (double)bytes / 1e6,
                       (double)most / 1e6);
}

// ---- running ----

static bool back_to_back(Mat m) { return m.data && mat_stride(m) == m.cols && (uintptr_t)m.data % 16 == 0; }

static void run_plan(Backend *b, const Plan *p, const AttentionCall *c, const CudnnSpace *space) {
    CudaAttention *a = cuda_state(b)->attention;
    char *ws = c->ws;
    CudnnCall call = {.workspace = ws, .length = (int32_t *)(ws + space->length), .stream = cuda_stream(b)};
    const Mat mats[CUDNN_MATS] = {c->q, c->k, c->v, c->out, c->lse, c->dout, c->dq, c->dk, c->dv};
    for (int m = 0; m < CUDNN_MATS; m++) {
        call.offset[m] = (int64_t *)(ws + space->offset[m]);
        bool direct = m < CUDNN_DQ || back_to_back(mats[m]);
        call.data[m] = direct ? mats[m].data : ws + space->gradient[m - CUDNN_DQ];
    }
    RaggedLayout layout = {.length = call.length};
    memcpy(layout.offset, call.offset, sizeof layout.offset);
    memcpy(layout.stride, p->shape.stride, sizeof layout.stride);
    ragged_begin(b, c, &layout);
    Err err;
    if (!cuda_failed(b) && a->library->run(a->cudnn, p->plan, &call, &err)) cuda_fail(b, ERR_RUNTIME, "%s", err.msg);
    if (p->shape.backward) ragged_end(b, c, call.data + CUDNN_DQ);
}

static void run_kind(Backend *b, const Plan *p, const AttentionCall *c, const CudnnSpace *space) {
    if (space)
        run_plan(b, p, c, space);
    else if (p->shape.backward)
        own_backward(b, c);
    else
        own_forward(b, c);
}

// ---- autotuning ----

// The shortest time of a few runs, by cuDNN or (space NULL) the own kernels; waits. Outputs are overwritten by each
// run.
static float time_kind(Backend *b, const Plan *p, const AttentionCall *c, const CudnnSpace *space) {
    CudaAttention *a = cuda_state(b)->attention;
    float best = INFINITY;
    for (int i = 0; i <= TIMED_RUNS && !cuda_failed(b); i++) { // the first run loads code
        float ms = INFINITY;
        cuda_check(b, cudaEventRecord(a->start, cuda_stream(b)), "timing attention");
        run_kind(b, p, c, space);
        cuda_check(b, cudaEventRecord(a->stop, cuda_stream(b)), "timing attention");
        cuda_check(b, cudaEventSynchronize(a->stop), "timing attention");
        if (!cuda_failed(b)) cuda_check(b, cudaEventElapsedTime(&ms, a->start, a->stop), "timing attention");
        if (i && ms < best) best = ms;
    }
    return best;
}

static void choice_key(char key[KEY_TEXT], const CudnnShape *s) {
    snprintf(key, KEY_TEXT, "attention_%s %s %ldx%ld of %ld, heads %ld/%ld of %ld in %ld/%ld, window %ld%s%s",
             s->backward ? "backward" : "forward", dtype_info(s->type)->name, s->batch, s->longest, s->rows, s->heads,
             s->kv_heads, s->head_size, s->stride[CUDNN_Q], s->stride[CUDNN_K], s->window,
             s->causal ? "" : " bidirectional", s->deterministic ? "" : " nondeterministic");
}

// The kind of a shape that a stored choice names. A run whose choice was cuDNN cannot continue with other bits.
static void choose_known(Backend *b, Plan *p, const CudnnSpace *space, const char *choice) {
    CudaAttention *a = cuda_state(b)->attention;
    Err err;
    if (!strcmp(choice, a->name) && build_plan(a, p, space->own, &err)) // another cuDNN's was refused: cuda_choices_set
        cuda_fail(b, ERR_RUNTIME, "the run was made with attention by %s: %s", a->name, err.msg);
}

static void choose(Backend *b, Plan *p, const AttentionCall *c, const CudnnSpace *space) {
    const CudaState *state = cuda_state(b);
    CudaAttention *a = state->attention;
    char key[KEY_TEXT];
    choice_key(key, &p->shape);
    const char *known = cuda_choice_get(b, key);
    bool always = b->attention_kind == ATTENTION_LIBRARY || state->emulated; // an emulated device's times mean nothing
    Err none;
    if (known) {
        choose_known(b, p, space, known);
    } else {
        if ((always || cuda_choices_by_speed(b)) && !build_plan(a, p, space->own, &none) && !always &&
            time_kind(b, p, c, space) >= time_kind(b, p, c, NULL))
            drop_plan(a, p);
        cuda_choice_set(b, key, p->plan ? a->name : "own");
    }
    b->library_shapes += p->plan != NULL;
}

// The plan of a shape; NULL: the own kernels. A shape that is new while a pass is recorded is not decided.
static Plan *plan_of(Backend *b, const AttentionCall *c, const CudnnSpace *space, bool backward) {
    CudaAttention *a = cuda_state(b)->attention;
    CudnnShape shape;
    cudnn_shape(&shape, b, c->shape, c->q, c->k, backward);
    Plan *p = find_plan(a, &shape);
    if (!p && cuda_state(b)->recording) return NULL;
    if (!p) {
        MEM_GROW(a->plans, a->capacity, a->n + 1);
        p = &a->plans[a->n++];
        p->plan = NULL;
        memcpy(&p->shape, &shape, sizeof shape); // with the bytes between the fields
        choose(b, p, c, space);
    }
    return p->plan ? p : NULL;
}

// Whether the matrices lie as cuDNN's plan and the copies around it take them.
static bool placed_for_cudnn(const AttentionCall *c, bool backward) {
    const Mat *read[] = {&c->q, &c->k, &c->v, &c->out, &c->dout};
    for (int i = 0; i < (backward ? 5 : 4); i++)
        if ((uintptr_t)read[i]->data % 16) return false;
    const Mat *written[] = {&c->dq, &c->dk, &c->dv};
    for (int i = 0; i < 3; i++)
        if (written[i]->data && ((uintptr_t)written[i]->data % 16 || mat_stride(*written[i]) % 8)) return false;
    return mat_stride(c->v) == mat_stride(c->k) && mat_stride(c->lse) == c->lse.cols && back_to_back(c->out) &&
           (!backward || back_to_back(c->dout));
}

bool cudnn_attention(Backend *b, const AttentionCall *c, bool backward) {
    CudnnSpace space;
    if (!cuda_cudnn_space(&space, b, c->shape, c->q, c->k, backward) || !placed_for_cudnn(c, backward)) return false;
    const Plan *p = plan_of(b, c, &space, backward);
    if (p) run_plan(b, p, c, &space);
    return p != NULL;
}
