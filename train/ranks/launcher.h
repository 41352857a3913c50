// launcher: what the environment says of the other ranks, and who started them.
//
//   mpirun, srun with PMIx, the MPI Operator   OMPI_COMM_WORLD_RANK / _SIZE, PMIX_RANK            -> lorac-mpi.so
//   torchrun                                   RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR / _PORT  -> TCP
//   a pod of Kubeflow without torchrun         PET_NNODES, PET_NODE_RANK, PET_NPROC_PER_NODE, PET_MASTER_ADDR / _PORT:
//                                              lorac starts the ranks of its machine itself (spawn.h)
// A launcher's environment with numbers that make no sense, or srun with several tasks and without PMIx, is an error:
// many processes that each believe to be alone would write over each other.
#pragma once

#include "base.h"

typedef enum { LAUNCH_ALONE, LAUNCH_MPI, LAUNCH_TCP, LAUNCH_PET } LaunchKind;

typedef struct Launch {
    LaunchKind kind;
    int rank, ranks, local_rank, local_ranks; // LAUNCH_TCP; LAUNCH_PET: of the machines (rank, ranks), and the number
                                              // of ranks to start here (local_ranks, 0: one for each GPU)
    char master[256];                         // LAUNCH_TCP, LAUNCH_PET: host of rank 0
    int port;
} Launch;

int launch_detect(Launch *l, Err *err); // reads the environment only
