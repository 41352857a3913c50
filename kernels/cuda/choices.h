// choices: autotuning results, on which the bits of results depend: saved by choices_get, restored by choices_set.
// Private to kernels/cuda. Keys and values are short ASCII texts without quotes and backslashes.
#pragma once

#include "cuda.h"

C_BEGIN

// The value of `key`, NULL when there is none; borrowed until the next cuda_choice_set.
const char *cuda_choice_get(const Backend *b, const char *key);
void cuda_choice_set(Backend *b, const char *key, const char *value);
// Whether shapes without a choice are autotuned: not after choices_set, in a recording, or on an emulated device.
bool cuda_choices_by_speed(const Backend *b);

C_END
