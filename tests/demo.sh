#!/bin/sh
# make demo: one real base model, before and after training on plain English -> JSON tool calls.
# --quick: the same with a few steps and prompts, for the test of README.md.
set -eu
lorac=${BUILD:-build}/lorac
config=configs/smollm2-tool-calls.json
model=models/SmolLM2-135M-Instruct.Q4_1.gguf
held_out=data/examples/tool_calls_test.jsonl
out=out/smollm2-tool-calls
first='--limit 30' steps=''
if [ "${1:-}" = --quick ]; then
    mkdir -p out
    head -n 4 "$held_out" > out/few.jsonl
    held_out=out/few.jsonl
    steps="--max_steps 4 --validation_file $held_out"
fi

say() { printf '\n== %s\n' "$*"; }
# Answers of the model to held-out prompts, three of them shown; then exact_match=.
answer() {
    "$lorac" eval --model_name_or_path "$model" --validation_file "$held_out" --generate --max_new_tokens 64 --show 3 "$@"
}

say "the base model on 30 held-out prompts"
answer $first
say "training: lorac train $config"
"$lorac" train "$config" $steps
say "the trained adapter on all held-out prompts"
answer --adapter_name_or_path "$out/adapter"
say "lorac verify"
"$lorac" verify "$out" --model_name_or_path "$model"
say "done"
echo "adapter for PEFT, vLLM, SGLang, TensorRT-LLM: $out/adapter/"
echo "adapter for llama.cpp:                        $out/adapter.gguf"
echo "report:                                       $out/report.html"
