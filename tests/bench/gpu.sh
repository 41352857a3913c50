#!/bin/sh
# Speed on a GPU: one JSON on stdout, within 9 minutes; what there was no time for says so. Models: SmolLM2-135M (make
# model) and random weights in the shapes of Qwen3-0.6B, Llama-3.2-1B and Llama-3.1-8B. RIVAL: a venv with torch (CUDA),
# transformers, peft and gguf, perhaps liger-kernel; without it lorac runs alone. Needs a build with CUDA in $BUILD.
set -eu
build=${BUILD:-build}
set -- --build "$build" --model models/SmolLM2-135M-Instruct.Q4_1.gguf --work "$build/bench_gpu" "$@"
[ -n "${RIVAL:-}" ] && set -- "$@" --rival "$RIVAL"
exec python3 tests/bench/gpu.py "$@"
