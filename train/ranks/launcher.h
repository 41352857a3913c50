// launcher: detects from the environment which launcher started this process, and its place among the ranks.
//
//   mpirun, srun with PMIx, the MPI Operator   OMPI_COMM_WORLD_RANK / _SIZE, PMIX_RANK, PMI_RANK  -> lorac-mpi.so
//   torchrun                                   RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR / _PORT  -> TCP
//   a pod of Kubeflow without torchrun         PET_NNODES, PET_NODE_RANK, PET_NPROC_PER_NODE, PET_MASTER_ADDR / _PORT:
//                                              lorac starts the ranks of its machine itself (spawn.h)
// Inconsistent variables of a launcher, or srun with several tasks and without PMIx, are an error: otherwise each
// process would run as a single rank and overwrite the others' output. A launcher of one rank counts as none.
// LORAC_PORT replaces the TCP port; torchrun's agent listens on MASTER_PORT, so the default is the next one.
// lorac sets LORAC_RUN_ID, LORAC_SECRET and, for rank 0, LORAC_LISTENER for ranks that it starts itself.
// The secret (LORAC_SECRET or the content of the file LORAC_SECRET_FILE) authenticates ranks; the launcher's job name
// only distinguishes jobs.
#pragma once

#include "group.h"

typedef enum { LAUNCH_ALONE, LAUNCH_MPI, LAUNCH_TCP, LAUNCH_PET } LaunchKind;

typedef struct Launch {
    LaunchKind kind;
    int rank, ranks;             // LAUNCH_MPI: ranks 0: unknown; LAUNCH_PET: of the machines
    int local_rank, local_ranks; // -1: unknown; LAUNCH_PET: local_ranks to start here, 0: one per GPU
    char master[256];            // LAUNCH_TCP, LAUNCH_PET: host of rank 0
    int port;
    int listener;                 // LAUNCH_TCP: inherited from the parent, -1: none
    unsigned char key[GROUP_KEY]; // LAUNCH_TCP, LAUNCH_MPI: derived from job and secret
    bool secret;                  // a secret is set
} Launch;

int launch_detect(Launch *l, Err *err); // reads the environment only

enum { SECRET_LEAST = 16, SECRET_MOST = 4096 }; // bytes, without trailing white space
// Derives the key of the run `job` (may be NULL). *secret = false: no secret is set, the key follows from the job's
// name alone. ERR_INPUT: the secret is too short, or other users may read its file.
int secret_key(unsigned char key[GROUP_KEY], bool *secret, const char *job, Err *err);
