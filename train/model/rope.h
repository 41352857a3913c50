// rope: a RopeConfig as a table of cosines and sines. Private to train/model.
#pragma once

#include "model_config.h"

// positions rows of `rotated` floats: rotated / 2 cosines, then as many sines, times the attention factor. The same
// float32 arithmetic as transformers' modeling_rope_utils: far positions are sensitive to the rounding of the angle.
// LongRoPE's long list is used when positions > original_context, for all positions alike (as vLLM and llama.cpp do;
// transformers looks at each sequence). Refused (EXIT_INPUT): a table over 1 GiB, frequencies that are not finite.
// The caller frees.
int rope_table(float **table, const RopeConfig *r, int64_t positions, Err *err);
