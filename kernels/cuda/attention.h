// attention: what the parts of the CUDA backend's attention tell each other. attention.c checks and chooses; the own
// kernels are flash_*.cu (half and bfloat16, on tensor cores) and attention_plain.cu (any type and alignment).
#pragma once

#include "cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { ATTENTION_MAX_HEAD = 256 };

// One call of attention_forward or attention_backward.
typedef struct AttentionCall {
    Mat q, k, v, out, lse;
    Mat dout, dq, dk, dv; // backward; dq, dk, dv with data NULL: not wanted
    const AttentionShape *s;
    void *ws;
} AttentionCall;

// Shapes as attention.c has checked them. flash_*: rows at multiples of 16 bytes, head size a multiple of 8.
void flash_forward(Backend *b, const AttentionCall *c);
void flash_backward(Backend *b, const AttentionCall *c);
void plain_forward(Backend *b, const AttentionCall *c);
void plain_backward(Backend *b, const AttentionCall *c);
// What both backwards need first: delta = rowsum(dout * out), float32 [Tq, H], in c->ws; zeros in dk and dv where no
// sample has keys.
void attention_prepare(Backend *b, const AttentionCall *c);

#ifdef __cplusplus
}
#endif
