// run_model: the base model as a config asks for it.
#pragma once

#include "config.h"
#include "model.h"

// What can be wrong about the model is found out here, before anything is written: reads its configuration, gives the
// options with which model_load loads it. max_tokens: the longest row (run_data.h).
int run_model_options(ModelOptions *o, const Config *c, int64_t *max_tokens, Err *err);
