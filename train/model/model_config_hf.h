// model_config_hf: the config.json of a Hugging Face model. Files: model_config_hf.c (the ModelConfig, noise
// in training), model_config_hf_families.c (one row for each model_type), model_config_hf_rope.c (positions).
#pragma once

#include "model_config.h"

// where: the folder, or the file itself. ERR_INPUT names the key, the value and the expected one; what lorac does not
// compute is refused by name.
int model_config_hf_read(ModelConfig *c, const char *where, Err *err);
// What transformers would do to this base during training and lorac does not, as "attn_pdrop 0.1, embd_pdrop 0.1"
// (dropout inside the base, noise of a router). Adds nothing for a GGUF file, which has no such keys.
int model_config_hf_training_noise(StrBuf *out, const char *path, Err *err);
