// model_config: the architectures lorac knows, and a GGUF file's metadata as a checked ModelConfig.
// Private to train/model; everyone else sees ModelConfig in model.h.
#pragma once

#include "gguf.h"
#include "model.h"

// Fills c from the metadata and the shape of token_embd.weight; every value is in a range in which products of sizes
// cannot overflow. EXIT_INPUT names the key, the value and what was expected; what the architecture could have but
// this version does not compute (experts, rope scaling other than linear) is refused by name.
int model_config_read(ModelConfig *c, const Gguf *g, Err *err);
