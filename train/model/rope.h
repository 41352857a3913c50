// rope: the cosines and sines of a RopeConfig.
#pragma once

#include "model_config.h"

// *table [positions, rotated]: rotated / 2 cosines, then as many sines, times the attention factor. The float32
// arithmetic is that of transformers' modeling_rope_utils: far positions are sensitive to the rounding of the angle.
// LongRoPE's long list is used for all positions when positions > original_context (as in vLLM and llama.cpp;
// transformers decides for each sequence). Refused (ERR_INPUT): a table over 1 GiB, frequencies that are not finite.
// The caller frees.
int rope_table(float **table, const RopeConfig *r, int64_t positions, Err *err);
