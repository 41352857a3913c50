// train_run: a whole run, from the config to the adapter on disk. `lorac train` is this function.
#pragma once

#include "config.h"
#include "group.h"

// Collective. Returns the exit status, the same on all ranks where they still can agree: 0 done, EXIT_INTERRUPTED
// stopped by a signal (signals_install) with its state saved, else err has the message, empty where another rank says
// it. g outlives the call.
int train_run(const Config *c, Group *g, Err *err);
