#!/bin/sh
# usage: gpu_doctor.sh LORAC [memcheck]: every op of the GPU against the reference; with memcheck, under NVIDIA's
# compute-sanitizer at the quick ops. Exit 77, which CTest counts as skipped, where there is no GPU, no module or no tool.
set -u
lorac=$1
skip() { echo "skipped: $1"; exit 77; }
ls /dev/nvidiactl /dev/dxg /dev/nvgpu >/dev/null 2>&1 || skip "this machine shows no NVIDIA driver"
[ -f "$(dirname "$lorac")/lorac-cuda.so" ] || skip "lorac-cuda.so was not built"
if [ "${2:-}" = memcheck ]; then
    PATH=$PATH:/usr/local/cuda/bin
    command -v compute-sanitizer >/dev/null 2>&1 || skip "compute-sanitizer is not installed"
    for tool in memcheck racecheck synccheck; do
        compute-sanitizer --tool "$tool" --error-exitcode 9 "$lorac" doctor --device cuda --dtype bf16 --ops rmsnorm || exit 1
        compute-sanitizer --tool "$tool" --error-exitcode 9 "$lorac" doctor --device cuda --dtype bf16 --ops lora || exit 1
    done
    exec compute-sanitizer --error-exitcode 9 "$lorac" doctor --device cuda --dtype bf16 --ops attention
fi
exec "$lorac" doctor --device cuda
