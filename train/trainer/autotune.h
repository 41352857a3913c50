// autotune: times algorithms on a device before the first step; all ranks then use the same ones.
#pragma once

#include "trainer.h"

// Collective; after trainer_fit_memory and the backend's connect. In host memory: nothing to do. On a device:
//  - rank 0 runs a pass of each of the most frequent shapes, which times algorithms and kinds of attention, unless the
//    choices were `restored` from a snapshot;
//  - all ranks take rank 0's choices, and the heaviest of their recomputation levels.
// After this call nothing is timed, so a resumed run and other ranks use the same algorithms and are bit-identical.
// Therefore a single rank autotunes too. The run's state does not change.
int autotune(Trainer *t, bool restored, Err *err);
