// ranks: opens the group that a launcher's environment speaks of.
#pragma once

#include "group.h"
#include "launcher.h"

// The share of ddp_timeout after which a rank that is missing or silent is given up; the rest is for telling and
// ending.
static const double RANKS_TIMEOUT_SHARE = 0.8;

// Alone: *g = group_alone(), and nothing of MPI is loaded. `seconds`: how long the others are waited for, here and in
// each call of the group until its heartbeat runs (heartbeat_open). Fills the numbers of machines too.
int ranks_open(Group *g, const Launch *l, double seconds, Err *err);
// How many threads this rank may use: OMP_NUM_THREADS where it is set, else the cores it is allowed, shared with the
// ranks of this machine that are allowed the same ones. `cpu`: the run computes on the CPU; then rank 0 says so where
// the launcher has bound ranks to fewer cores than there are for them. Collective.
int ranks_threads(Group *g, bool cpu, int *threads, Err *err);
