// module: shared objects that are loaded when they are asked for, so that the binary needs none of their libraries.
//
// They lie beside the binary, in ../lib/lorac from there, or in the folder that LORAC_MODULES names. A module stays
// loaded until the process ends: the libraries behind it do not like to go.
#pragma once

#include "kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

// *symbol = the address of `name` in the module `file`. `library`: what cmake did not find where the module is absent.
// EXIT_RUNTIME and one line: the module is absent, a library of its own is missing, or it was built from other headers.
int module_symbol(void **symbol, const char *file, const char *name, const char *library, Err *err);

// Every module exports this, made of the headers that it shares with the binary: see CMakeLists.txt.
#define MODULE_EXPORT __attribute__((visibility("default")))
#define MODULE_INTERFACE_SYMBOL "lorac_module_interface"
MODULE_EXPORT extern const char lorac_module_interface[];

// The entries of lorac-cuda.so.
MODULE_EXPORT int lorac_cuda_gpus(int *count, GpuId *ids, int most, Err *err); // backend_gpus
// Fills *b, whose threads are set; `host`: the CPU's table, whose weight_finite and
// pack work in host memory on every backend.
MODULE_EXPORT int lorac_cuda_open(Backend *b, const BackendOptions *o, const Kernels *host, Err *err);

// The one entry of lorac-mpi.so. Starts MPI and fills *g but for the machines; one rank: group_alone(). MPI's own start
// and end have no time limit: the process ends (EXIT_RUNTIME) where they have taken `seconds`.
MODULE_EXPORT int lorac_mpi_open(Group *g, double seconds, Err *err);

#ifdef __cplusplus
}
#endif
