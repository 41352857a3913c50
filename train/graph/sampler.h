// sampler: one token drawn from logits, as a pure function of (key, logits).
#pragma once

#include "kernels.h"

typedef struct Sampler Sampler;
Sampler *sampler_new(int64_t vocab);
void sampler_free(Sampler *s);

// From softmax(logits / temperature), cut to the smallest set of most likely tokens whose probability reaches top_p
// (1: no cut). temperature > 0. Returns -1 where a logit is NaN or +inf.
int32_t sampler_draw(Sampler *s, const float *logits, float temperature, float top_p, RngKey key);
