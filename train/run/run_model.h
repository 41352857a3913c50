// run_model: the base model of a run, by its config.
#pragma once

#include "config.h"
#include "model.h"

// Reads and checks the model's configuration before anything is written; *o are the options for model_load. max_tokens:
// the longest row (run_data.h).
int run_model_options(ModelOptions *o, const Config *c, int64_t *max_tokens, Err *err);
