// cpu: chooses the CPU backend's copy for this machine (cpu.h).
#include "cpu.h"

#include <stdlib.h>
#ifdef __x86_64__
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

// Tables are chosen at run time, not by the loader (ifunc), so that sanitizers and debuggers see plain functions and
// tests can get each table by name.
typedef struct Isa {
    const char *name;
    DType activation;
    MatmulPrecision precision;
    const Kernels *table;
    bool (*runs_here)(void);
} Isa;

static bool cpu_has_base(void) { return true; }

#ifdef __x86_64__
static bool cpu_has_v3(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2");
}

static bool cpu_has_v4(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && cpu_has_v3();
}

static bool cpu_has_avx512_bf16(void) { return cpu_has_v4() && __builtin_cpu_supports("avx512bf16"); }

// The kernel grants a process the tile registers when it asks for them.
static bool cpu_has_amx(void) {
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    const unsigned amx_bf16 = 1u << 22, amx_tile = 1u << 24;
    unsigned a, b, c, d = 0;
    if (!cpu_has_avx512_bf16() || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    if ((d & amx_bf16) == 0 || (d & amx_tile) == 0) return false;
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
#endif

const Kernels *kernels_cpu(DType activation, MatmulPrecision precision, const char *isa) {
    const Isa table[] = {
#define ISA_ENTRY(copy, isa, type, precision, condition)                                                               \
    {#isa, DTYPE_##type, PRECISION_##precision, &CPU_CAT(copy, kernels), condition},
        CPU_ISA_LIST(ISA_ENTRY)};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].activation == activation && table[i].precision == precision &&
            (!isa || !strcmp(isa, table[i].name)) && table[i].runs_here())
            return table[i].table;
    return NULL;
}

// LORAC_ISA names the copy: for bug reports and for equal results on different machines.
const Kernels *cpu_kernels_from_environment(DType activation, MatmulPrecision precision, Err *err) {
    const char *isa = getenv("LORAC_ISA"), *name = precision == PRECISION_HIGH ? "high" : "medium";
    const Kernels *k = kernels_cpu(activation, precision, isa);
    bool bf16 = activation == DTYPE_BF16, split = precision != PRECISION_HIGHEST;
    if (k) return k;
    if (isa)
        err_input(err, "LORAC_ISA is '%s'; expected %s for dtype %s%s%s, and a machine that has it", isa,
                  bf16 || split ? "avx512_bf16 or amx" : "base, v3 or v4", bf16 ? "bf16" : "f32",
                  split ? " with float32_matmul_precision " : "", split ? name : "");
    else if (split)
        err_input(err, "this CPU has no bf16 products (AVX512_BF16) for float32_matmul_precision %s; expected highest",
                  name);
    else
        err_input(err, "this CPU has no bf16 products (AVX512_BF16); expected dtype auto or f32");
    return NULL;
}
