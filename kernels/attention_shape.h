// attention_shape: which keys each query of attention, and of a short convolution, sees.
#pragma once

#include "base.h"

C_BEGIN

// Which keys each query sees. Sample s has queries [q_start[s], q_start[s+1]) and keys [k_start[s], k_start[s] +
// k_len[s]). Query i has position q_pos[i] in its sample and sees its sample's keys j with j <= q_pos[i] (causal) and
// j > q_pos[i] - window (window 0: no limit); bidirectional: all keys of its sample, with a window those nearer than it
// on both sides, |j - q_pos[i]| < window. With a soft cap c a score is c tanh(scale q k^T / c) (Gemma 2).
typedef struct AttentionShape {
    int64_t heads, kv_heads, head_size;
    int64_t samples;
    const int32_t *q_start; // [samples + 1], ascending, q_start[0] = 0, q_start[samples] = Tq
    const int32_t *k_start; // [samples]
    const int32_t *k_len;   // [samples]
    const int32_t *q_pos;   // [Tq], ascending within a sample
    int64_t window;
    float scale;   // of q k^T; usually 1 / sqrt(D)
    float softcap; // 0: none
    bool bidirectional;
    // [H], each head's sink: a score of no key, of which the softmax has the exponential in its denominator (gpt-oss);
    // frozen. NULL: none.
    const float *sinks;
    // Upper bound of a sample's tokens if every token is a query and a key: q_start = k_start, k_len is the distance to
    // the next start, q_pos counts from 0. 0: unknown.
    int64_t longest;
} AttentionShape;
enum { DEVICE_MAX_HEAD_SIZE = 256 }; // host memory: any
enum { SHORT_CONV_MAX_TAPS = 16 };
// The sample of query i < q_start[samples].
HOST_DEVICE static inline int64_t attention_sample(const AttentionShape *s, int64_t i) {
    int64_t low = 0, high = s->samples - 1;
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        if (s->q_start[middle] <= i)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

C_END
