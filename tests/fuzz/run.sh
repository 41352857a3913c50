#!/bin/sh
# usage: BUILD=build-fuzz FUZZ_SECONDS=60 sh tests/fuzz/run.sh [TARGET...]: fuzzes every target for that long, two at a
# time; small readers are covered in a quarter of it. What it finds stays in BUILD/found/TARGET; keep it in
# tests/fuzz/found/TARGET, where it becomes a test.
# FUZZ_SEED is libFuzzer's seed: 1 by default, so that CI walks one path; 0: another one each time.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=${BUILD:-build-fuzz}
seconds=${FUZZ_SECONDS:-60}
seed=${FUZZ_SEED:-1}
targets=${*:-adapter chat config csv folder gguf gguf_header grammar heartbeat hub jinja jsonl manifest parquet quantized request safetensors teacher token_image tokenizer}

more_seeds() { # files of other tests that are good seeds
    case $1 in
    folder) echo "$here/../golden/configs" ;;
    gguf_header) echo "$here/corpus/gguf" ;;
    parquet) echo "$here/../golden/parquet" ;;
    chat | jinja) echo "$here/../golden/templates" ;;
    esac
}
seconds_of() {
    case $1 in
    adapter | heartbeat | manifest | request | teacher | token_image) echo $(((seconds + 3) / 4)) ;;
    *) echo "$seconds" ;;
    esac
}
longest_input() {
    case $1 in
    gguf) echo 4096 ;;
    chat | jinja) echo 2048 ;;
    jsonl) echo 4096 ;;
    *) echo 8192 ;;
    esac
}
fuzz() {
    if [ "$1" = parquet ] && [ ! -e "$build/lorac-parquet.so" ]; then
        echo "fuzz parquet: skipped: lorac-parquet.so is not built (make parquet)"
        return 0
    fi
    mkdir -p "$build/corpus/$1" "$build/found/$1"
    kept=$(ls -d "$here/found/$1" 2>/dev/null)
    dict=$(ls "$here/dict/${1%_header}.dict" 2>/dev/null)
    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive \
        LSAN_OPTIONS="suppressions=$here/../lsan.supp:print_suppressions=0" \
        "$build/fuzz_$1" -seed="$seed" -max_total_time="$(seconds_of "$1")" -rss_limit_mb=2048 -timeout=10 \
        -max_len="$(longest_input "$1")" \
        -artifact_prefix="$build/found/$1/" ${dict:+-dict="$dict"} -print_final_stats=1 \
        "$build/corpus/$1" "$here/corpus/$1" $kept $(more_seeds "$1") >"$build/found/$1.log" 2>&1
    status=$?
    if [ $status = 0 ]; then
        sed -n 's/^stat::number_of_executed_units: */fuzz '"$1"': inputs tried: /p' "$build/found/$1.log"
    else
        echo "fuzz $1: failed, status $status; log and input are in $build/found:"
        grep -vE '^#[0-9]|^(INFO|NEW_FUNC|stat)' "$build/found/$1.log" | tail -40
    fi
    return $status
}

failed=0
set -- $targets
while [ $# -gt 0 ]; do
    fuzz "$1" &
    first=$!
    second=
    if [ $# -gt 1 ]; then
        fuzz "$2" &
        second=$!
        shift
    fi
    shift
    wait "$first" || failed=1
    if [ -n "$second" ]; then wait "$second" || failed=1; fi
done
exit $failed
