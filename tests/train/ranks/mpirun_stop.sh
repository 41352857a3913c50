#!/bin/sh
# usage: mpirun_stop.sh BUILD_DIR: the scripts of configs/cluster stop a job so that it goes on: SIGTERM to mpirun.sh, and
# what Slurm does to slurm.sh, with stand-ins for its commands. All ranks save once and return 75; the same command ends
# with the bits of one process. Exit 77: skipped.
set -u
build=$1
scripts=$(cd "$(dirname "$0")/../../../configs/cluster" && pwd)
command -v mpirun >/dev/null 2>&1 || { echo "skipped: no mpirun (Debian: openmpi-bin)"; exit 77; }
[ -e "$build/lorac-mpi.so" ] || { echo "skipped: lorac-mpi.so was not built"; exit 77; }
dir=$("$build/tiny_files") || exit 1
job=
trap '[ -z "$job" ] || kill -9 "$job" 2>/dev/null; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM HUP
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive ASAN_OPTIONS=detect_leaks=0 XDG_CACHE_HOME="$dir/cache"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe PATH="$dir/bin:$PATH"
words="model=$dir/tiny.gguf train_file=$dir/data.jsonl max_seq_length=48 learning_rate=1e-2 lora_dropout=0.1
max_steps=300 save_steps=10 save_total_limit=2"

# Slurm: srun starts two ranks; Slurm itself signals them, here by way of mpirun.
mkdir "$dir/bin"
ln -s "$build/lorac" "$dir/bin/lorac"
cat >"$dir/bin/srun" <<END
#!/bin/sh
[ "\$1" = --mpi=pmix ] || exit 9
shift 2
echo \$\$ >$dir/step
exec mpirun -np 2 "\$@"
END
printf '#!/bin/sh\necho "$@" >>%s/requeued\n' "$dir" >"$dir/bin/scontrol"
chmod +x "$dir/bin/srun" "$dir/bin/scontrol"

fail() {
    echo "mpirun_stop: $*"
    tail -n 30 "$dir"/*.log
    exit 1
}

wait_for_snapshot() { # output_dir
    for i in $(seq 600); do
        ls "$1"/checkpoint-*/manifest.json >/dev/null 2>&1 && return # any: older ones are removed soon
        sleep 0.05
    done
    fail "no snapshot after 30 s"
}

finished() { # name, status
    [ "$2" = 0 ] || fail "$1: the second run: status $2"
    cmp "$dir/$1/adapter/adapter_model.safetensors" "$dir/one/adapter/adapter_model.safetensors" ||
        fail "$1: the adapter differs from that of one process"
}

lorac train $words gradient_accumulation_steps=4 output_dir="$dir/one" >"$dir/one.log" 2>&1 || fail "one process"

on_mpirun="-np 2 lorac train $words gradient_accumulation_steps=2 output_dir=$dir/mpirun"
"$scripts/mpirun.sh" $on_mpirun >"$dir/mpirun.log" 2>&1 &
job=$!
wait_for_snapshot "$dir/mpirun"
kill -TERM "$job"
wait "$job"
status=$?
[ $status = 75 ] || fail "mpirun.sh after SIGTERM: status $status"
[ ! -e "$dir/mpirun/adapter" ] || fail "mpirun.sh: the run was over before it was stopped"
"$scripts/mpirun.sh" $on_mpirun >>"$dir/mpirun.log" 2>&1
finished mpirun $?

on_slurm="$words gradient_accumulation_steps=2 output_dir=$dir/slurm"
SLURM_JOB_ID=7 "$scripts/slurm.sh" $on_slurm >"$dir/slurm.log" 2>&1 &
job=$!
wait_for_snapshot "$dir/slurm"
kill -TERM "$job"
kill -USR1 "$(cat "$dir/step")"
wait "$job"
status=$?
[ $status = 75 ] || fail "slurm.sh after SIGTERM: status $status"
[ "$(cat "$dir/requeued")" = "requeue 7" ] || fail "slurm.sh did not put the job back into the queue"
SLURM_JOB_ID=7 "$scripts/slurm.sh" $on_slurm >>"$dir/slurm.log" 2>&1
finished slurm $?
[ "$(cat "$dir/requeued")" = "requeue 7" ] || fail "slurm.sh put a finished job back into the queue"
job=
echo "stopped and went on to the bits of one process"
