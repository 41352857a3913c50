// ranks: opens the group that a launcher's environment speaks of.
#pragma once

#include "group.h"
#include "launcher.h"

// Alone: *g = group_alone(), and nothing of MPI is loaded. `seconds`: how long the others are waited for (TCP; under
// MPI the launcher sees to that). Fills the numbers of machines too.
int ranks_open(Group *g, const Launch *l, double seconds, Err *err);
// How many threads this rank may use: the cores it is allowed, shared with the ranks of this machine that are allowed
// the same ones.
int ranks_threads(Group *g, int *threads, Err *err); // collective
