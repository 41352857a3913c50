// ranks: opens the group of the ranks that a launcher has started.
#pragma once

#include "group.h"
#include "launcher.h"

// The share of ddp_timeout after which a missing or silent rank is given up; the rest is for reporting and exiting.
static const double RANKS_TIMEOUT_SHARE = 0.8;

// Alone: *g = group_alone(), without loading MPI. `seconds`: deadline for the other ranks, here and in each call of the
// group until its heartbeat runs (heartbeat_open). Fills node and local ranks too.
int ranks_open(Group *g, const Launch *l, double seconds, Err *err);
// Threads of this rank: OMP_NUM_THREADS if set, else its allowed cores, divided by the ranks that share them. `cpu`:
// the run computes on the CPU; then rank 0 warns if the launcher has bound ranks to fewer cores than are available.
// Collective.
int ranks_threads(Group *g, bool cpu, int *threads, Err *err);
