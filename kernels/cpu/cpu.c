// cpu: the choice of the copy of the CPU backend for this machine (the copies: cpu.h).
#include "cpu.h"

#include <stdlib.h>

#include "sgemm.h"

// The choice is made by the caller of a table, not by the loader (ifunc), so that sanitizers and debuggers see plain
// functions and a test can ask for each table by name.
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

// LORAC_ISA forces a lower instruction set, for bug reports and so that unlike machines compute alike; unset: the best
// one. For the library of products it holds from the process's first backend on.
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
