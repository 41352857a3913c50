// cudnn_shape: the key of cuDNN's plan for a call of attention. It needs no device.
#include <string.h>

#include "cudnn_attention.h"

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

void cudnn_shape(CudnnShape *shape, const Backend *b, const AttentionShape *s, Mat q, Mat k, bool backward) {
    memset(shape, 0, sizeof *shape); // compared as bytes
    shape->type = b->activation;
    shape->backward = backward;
    shape->causal = !s->bidirectional;
    shape->deterministic = !backward || !b->nondeterministic;
    shape->batch = s->samples;
    shape->longest = s->longest;
    shape->rows = q.rows;
    shape->heads = s->heads;
    shape->kv_heads = s->kv_heads;
    shape->head_size = s->head_size;
    shape->window = s->window < s->longest ? s->window : 0;
    shape->scale = s->scale;
    set_strides(shape, s, q, k);
}
