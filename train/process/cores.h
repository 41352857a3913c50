// cores: which CPUs a rank may use, and how the ranks of a machine share them.
#pragma once

#include "group.h"

enum { CORES_MACHINE = 256, CORES_MAX = 4096, NO_QUOTA = 1 << 20 };

// Of one rank; exchanged as bytes.
typedef struct Cores {
    char boot[64];                 // boot id of the kernel; equal: the same CPUs
    uint64_t control;              // hash of its control groups; equal: the same quota
    int32_t quota;                 // of the control groups, shared by their processes; NO_QUOTA: none
    int32_t asked;                 // OMP_NUM_THREADS, 0: not set
    int32_t granted;               // CPUs that it may use, regardless of its current binding
    int32_t plain;                 // threads it would use alone
    uint64_t mask[CORES_MAX / 64]; // CPUs that it is bound to; empty: more than fit
} Cores;

// Equal for processes that share loopback address and files: host name, kernel, network namespace.
void cores_machine(char name[CORES_MACHINE]);
Cores cores_own(void);
// Threads of rank `of`: OMP_NUM_THREADS, else its CPUs, each divided by the ranks that may use it; at least 1.
int cores_threads(const Cores *all, int ranks, int of);
// About the first rank that is bound to fewer CPUs than are available to it; false: none.
bool cores_warning(StrBuf *out, const Cores *all, int ranks);
// Threads of this rank (cores_threads). `cpu`: the run computes on the CPU; then rank 0 warns if the launcher has bound
// ranks to fewer cores than are available. Collective.
int cores_share(Group *g, bool cpu, int *threads, Err *err);
