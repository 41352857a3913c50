// moe: how the tokens of a pass are distributed to the experts of a mixture (slots moe_* of kernels.h).
#pragma once

#include "base.h"

C_BEGIN

// Assignment of rows when each of T tokens goes to `used` of `experts` experts: expert e has rows [offset[e],
// offset[e + 1]) in the order of their tokens, T * used rows in all. Choice j of token t (most probable first) has
// number t * used + j. Integers in device memory, written by moe_route_forward; the four arrays are consecutive in the
// 4-byte elements of one matrix (moe_plan_at).
typedef struct MoePlan {
    int64_t tokens, experts, used;
    int32_t *expert, *row; // [T * used] of each choice
    int32_t *choice;       // [T * used] of each row: the inverse of row
    int32_t *offset;       // [experts + 1]
} MoePlan;
HOST_DEVICE static inline int64_t moe_plan_size(int64_t tokens, int64_t experts, int64_t used) {
    return 3 * tokens * used + experts + 1;
}
HOST_DEVICE static inline MoePlan moe_plan_at(void *memory, int64_t tokens, int64_t experts, int64_t used) {
    int32_t *p = (int32_t *)memory;
    int64_t n = p ? tokens * used : 0; // NULL while memory is being planned
    MoePlan plan = {tokens, experts, used, p, p + n, p + 2 * n, p + 3 * n};
    return plan;
}

// The weights of a token's choices, from its logits.
typedef enum {
    MOE_SOFTMAX,      // p = softmax over all experts
    MOE_RENORMALISED, // the same, divided by the sum over the choices
    MOE_SIGMOID,      // 1 / (1 + exp(-logit)), each by itself
} MoeScores;

C_END
