// run_consistency: are the ranks about to do the same run? Collective, as consistency.h.
#pragma once

#include "snapshot.h"

// The program (version and executable), and every key that decides what is computed. Before anything is opened.
int consistency_check_config(Group *g, const Config *c, Err *err);
// What has been opened: base model, data, adapter, device. Machines may have them at other paths.
int consistency_check_run(Group *g, const Trainer *t, const RunIdentity *id, Err *err);
