// run_adapter: the adapter of a run, new or loaded, by its config.
#pragma once

#include "adapter.h"
#include "config.h"

// For training. A loaded adapter determines r, alpha and targets; a different explicit value is refused.
// labels: of classification data, else NULL.
int run_adapter_new(Adapter **a, const Config *c, const Model *m, const LabelList *labels, Err *err);
