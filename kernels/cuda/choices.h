// choices: what was decided by speed, and decides bits: kept for choices_get, given back by choices_set. Private to
// kernels/cuda. Keys and values are short ASCII texts without quotes and backslashes.
#pragma once

#include "cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

// The value of `key`, NULL when there is none; borrowed until the next cuda_choice_set.
const char *cuda_choice_get(const Backend *b, const char *key);
void cuda_choice_set(Backend *b, const char *key, const char *value);
// Whether speed decides what has no choice yet: not any more after choices_set, and not where time tells nothing.
bool cuda_choices_by_speed(const Backend *b);

#ifdef __cplusplus
}
#endif
