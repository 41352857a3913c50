// bench_machine: the CPU of this machine: its instructions, and how fast all threads read memory.
#pragma once

#include "base.h"

typedef struct BenchMachine {
    char name[128]; // "AMD EPYC 9B14"
    char isa[128];  // its vector and matrix instructions, as /proc/cpuinfo names them: "avx2 avx512f avx512_bf16"
    int threads;
    double read;      // bytes/s of reading a buffer of read_size bytes
    size_t read_size; // 512 MiB, or a quarter of the free memory
} BenchMachine;

void bench_machine(BenchMachine *m); // takes about a second
