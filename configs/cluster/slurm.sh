#!/bin/bash
# lorac on a Slurm cluster: sbatch configs/cluster/slurm.sh CONFIG.json [overrides]
#
# One rank per GPU; for CPUs remove the two GPU lines and request one task per node with all its cores. Some minutes
# before the time limit, and when the job is preempted, all ranks receive a signal: they save their state and exit with
# status 75, and the job is requeued. It resumes on any number of nodes.
#SBATCH --job-name=lorac
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --gpu-bind=none
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=lorac-%j.log
# Sent to the job steps, so to every rank, up to a minute early. Preemption sends SIGTERM, with the
# same effect; the partition's GraceTime is the time until SIGKILL.
#SBATCH --signal=USR1@180
set -u

# The ranks receive the same signals as this shell, which only has to wait until they have saved.
signalled=yes
trap 'signalled=yes' TERM USR1

# A secret for this run: only its ranks can connect to each other.
if [ -z "${LORAC_SECRET:-}${LORAC_SECRET_FILE:-}" ]; then
    LORAC_SECRET=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    export LORAC_SECRET
fi

# Ranks started by srun find each other through PMIx: `srun --mpi=list` must list it. Without it, or without Open MPI, use
# torchrun: README.md in this folder.
srun --mpi=pmix --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" lorac train "$@" &
while [ -n "$signalled" ]; do # a signal ends the first wait
    signalled=
    wait $!
    status=$?
done

if [ "$status" = 75 ]; then
    echo "lorac: state saved; requeued"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
