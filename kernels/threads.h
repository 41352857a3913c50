// threads: how many threads this process may use.
#pragma once

// OMP_NUM_THREADS if set; else the CPUs of the affinity mask, at most the CPU quota of the process's control groups (a
// container with 2 of 64 cores must not start 64 threads). At least 1.
int threads_available(void);
// The CPU quota of the control groups, shared by all of their processes; NO_QUOTA: none.
enum { NO_QUOTA = 1 << 20 };
int threads_quota(void);
