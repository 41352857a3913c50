// spawn: lorac starts its own ranks, one for each GPU of this machine: num_gpus, or a pod of Kubeflow (PET_*).
//
//   launch_detect(&l, err);
//   spawn_count(&ranks, &l, c.num_gpus, c.device, err);
//   if (ranks > 0) return spawn_ranks(&l, ranks, SPAWN_GRACE, c.ddp_timeout, err); // only waits
//   ranks_open(&g, &l, ...)
//
// A rank is this program again with the same arguments and the environment that torchrun would give it. It dies with
// its parent.
#pragma once

#include "launcher.h"

enum { NUM_GPUS_ALL = -1, SPAWN_GRACE = 8 };

// *ranks = how many are to be started here; 0: none, this process is a rank itself (or alone).
// EXIT_INPUT: several GPUs are asked for and there are fewer, or the device is the CPU.
int spawn_count(int *ranks, const Launch *l, int64_t num_gpus, const char *device, Err *err);
// Starts them and waits. The signals of a stop (signals.h) go on to all of them. Returns 0 or EXIT_INTERRUPTED; -1 with
// the status of the rank that failed first and one line that names it. The others, which notice by themselves, have
// `patience` seconds to end, then SIGTERM, then, as long after, SIGKILL. The same `timeout` seconds after the first
// rank that has ended well.
int spawn_ranks(const Launch *l, int ranks, double patience, double timeout, Err *err);
