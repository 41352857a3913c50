#!/bin/bash
# lorac on a Slurm cluster: sbatch configs/cluster/slurm.sh CONFIG.json [overrides]
#
# One rank for each GPU; for CPUs drop the two GPU lines and ask for one task a node with its cores. Some minutes before
# the time is up, and when the job is preempted, the ranks are told; they save, all return 75, and the job goes back
# into the queue. It goes on from there, on the same number of nodes or another one.
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
# To the steps, that is to every rank, up to a minute early. Preemption sends SIGTERM, which does
# the same; how long it waits then is the partition's GraceTime.
#SBATCH --signal=USR1@180
set -u

# What this shell is sent the ranks are sent too: it only has to live until they have saved.
told=yes
trap 'told=yes' TERM USR1

# A secret of this run, by which its ranks know each other.
if [ -z "${LORAC_SECRET:-}${LORAC_SECRET_FILE:-}" ]; then
    LORAC_SECRET=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    export LORAC_SECRET
fi

# PMIx is how ranks started by srun find each other: `srun --mpi=list` must name it. Without it (or without Open MPI):
# torchrun, see README.md beside this file.
srun --mpi=pmix --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" lorac train "$@" &
while [ -n "$told" ]; do # a signal ends the first wait
    told=
    wait $!
    status=$?
done

if [ "$status" = 75 ]; then
    echo "lorac: state saved; back into the queue"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
