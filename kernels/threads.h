// threads: how many threads this process may really use.
#pragma once

// OMP_NUM_THREADS where it is set (the user's word); else the CPUs of the affinity mask, cut to the CPU quota of the
// process's control groups (a container with 2 of 64 cores must not start 64 threads). At least 1.
int threads_available(void);
// The CPU quota of the control groups, which all of their processes share; NO_QUOTA where there is none.
enum { NO_QUOTA = 1 << 20 };
int threads_quota(void);
