#!/bin/sh
# usage: BUILD=build JOBS=2 sh make_cuda.sh (make cuda): builds lorac with lorac-cuda.so, -cudnn.so and -nccl.so in BUILD,
# prints what was found and what is missing, and ends with `lorac doctor`. All output is also in BUILD/make_cuda.log.
# cuDNN, cudnn-frontend and NCCL that the system does not have, or has too old, are fetched (fetch_nvidia.py); with
# FETCH=no they are not. CUDA_ARCHS: what for, as cmake takes it (kernels/cuda/CMakeLists.txt). CMAKE_WORDS: more of
# cmake's options. `sh make_cuda.sh nvcc` prints the path of nvcc and does nothing else; exit status 1: no toolkit.
set -u
cd "$(dirname "$0")/../.."
build=${BUILD:-build}

find_nvcc() {
    [ -z "${CUDACXX:-}" ] || { echo "$CUDACXX"; return; }
    for place in "${CUDA_HOME:-}" "${CUDA_PATH:-}"; do
        [ -z "$place" ] || [ ! -x "$place/bin/nvcc" ] || { echo "$place/bin/nvcc"; return; }
    done
    command -v nvcc && return
    for place in /usr/local/cuda $(ls -d /usr/local/cuda-* 2>/dev/null | sort -rV); do
        [ ! -x "$place/bin/nvcc" ] || { echo "$place/bin/nvcc"; return; }
    done
    return 1
}
[ "${1:-}" != nvcc ] || { find_nvcc; exit; }

mkdir -p "$build"
log=$build/make_cuda.log

if [ "${1:-}" != run ]; then # the status of the first command of a pipe
    rm -f "$log.failed"
    { sh "$0" run || echo $? >"$log.failed"; } 2>&1 | tee "$log"
    [ ! -e "$log.failed" ] || { rm -f "$log.failed"; echo "make cuda: failed; its output is in $log" >&2; exit 1; }
    exit 0
fi

fail() {
    echo "make cuda: $*" >&2
    exit 1
}
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; } # OLDEST VERSION

# ---- the toolkit ----
nvcc=$(find_nvcc) || fail "CUDA Toolkit not found (no nvcc in PATH, CUDA_HOME, /usr/local/cuda), expected 12.4 or newer; on Debian \
and Ubuntu NVIDIA's package cuda-toolkit-13-0 holds all that is needed"
version=$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
[ -n "$version" ] || fail "$nvcc --version shows no release; expected CUDA Toolkit 12.4 or newer"
at_least 12.4 "$version" || fail "CUDA Toolkit $version ($nvcc) is too old, expected 12.4 or newer"
gpus=$(nvidia-smi --query-gpu=name,compute_cap --format=csv,noheader 2>/dev/null) || gpus=
oldest=12.4
case $gpus in *', 1'[0-9].[0-9]*) oldest=12.8 ;; esac
case ${CUDA_ARCHS:-} in *all* | *1[0-9]0*) oldest=12.8 ;; esac
at_least $oldest "$version" || fail "CUDA Toolkit $version ($nvcc) is too old for compute capability 10.0 and 12.0, expected \
$oldest or newer"
echo "toolkit    CUDA $version, $nvcc"
native=': compiled for Hopper, other GPUs by the driver at the first start (CUDA_ARCHS=all: for all)'
[ -z "${CUDA_ARCHS:-}" ] || native=''
echo "gpu        ${gpus:-none here$native}"

# ---- cmake, which looks for the rest ----
configure() {
    CUDACXX=$nvcc cmake -S . -B "$build" -G Ninja -DWITH_CUDA=ON -DCUDA_ARCHS="${CUDA_ARCHS:-native}" -DNVCC="$nvcc" \
        ${CMAKE_WORDS:-} >"$build/cmake.log" 2>&1 || { cat "$build/cmake.log"; fail "cmake failed"; }
}
configure
wanted=$(cat "$build/nvidia_missing")
if [ -n "$wanted" ] && [ "${FETCH:-yes}" != no ]; then
    python3 kernels/cuda/fetch_nvidia.py --cuda "${version%%.*}" $wanted || echo "make cuda: not fetched: $wanted"
    configure
fi
sed -n 's/^-- \(lorac-\(cuda\|cudnn\|nccl\).so\): /\1  /p' "$build/cmake.log"

cmake --build "$build" -j "${JOBS:-$(nproc)}" --target lorac cuda_modules >"$build/compile.log" 2>&1 ||
    { cat "$build/compile.log"; fail "the build failed"; }
cat "$build/compile.log" >>"$build/cmake.log" # kept, next to this output
rm "$build/compile.log"
for module in cuda cudnn nccl; do
    [ -e "$build/lorac-$module.so" ] || continue
    lost=$(ldd "$build/lorac-$module.so" | sed -n 's/[[:space:]]*\([^ ]*\) => not found/\1/p' | tr '\n' ' ')
    [ -z "$lost" ] || echo "lorac-$module.so  needs, but does not find: $lost"
done
echo
if [ -n "$gpus" ]; then
    "$build/lorac" doctor --device cuda
else
    "$build/lorac" doctor --ops rope # no GPU: a short check on the CPU
fi
