// run_adapter: the adapter that a config asks for, new or loaded.
#pragma once

#include "adapter.h"
#include "config.h"

// For training. An adapter that is loaded brings r, alpha and targets; a different explicit value is refused.
// labels: of classification data, else NULL.
int run_adapter_new(Adapter **a, const Config *c, const Model *m, const LabelList *labels, Err *err);
