// table_cpu: the op table of the fast CPU backend, one copy per instruction set.
#include "cpu.h"

#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define HOST_ENTRY(slot) .slot = host_##slot,
#define CPU_ENTRY(slot) .slot = CPU_FN(slot),

const Kernels CPU_FN(kernels) = {.name = "cpu-" STRING(CPU_ISA), DEVICE_SLOTS(HOST_ENTRY) OP_SLOTS(CPU_ENTRY)};
