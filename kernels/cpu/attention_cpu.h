// attention_cpu: what attention_forward_cpu.c and attention_backward_cpu.c share: blocked attention with an online
// softmax (Dao et al. 2022).
//
// Blocks begin at a sample's first query and first key, and every sum has one order, so that bits depend on the
// sample's shape alone. The keys that a query sees are a range, so masking costs nothing per element, and blocks that
// no query of a block sees are not computed. Scores and sums are float32; probabilities are rounded to activations
// before they are multiplied.
#pragma once

#include "gemm.h"

enum { BLOCK_Q = 64 }; // queries of a block
// The number of keys in packed blocks is rounded up to this, so that the blocks of a sample are neighbours.
enum { PACK_K = 32 };
_Static_assert(PACK_K % STRIP == 0 && PACK_K % K_STEP == 0, "whole strips");

// Keys [first, end) of a sample, or columns of a block of scores.
typedef struct Range {
    int64_t first, end;
} Range;

static inline Range keys_seen(const AttentionShape *s, int64_t sample, int64_t pos) {
    int64_t after = !s->bidirectional ? 1 : s->window ? s->window : s->k_len[sample];
    int64_t end = min64(pos + after, s->k_len[sample]);
    return (Range){s->window ? min64(max64(pos - s->window + 1, 0), end) : 0, end};
}

// The part of keys_seen in the block of n keys from k0 on, relative to k0; may be empty.
static inline Range keys_in_block(const AttentionShape *s, int64_t sample, int64_t pos, int64_t k0, int64_t n) {
    Range r = keys_seen(s, sample, pos);
    r.first = min64(max64(r.first - k0, 0), n);
    r.end = max64(min64(r.end - k0, n), r.first);
    return r;
}

// The factor of q k^T in the product. With a soft cap c scores are c tanh(scale q k^T / c), by the row functions.
static inline float product_scale(const AttentionShape *s) {
    return s->softcap == 0 ? s->scale : s->scale / s->softcap;
}

// dst = src where the query sees the key, else 0.
static inline void round_seen(Act *dst, const float *src, int64_t n, Range seen) {
    memset(dst, 0, (size_t)seen.first * sizeof *dst);
    act_round(dst + seen.first, src + seen.first, seen.end - seen.first);
    memset(dst + seen.end, 0, (size_t)(n - seen.end) * sizeof *dst);
}

// Parts of the left side of any product: BLOCK_Q queries by D or by keys, or D by BLOCK_Q queries.
static inline int64_t left_size(int64_t d, int64_t keys) {
    return max64(gemm_left_size(BLOCK_Q, max64(d, keys)), gemm_left_size(d, BLOCK_Q));
}

// Keys in the largest block (`most`, or fewer in a call with only tk keys).
static inline int64_t block_keys(int64_t tk, int64_t most) { return min64(most, (tk + PACK_K - 1) / PACK_K * PACK_K); }

// Bytes of workspace, for tk keys.
#define attention_forward_workspace CPU_FN(attention_forward_workspace)
size_t attention_forward_workspace(const Backend *b, const AttentionShape *s, int64_t tk);
#define attention_backward_workspace CPU_FN(attention_backward_workspace)
size_t attention_backward_workspace(const Backend *b, const AttentionShape *s, int64_t tq, int64_t tk);
