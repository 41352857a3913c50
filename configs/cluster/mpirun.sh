#!/bin/sh
# usage: mpirun.sh MPIRUN-OPTIONS... lorac train CONFIG.json [overrides]: mpirun for places that stop a job with SIGTERM
# (Kubernetes, systemd, other batch systems) or Ctrl-C. mpirun itself gives its ranks one second then; told by SIGUSR1,
# which it passes on, they finish the step, save and return 75.
#
#   mpirun.sh --hostfile hostfile lorac train CONFIG.json
trap 'told=yes; kill -USR1 "$job" 2>/dev/null' TERM INT
# A secret of this run, by which its ranks know each other. mpirun hands it on by name: an argument everybody could read.
handed=LORAC_SECRET_FILE
if [ -z "${LORAC_SECRET_FILE:-}" ]; then
    handed=LORAC_SECRET
    LORAC_SECRET=${LORAC_SECRET:-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')}
    export LORAC_SECRET
fi
# A machine that cannot be reached is noticed after a minute, not after six.
set -- mpirun -x "$handed" --bind-to none --mca oob_tcp_keepalive_time 30 --mca oob_tcp_keepalive_intvl 10 \
    --mca oob_tcp_keepalive_probes 3 "$@"
# In a session of its own: Ctrl-C reaches mpirun by way of the trap only.
setsid "$@" &
job=$!
told=yes
while [ -n "$told" ]; do # a signal ends the first wait
    told=
    wait "$job"
    status=$?
done
exit "$status"
