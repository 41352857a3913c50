// train_run: a whole run, from the config to the adapter on disk; or several over one base model. `lorac train` is this
// function.
#pragma once

#include "config.h"
#include "group.h"

// Collective. 0: done; EXIT_INTERRUPTED: stopped by a signal (signals_install) with its state saved; -1: err has the
// message, empty if another rank reports it. The same on all ranks that can still communicate. g outlives the call.
// runs: of config (config_runs).
int train_run(const Config *config, const ConfigList *runs, Group *g, Err *err);
