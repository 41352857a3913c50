// autotune: decides, before the first step, all that a device chooses by timing, equally on all ranks.
#pragma once

#include "trainer.h"

// Collective; after trainer_fit_memory and the backend's connect. In host memory: nothing to do. On a device:
//  - rank 0 runs a pass of each shape of the run, so that its choices (algorithms, kind of attention) are made, unless
//    `restored`: a snapshot has brought them;
//  - all ranks take rank 0's choices, and the heaviest of their recomputation levels.
// Afterwards no rank decides by timing, so that a run resumed from a snapshot, or on other ranks, is bit-identical; for
// that reason a single rank autotunes too. The run's state does not change.
int autotune(Trainer *t, bool restored, Err *err);
