// autotune: what a device decides by speed is decided before the first step, and is the same on all ranks.
#pragma once

#include "trainer.h"

// Collective, once memory is reserved and the ranks are connected, before the first step. On a device:
//  - rank 0 runs a pass of each shape that the run's passes can have, so that its choices (algorithms, the kind of
//    attention) are made; decided: a snapshot has brought them. The others take rank 0's. From then on no rank decides
//    by speed: a run that goes on from a snapshot, or on other ranks, computes the same bits. So one rank rehearses
//    too;
//  - all recompute at the heaviest of their levels.
// Nothing of the run's state changes.
int autotune(Trainer *t, bool decided, Err *err);
