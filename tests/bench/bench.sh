#!/bin/sh
# make bench: the peak of this machine, ops, routed experts, one step op by op, the tokenizer, then whole runs. RIVAL: a venv with
# torch, transformers, peft and gguf; without it lorac runs alone. The rival's copy of the weights is made once. SAVE=1:
# the results become those of tests/bench/README.md and speed.svg; on an idle machine only.
set -eu
build=${BUILD:-build}
model=models/SmolLM2-135M-Instruct.Q4_1.gguf
work=$build/bench
mkdir -p "$work"
"$build/bench_sgemm" 2
"$build/bench_ops"
"$build/bench_moe"
"$build/bench_step" "$model" --tokens 512
"$build/bench_tokenize" data/examples/tool_calls_train.jsonl "$model"
"$build/bench_tokenize" tests/golden/tokenizer/corpus.txt "$model"
set -- --lorac "$build/lorac" --model "$model" --work "$work"
if [ -n "${RIVAL:-}" ]; then
    [ -d "$work/hf" ] || "$RIVAL/bin/python" tests/oracle/gguf_to_hf.py "$model" "$work/hf"
    set -- "$@" --rival "$RIVAL" --rival-model "$work/hf"
fi
[ -z "${SAVE:-}" ] || set -- "$@" --save
exec python3 tests/bench/bench.py "$@"
