// cpu: chooses the CPU backend's copy for this machine (cpu.h).
#include "cpu.h"

#include <stdlib.h>

#include "sgemm.h"

// Tables are chosen at run time, not by the loader (ifunc), so that sanitizers and debuggers see plain functions and
// tests can get each table by name.
typedef struct Isa {
    const char *name;
    const Kernels *table;
    bool runs_here;
} Isa;

const Kernels *kernels_cpu(const char *isa) {
    const Isa table[] = {
#define ISA_ENTRY(name, condition) {#name, &CPU_CAT(name, kernels), (condition)},
        CPU_ISA_LIST(ISA_ENTRY)};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].runs_here && (!isa || !strcmp(isa, table[i].name))) return table[i].table;
    return NULL;
}

// LORAC_ISA forces a lower instruction set, for bug reports and for equal results on different machines; unset: the
// best one. oneDNN uses the value of the process's first backend.
const Kernels *cpu_kernels_from_environment(Err *err) {
    const char *isa = getenv("LORAC_ISA");
    const Kernels *k = kernels_cpu(isa);
    if (k && isa) sgemm_limit(isa);
    if (!k) err_runtime(err, "LORAC_ISA is '%s'; expected base, v3 or v4, and a machine that has it", isa);
    return k;
}

void cpu_describe(StrBuf *out) {
    sgemm_describe(out);
}
