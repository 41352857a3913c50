// model_config_gguf: the ModelConfig of a GGUF file, from its metadata and its tensors (vocabulary, biases, divisors of
// RoPE).
#pragma once

#include "model_config.h"
#include "weight_source.h"

// ERR_INPUT names the key, the value and the expected one; what lorac does not compute is refused by name.
int model_config_gguf_read(ModelConfig *c, const WeightSource *s, Err *err);
