// token_sampler: one token drawn from logits, as a pure function of (key, logits).
#pragma once

#include "kernels.h"

typedef struct TokenSampler TokenSampler;
TokenSampler *token_sampler_new(int64_t vocab);
void token_sampler_free(TokenSampler *s);

// From softmax(logits / temperature), cut to the smallest set of most likely tokens whose probability reaches top_p
// (1: no cut). temperature > 0. Returns -1 where a logit is NaN or +inf.
int32_t token_sampler_draw(TokenSampler *s, const float *logits, float temperature, float top_p, RngKey key);
