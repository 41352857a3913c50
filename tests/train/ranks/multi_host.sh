#!/bin/sh
# usage: multi_host.sh BUILD_DIR: a run on two machines (hosts.sh). It has the bits of one process, whoever launches
# it; only rank 0 needs output_dir; when the cable is cut, both sides end within ddp_timeout and the same command goes
# on, to the same bits. Exit 77: skipped.
set -u
build=$1
lorac=$build/lorac
timeout=8
. "$(dirname "$0")/hosts.sh"
[ -e "$build/lorac-mpi.so" ] || skip "lorac-mpi.so was not built"
hosts_check
shared=$("$build/tiny_files") || exit 1
trap 'hosts_close; rm -rf "$shared"' EXIT
trap 'exit 1' INT TERM HUP PIPE
hosts_open "$shared" 2
steps=150
# Four rows a step, of three that an epoch has: every epoch ends with a short step, and rank 1 has less to do in it.
words="train model=$shared/tiny.gguf train_file=$shared/data.jsonl max_seq_length=48 learning_rate=1e-2 lora_dropout=0.1
max_steps=$steps save_steps=10 resume_from_checkpoint=auto ddp_timeout=$timeout"
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive ASAN_OPTIONS=detect_leaks=0 RANKS_EXPECTED=2 RANKS_PER_MACHINE=1
exported="-x OMP_NUM_THREADS -x OMP_WAIT_POLICY -x ASAN_OPTIONS -x RANKS_EXPECTED -x RANKS_PER_MACHINE"

fail() {
    echo "multi_host: $*"
    for log in "$shared"/*.log; do
        echo "--- $log"
        tail -n 25 "$log"
    done
    exit 1
}

# name, output_dir, further words: a run under mpirun on $HOSTS
cluster() {
    log=$shared/$1.log
    output=$2
    shift 2
    hosts_mpirun $exported -x XDG_CACHE_HOME="$shared/private" \
        "$lorac" $words output_dir="$output" "$@" >"$log" 2>&1
}

same_bits() { # on which machine, output_dir
    on "$1" cmp "$2/adapter/adapter_model.safetensors" "$shared/one/adapter/adapter_model.safetensors" ||
        fail "the adapter in $2 differs from that of one process"
}

processes() { # on a machine
    on "$1" pgrep -c -x lorac
}

hosts_mpirun $exported "$build/test_group_mpi" >"$shared/group.log" 2>&1 ||
    fail "the group of ranks"

"$lorac" $words gradient_accumulation_steps=4 output_dir="$shared/one" >"$shared/one.log" 2>&1 || fail "one process"

# mpirun; output_dir lies where only rank 0 sees it
cluster mpi "$shared/private/out" gradient_accumulation_steps=2 || fail "two machines, mpirun: status $?"
same_bits a "$shared/private/out"
on b test ! -e "$shared/private/out" || fail "rank 1 made an output_dir"

# torchrun's environment, without MPI
for rank in 1 0; do
    [ $rank = 0 ] && machine=a || machine=b
    on $machine env RANK=$rank LOCAL_RANK=0 LOCAL_WORLD_SIZE=1 WORLD_SIZE=2 MASTER_ADDR=host-a MASTER_PORT=29500 \
        "$lorac" $words gradient_accumulation_steps=2 output_dir="$shared/tcp" >"$shared/tcp_$rank.log" 2>&1 &
done
wait $! || fail "two machines, without MPI: status $?"
same_bits a "$shared/tcp"

# the cable is cut in the middle
cluster cut "$shared/cut" gradient_accumulation_steps=2 &
job=$!
for i in $(seq 300); do
    ls "$shared"/cut/checkpoint-*/manifest.json >/dev/null 2>&1 && break # any: older ones are removed soon
    sleep 0.1
done
cable down
cut=$(date +%s)
while [ "$(processes a)$(processes b)" != 00 ]; do
    [ $(($(date +%s) - cut)) -le $((timeout + 5)) ] || fail "ranks still run $((timeout + 5)) s after the cable was cut"
    sleep 0.2
done
echo "cable cut: all ranks had ended after $(($(date +%s) - cut)) s (ddp_timeout $timeout)"
grep -q "^lorac: .*rank [01]" "$shared/cut.log" || fail "nobody named the peer"
[ ! -e "$shared/cut/adapter" ] || fail "the run was over before the cable was cut"
on a pkill -x mpirun # which has lost the other side, too
wait $job
cable up
cluster resumed "$shared/cut" gradient_accumulation_steps=2 || fail "resuming on two machines: status $?"
same_bits a "$shared/cut"
echo "two machines have the bits of one"
