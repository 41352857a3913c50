// cores: which CPUs a rank may use, and how the ranks of a machine share them.
#pragma once

#include "base.h"

enum { CORES_MACHINE = 256, CORES_MAX = 4096 };

// What a rank tells the others; plain data.
typedef struct Cores {
    char boot[64];                 // of the kernel; the same: the same CPUs
    uint64_t control;              // of its control groups; the same: the same quota
    int32_t quota;                 // CPUs (threads_quota)
    int32_t asked;                 // OMP_NUM_THREADS, 0: not set
    int32_t granted;               // CPUs that it may use at most, whatever it is bound to now
    int32_t plain;                 // threads of a process alone
    uint64_t mask[CORES_MAX / 64]; // CPUs that it is bound to; none: more than fit here
} Cores;

// What processes have in common that meet on the loopback address and see the same files: name, kernel, network.
void cores_machine(char name[CORES_MACHINE]);
Cores cores_own(void);
// Threads of rank `of`: what it asked for, else its CPUs, each divided by the ranks that may use it, at least 1.
int cores_threads(const Cores *all, int ranks, int of);
// The first rank that is bound to fewer CPUs than there are for it; false: none.
bool cores_warning(StrBuf *out, const Cores *all, int ranks);
