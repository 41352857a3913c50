// ranks: opens the group of the ranks that a launcher has started.
#pragma once

#include "heartbeat.h"
#include "launcher.h"

// The other ranks of a run; borrowed by all that work with them.
typedef struct RankContext {
    Group *group;
    Heartbeat *heartbeat; // NULL: alone
} RankContext;

// The share of ddp_timeout after which a missing or silent rank is given up; the rest is for reporting and exiting.
static const double RANKS_TIMEOUT_SHARE = 0.8;

// Alone: *g = group_alone(), without loading MPI. `seconds`: deadline for the other ranks, here and in each call of the
// group until its heartbeat runs (heartbeat_open). Fills node and local ranks too.
int ranks_open(Group *g, const Launch *l, double seconds, Err *err);
