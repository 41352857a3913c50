// model_config: a model's configuration as its files state it, checked. For train/model and inspect; everyone else sees
// ModelConfig in model.h.
//
// Every value is in a range in which products of sizes cannot overflow. EXIT_INPUT names the key, the value and what
// was expected; what the family could have but lorac does not compute is refused by name.
#pragma once

#include "model.h"
#include "weight_source.h"

// From a GGUF file's metadata and what its tensors tell: the vocabulary, biases, RoPE's divisors.
int model_config_read_gguf(ModelConfig *c, const WeightSource *s, Err *err);
// From the config.json of a Hugging Face folder, or from such a file itself.
int model_config_read_hf(ModelConfig *c, const char *where, Err *err);
// What the user asks to be different (RoPE scaling, which makes the context longer).
int model_config_apply(ModelConfig *c, const ModelOptions *o, Err *err);
