// run_model: the base model and the adapter of a run, by its config.
#pragma once

#include "adapter.h"
#include "config.h"
#include "run_data.h"

// Reads and checks the model's configuration before anything is written; *o are the options for model_load. max_tokens:
// the longest row (run_data.h).
int run_model_options(ModelOptions *o, const Config *c, int64_t *max_tokens, Err *err);
// The same for several runs over one model.
int run_model_options_for(ModelOptions *o, const Config *runs, size_t count, Err *err);
// base_memory auto, when all of the base does not fit: true if it is streamed from its files from here on.
bool run_stream_base(Model *m, const Config *c);
// A new or a loaded adapter, for training. A loaded one determines r, alpha and targets; a different explicit value is
// refused. labels: of classification data, else NULL.
int run_adapter_new(Adapter **a, const Config *c, const Model *m, const RunLabels *labels, Err *err);
// The adapter that the reference of preferences has, NULL: none.
int run_reference_new(Adapter **a, const Config *c, const Model *m, Err *err);
