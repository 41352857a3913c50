# hosts: several "machines" on this one, sourced by tests that need them. Each has its own network, host name, processes
# and mounts (namespaces) and an sshd. Whatever ends the test ends them: all processes of a machine die with its first
# one, and that one with the shell that started it.
#
#   hosts_open DIR N [NETDELAY MILLISECONDS MBIT]   N machines a, b, c, d, with host names host-a ...; two are joined by
#                            a veth cable, else, or when the program NETDELAY (tests/bench/netdelay.c) is given, by it.
#                            Skips the test (exit 77) where that is not permitted. DIR is shared, DIR/private each has
#                            for itself
#   on MACHINE COMMAND...    runs a command there
#   cable up|down            of machine a
#   hosts_mpirun ...         mpirun on a, one rank on each machine (or on those that HOSTS names)
#   hosts_close
HOSTS_NETWORK=10.213.7

skip() {
    echo "skipped: $*"
    exit 77
}

hosts_check() {
    [ "$(id -u)" = 0 ] || skip "several machines need root"
    for tool in ip unshare nsenter setpriv ssh-keygen mpirun; do
        command -v $tool >/dev/null 2>&1 || skip "no $tool"
    done
    SSHD=$(PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v sshd) || skip "no sshd (Debian: openssh-server)"
    unshare --net --uts --ipc --mount --pid --fork --mount-proc true 2>/dev/null || skip "no namespaces are permitted"
    unshare --net ip link add cable_a type veth peer name cable_b 2>/dev/null || skip "no veth in this kernel"
}

hosts_files() {
    mkdir -p "$hosts_dir/private"
    ssh-keygen -q -t ed25519 -N '' -f "$hosts_dir/key"
    ssh-keygen -q -t ed25519 -N '' -f "$hosts_dir/host_key"
    cat >"$hosts_dir/sshd_config" <<END
Port 2213
HostKey $hosts_dir/host_key
AuthorizedKeysFile $hosts_dir/key.pub
PasswordAuthentication no
StrictModes no
UsePAM no
PidFile none
END
    number=1
    for host in $machines; do
        echo "$HOSTS_NETWORK.$number host-$host"
        number=$((number + 1))
    done >"$hosts_dir/hosts"
}

host_start() {
    setpriv --pdeathsig KILL unshare --net --uts --ipc --mount --pid --fork --kill-child --mount-proc -- sh -c '
        hostname "host-$1" && mount -t tmpfs none "$2/private" && mount --bind "$2/hosts" /etc/hosts &&
            mkdir -p /run/sshd && ip link set lo up && exec "$3" -D -e -f "$2/sshd_config"' \
        sh "$1" "$hosts_dir" "$SSHD" 2>"$hosts_dir/sshd_$1.log" &
    eval "unshare_$1=$!"
    hosts_started="$hosts_started $!"
}

# The first process of the machine that the `unshare` of that id makes.
first_process() {
    for i in $(seq 100); do
        pid=$(cat "/proc/$1/task/$1/children" 2>/dev/null | tr -d ' ')
        [ -n "$pid" ] && [ "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/self/ns/net)" ] && break
        sleep 0.05
    done
    echo "$pid"
}

cables_of_veth() {
    ip link add "cable_a$$" netns "$PID_a" type veth peer name "cable_b$$" netns "$PID_b"
}

# $1: netdelay; $2, $3: its numbers
cables_of_netdelay() {
    [ -e /dev/net/tun ] || skip "no /dev/net/tun"
    names=""
    for host in $machines; do names="$names cable_$host$$"; done
    setpriv --pdeathsig KILL "$1" "$2" "$3" $names >"$hosts_dir/netdelay.log" 2>&1 &
    hosts_started="$hosts_started $!"
    for i in $(seq 100); do
        grep -q ready "$hosts_dir/netdelay.log" && break
        sleep 0.05
    done
    for host in $machines; do
        eval "pid=\$PID_$host"
        ip link set "cable_$host$$" netns "$pid" || skip "no TAP device: $(cat "$hosts_dir/netdelay.log")"
    done
}

plug_in() {
    number=1
    for host in $machines; do
        on $host ip link set "cable_$host$$" name cable
        on $host ip address add "$HOSTS_NETWORK.$number/24" dev cable
        on $host ip link set cable up
        number=$((number + 1))
    done
}

wait_for_ssh() {
    SSH_ARGS="-p 2213 -i $hosts_dir/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    for host in $machines; do
        for i in $(seq 100); do
            on a ssh $SSH_ARGS "host-$host" true 2>/dev/null && break
            [ "$i" = 100 ] && cat "$hosts_dir"/sshd_*.log && skip "no ssh to host-$host"
            sleep 0.1
        done
    done
}

hosts_open() {
    hosts_dir=$1
    hosts_started=""
    machines=$(echo a b c d | cut -d ' ' -f "1-$2")
    hosts_check
    hosts_files
    for host in $machines; do host_start $host; done
    for host in $machines; do eval "PID_$host=\$(first_process \$unshare_$host)"; done
    if [ $# -gt 2 ]; then cables_of_netdelay "$3" "$4" "$5"; else cables_of_veth; fi
    plug_in
    wait_for_ssh
}

on() {
    eval "pid=\$PID_$1"
    shift
    nsenter --target "$pid" --net --uts --ipc --mount --pid -- "$@"
}

cable() {
    on a ip link set cable "$1"
}

hosts_mpirun() {
    on a env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun \
        --host "${HOSTS:-$(echo $machines | sed 's/[a-d]/host-&/g; s/ /,/g')}" --bind-to none \
        --mca plm_rsh_args "$SSH_ARGS" --mca oob_tcp_if_include cable --mca btl_tcp_if_include cable \
        --mca btl tcp,vader,self "$@"
}

hosts_close() {
    for id in ${hosts_started:-}; do kill -9 "$id" 2>/dev/null || :; done
    for id in ${hosts_started:-}; do wait "$id" 2>/dev/null || :; done
    return 0
}
