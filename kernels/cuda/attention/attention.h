// attention: what the parts of the CUDA backend's attention share. attention.c checks and chooses. Own kernels:
// flash_*.cu (half and bfloat16, on tensor cores), attention_plain.cu (any type and alignment), attention_prepare.cu.
// cuDNN: attention_cudnn.c, attention_ragged.cu.
#pragma once

#include "cuda.h"
#include "cudnn_attention.h"

C_BEGIN

// Shapes as attention.c has checked them. flash_*: rows at multiples of 16 bytes, head size a multiple of 8.
void flash_forward(Backend *b, const AttentionCall *c);
void flash_backward(Backend *b, const AttentionCall *c);
void plain_forward(Backend *b, const AttentionCall *c);
void plain_backward(Backend *b, const AttentionCall *c);
// Before either backward kernel: delta = rowsum(dout * out), float32 [Tq, H], in c->ws; zeros in dk and dv where no
// sample has keys.
void attention_prepare(Backend *b, const AttentionCall *c);
// After either forward kernel: out and lse with the shape's sinks.
void attention_sinks(Backend *b, const AttentionCall *c);
// The own kernels that fit the call.
void own_forward(Backend *b, const AttentionCall *c);
void own_backward(Backend *b, const AttentionCall *c);

// Attention by cuDNN, if it supports the call and is chosen; else false.
bool cudnn_attention(Backend *b, const AttentionCall *c, bool backward);

// Where each sample begins in each matrix, in elements, and its tokens; device memory, filled by ragged_begin.
typedef struct RaggedLayout {
    int64_t *offset[CUDNN_MATS]; // [samples + 1]
    int64_t stride[CUDNN_MATS];
    int32_t *length; // [samples]
} RaggedLayout;
// Before cuDNN; forward: also out = 0 and lse = -inf for tokens in no sample.
void ragged_begin(Backend *b, const AttentionCall *c, const RaggedLayout *layout);
// After cuDNN: copies dq, dk and dv (if wanted) from its contiguous results; 0 for tokens in no sample.
void ragged_end(Backend *b, const AttentionCall *c, void *const *from);

C_END
