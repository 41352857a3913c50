#!/bin/sh
# usage: mpirun.sh MPIRUN-OPTIONS... lorac train CONFIG.json [overrides]: mpirun for systems that stop a job with SIGTERM
# (Kubernetes, systemd, batch systems) or Ctrl-C. mpirun kills its ranks one second after these. This script sends SIGUSR1
# instead, which mpirun forwards: the ranks finish the step, save their state and exit with status 75.
#
#   mpirun.sh --hostfile hostfile lorac train CONFIG.json
trap 'signalled=yes; kill -USR1 "$job" 2>/dev/null' TERM INT
# A secret for this run: only its ranks can connect to each other. mpirun passes the variable on by name, because other
# users could read an argument.
passed=LORAC_SECRET_FILE
if [ -z "${LORAC_SECRET_FILE:-}" ]; then
    passed=LORAC_SECRET
    LORAC_SECRET=${LORAC_SECRET:-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')}
    export LORAC_SECRET
fi
# Detect an unreachable machine after one minute, not after six.
set -- mpirun -x "$passed" --bind-to none --mca oob_tcp_keepalive_time 30 --mca oob_tcp_keepalive_intvl 10 \
    --mca oob_tcp_keepalive_probes 3 "$@"
# In a new session, so that Ctrl-C reaches mpirun only through the trap.
setsid "$@" &
job=$!
signalled=yes
while [ -n "$signalled" ]; do # a signal ends the first wait
    signalled=
    wait "$job"
    status=$?
done
exit "$status"
