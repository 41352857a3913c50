#!/bin/sh
# usage: scaling_hosts.sh BUILD RANKS MILLISECONDS MBIT DIR COMMAND...: a command under mpirun on so many machines
# (../train/ranks/hosts.sh) behind netdelay, one rank each. In DIR the machines' own files are shared, too.
set -eu
build=$1 ranks=$2 delay=$3 rate=$4 dir=$5
shift 5
. "$(dirname "$0")/../train/ranks/hosts.sh"
trap 'hosts_close' EXIT
trap 'exit 1' INT TERM HUP
hosts_open "$dir" "$ranks" "$build/bench_netdelay" "$delay" "$rate"
for host in $machines; do
    # Jumbo frames, and no slow start anew after each step's pause, as one would set up such a network.
    on "$host" ip link set cable mtu 9000
    on "$host" sh -c 'echo 0 >/proc/sys/net/ipv4/tcp_slow_start_after_idle'
done
hosts_mpirun -x OMP_NUM_THREADS -x OMP_WAIT_POLICY "$@"
