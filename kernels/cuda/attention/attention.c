// attention: the slots. Shapes are checked and one of the kernels is chosen.
#include "attention.h"

static void check_call(const Backend *b, const AttentionCall *c) {
    const AttentionShape *s = c->shape;
    int64_t tq = c->q.rows, tk = c->k.rows, q_cols = s->heads * s->head_size, k_cols = s->kv_heads * s->head_size;
    CHECK(s->kv_heads > 0 && s->heads % s->kv_heads == 0 && s->scale > 0 && s->samples >= 0);
    CHECK(s->head_size <= DEVICE_MAX_HEAD_SIZE, "heads of %ld", s->head_size);
    CHECK(tq < INT32_MAX / s->heads && tk < INT32_MAX / 2);
    const Mat wide[] = {c->q, c->out, c->dout, c->dq}, narrow[] = {c->k, c->v, c->dk, c->dv};
    for (int i = 0; i < 4; i++) {
        if (wide[i].data || i < 2) check_mat("q, out, dout or dq", wide[i], b->activation, tq, q_cols);
        if (narrow[i].data || i < 2) check_mat("k, v, dk or dv", narrow[i], b->activation, tk, k_cols);
    }
    CHECK_MAT(c->lse, DTYPE_F32, tq, s->heads);
}

// Whether every row of m (of 16-bit elements) is 16-byte aligned; an absent matrix counts as aligned.
static bool aligned(Mat m) { return !m.data || ((uintptr_t)m.data % 16 == 0 && mat_stride(m) % 8 == 0); }

// Tensor cores work on half and bfloat16, which are copied by 16 bytes.
static bool flash_can(const Backend *b, const AttentionCall *c) {
    return b->activation != DTYPE_F32 && c->shape->head_size % 8 == 0 && aligned(c->q) && aligned(c->k) &&
           aligned(c->v) && aligned(c->out) && aligned(c->dout) && aligned(c->dq) && aligned(c->dk) && aligned(c->dv);
}

void own_forward(Backend *b, const AttentionCall *c) {
    (flash_can(b, c) ? flash_forward : plain_forward)(b, c);
    if (c->shape->sinks) attention_sinks(b, c);
}

void own_backward(Backend *b, const AttentionCall *c) {
    attention_prepare(b, c);
    (flash_can(b, c) ? flash_backward : plain_backward)(b, c);
}

void cuda_attention_forward(Backend *b, const AttentionCall *c) {
    if (cuda_failed(b)) return;
    AttentionCall forward = {.shape = c->shape, c->q, c->k, c->v, c->out, c->lse, .ws = c->ws};
    check_call(b, &forward);
    if (!cudnn_attention(b, &forward, false)) own_forward(b, &forward);
}

void cuda_attention_backward(Backend *b, const AttentionCall *c) {
    if (cuda_failed(b)) return;
    check_call(b, c);
    CHECK(c->dout.data);
    if (!cudnn_attention(b, c, true)) own_backward(b, c);
}
