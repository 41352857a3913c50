// module: shared objects that are loaded on demand, so that the binary does not depend on their libraries.
//
// They are next to the binary, in ../lib/lorac from there, or in the folder that LORAC_MODULES names. A module stays
// loaded until the process ends: its libraries cannot be unloaded safely.
#pragma once

#include "kernels.h"

C_BEGIN

// *symbol, a pointer to a function, = the address of `name` in the module `file`. `library`: for the message, what
// cmake needs to build it. ERR_RUNTIME: module or library absent, or the module was built from other headers.
int module_symbol(void *symbol, const char *file, const char *name, const char *library, Err *err);

// Every module exports this hash of the headers that it shares with the binary (CMakeLists.txt).
#define MODULE_EXPORT __attribute__((visibility("default")))
#define MODULE_INTERFACE_SYMBOL "lorac_module_interface"
MODULE_EXPORT extern const char lorac_module_interface[];

// The entries of lorac-cuda.so.
MODULE_EXPORT int lorac_cuda_gpus(int *count, GpuId *ids, int most, Err *err); // backend_gpus
// Fills *b, whose threads are set; `host`: the CPU's table, for weight_finite and pack.
MODULE_EXPORT int lorac_cuda_open(Backend *b, const BackendOptions *o, const Kernels *host, Err *err);

// The entry of lorac-mpi.so. Starts MPI and fills *g except node and nodes; one rank: group_alone(). MPI_Init and
// MPI_Finalize have no time limit: the process exits with EXIT_RUNTIME if one takes more than `seconds`.
MODULE_EXPORT int lorac_mpi_open(Group *g, double seconds, Err *err);

C_END
