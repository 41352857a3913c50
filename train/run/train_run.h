// train_run: a whole run, from the config to the adapter on disk. `lorac train` is this function.
#pragma once

#include "config.h"

// Returns the exit status: 0 done, EXIT_INTERRUPTED stopped by a signal with its state saved, else err has the message.
int train_run(const Config *c, Err *err);
