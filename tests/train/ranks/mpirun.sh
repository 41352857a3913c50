#!/bin/sh
# usage: mpirun.sh RANKS PROGRAM [ARGUMENTS]: runs a test on this machine under mpirun, on more ranks than cores if need
# be and as root too. 77 (skipped) where there is no mpirun. Settings go by environment: each Open MPI reads its own.
command -v mpirun >/dev/null 2>&1 || { echo "skipped: no mpirun (Debian: openmpi-bin)"; exit 77; }
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 RANKS_EXPECTED="$1"
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none # 4
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe PRTE_MCA_hwloc_default_binding_policy=none # 5
ranks=$1
shift
exec mpirun -np "$ranks" "$@"
