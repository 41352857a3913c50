#!/bin/sh
# usage: make_cuda.sh SOURCE_DIR: `make cuda` refuses a toolkit that is absent or too old, naming both versions, before it
# builds anything. The toolkit and the GPU are scripts that print what the real ones print.
set -eu
source=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/no"
tool() { # NAME LINE: a program that prints LINE
    printf '#!/bin/sh\necho "%s"\n' "$2" >"$work/bin/$1"
    chmod +x "$work/bin/$1"
}
refuses() { # PART VARIABLE=VALUE...
    part=$1
    shift
    if env "$@" BUILD="$work/build" PATH="$work/bin:$PATH" sh "$source/kernels/cuda/make_cuda.sh" >"$work/out" 2>&1; then
        echo "make cuda succeeded with $*; expected a refusal"
        exit 1
    fi
    grep -qF "$part" "$work/out" || { echo "make cuda with $*: its output lacks \"$part\":"; cat "$work/out"; exit 1; }
    grep -qF "$part" "$work/build/make_cuda.log"
    [ ! -e "$work/build/CMakeCache.txt" ]
}

tool nvidia-smi ""
tool nvcc "Cuda compilation tools, release 11.8, V11.8.89"
refuses "CUDA Toolkit 11.8 ($work/bin/nvcc) is too old, expected 12.4 or newer" CUDACXX="$work/bin/nvcc"
tool nvcc "Cuda compilation tools, release 12.4, V12.4.131"
refuses "CUDA Toolkit 12.4 ($work/bin/nvcc) is too old for compute capability 10.0" CUDACXX="$work/bin/nvcc" CUDA_ARCHS=all
tool nvidia-smi "NVIDIA GeForce RTX 5090, 12.0"
refuses "expected 12.8 or newer" CUDACXX="$work/bin/nvcc"
tool nvcc "no release"
refuses "shows no release" CUDACXX="$work/bin/nvcc"
