// spawn: starts the ranks of this machine, one per GPU: num_gpus, or a pod of Kubeflow (PET_*).
//
//   launch_detect(&l, err);
//   spawn_count(&ranks, &l, c.num_gpus, c.device, err);
//   if (ranks > 0) return spawn_ranks(&l, ranks, SPAWN_GRACE, c.ddp_timeout, err); // the parent only waits
//   ranks_open(&g, &l, ...)
//
// A rank is this program with the same arguments and the environment that torchrun would set. It dies with its parent.
#pragma once

#include "launcher.h"

enum { NUM_GPUS_ALL = -1, SPAWN_GRACE = 8 };

// *ranks = number of ranks to start here; 0: this process is a rank itself (or alone). ERR_INPUT: fewer GPUs than
// requested, or the device is the CPU.
int spawn_count(int *ranks, const Launch *l, int64_t num_gpus, const char *device, Err *err);
// Starts them and waits; relays the signals of a stop (signals.h). Returns 0 or EXIT_INTERRUPTED; -1 with the status of
// the rank that failed first and a message that names it. After a failure the others, which detect it themselves, have
// `grace` seconds to exit, then get SIGTERM, after as long again SIGKILL; the same `timeout` seconds after the first
// rank that exited well.
int spawn_ranks(const Launch *l, int ranks, double grace, double timeout, Err *err);
