// run_consistency: checks that all ranks compute the same run. Collective, as consistency.h.
#pragma once

#include "trainer.h"

// The program (version and executable), and every key that affects results. Before anything is opened.
int run_consistency_config(Group *g, const Config *c, Err *err);
// What has been opened: base model, data, adapter, device. Their paths may differ between machines.
int run_consistency_run(Group *g, const Trainer *t, Err *err);
