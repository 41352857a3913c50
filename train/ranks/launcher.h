// launcher: what the environment says of the other ranks, and who started them.
//
//   mpirun, srun with PMIx, the MPI Operator   OMPI_COMM_WORLD_RANK / _SIZE, PMIX_RANK, PMI_RANK  -> lorac-mpi.so
//   torchrun                                   RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR / _PORT  -> TCP
//   a pod of Kubeflow without torchrun         PET_NNODES, PET_NODE_RANK, PET_NPROC_PER_NODE, PET_MASTER_ADDR / _PORT:
//                                              lorac starts the ranks of its machine itself (spawn.h)
// A launcher's environment with numbers that make no sense, or srun with several tasks and without PMIx, is an error:
// many processes that each believe to be alone would write over each other. A launcher of one rank is none.
// LORAC_PORT replaces the port of TCP: torchrun's own is taken by its agent, so that lorac takes the next one.
// Between lorac and ranks that it starts itself: LORAC_RUN_ID, LORAC_SECRET, and to rank 0 LORAC_LISTENER.
// A secret (secret.h) keeps strangers out of a run; the launcher's name of the job only tells two jobs apart.
#pragma once

#include "group.h"

typedef enum { LAUNCH_ALONE, LAUNCH_MPI, LAUNCH_TCP, LAUNCH_PET } LaunchKind;

typedef struct Launch {
    LaunchKind kind;
    int rank, ranks;             // LAUNCH_MPI: ranks 0 where the environment does not tell; LAUNCH_PET: of the machines
    int local_rank, local_ranks; // -1 where the environment does not tell; LAUNCH_PET: local_ranks is how many to start
                                 // here, 0: one for each GPU
    char master[256];            // LAUNCH_TCP, LAUNCH_PET: host of rank 0
    int port;
    int listener;                 // LAUNCH_TCP: a socket of the parent that listens there, -1: none
    unsigned char key[GROUP_KEY]; // LAUNCH_TCP, LAUNCH_MPI: of this job and its secret
    bool secret;                  // there is one
} Launch;

int launch_detect(Launch *l, Err *err); // reads the environment only
