#!/bin/sh
# usage: BUILD=build sh dist_cuda.sh DIST LIBC LIMIT (dist.sh): writes DIST/lorac-VERSION-linux-ARCH-cudaN.tar.gz: the
# program of dist.sh with the modules that `make cuda` builds, compiled for every GPU generation from Ampere on and as PTX
# for later ones, and NVIDIA's libraries that they need, with their licenses, in lib/lorac/nvidia. It runs where a driver
# for CUDA N is, with the system's zlib and libstdc++ (for cuDNN that of GCC 11 or later). LIBC: a C library to link with
# ("": this system's), LIMIT: the newest glibc that it may need.
set -eu
cd "$(dirname "$0")/../.."
build=${BUILD:-build}-cuda
dist=$1
mkdir -p "$build"
BUILD=$build CUDA_ARCHS=all CMAKE_WORDS="-DSTATIC_LIBRARIES=ON -DGLIBC_ROOT=$2 -DWITH_MPI=OFF -DWITH_PARQUET=OFF" \
    sh kernels/cuda/make_cuda.sh
for module in cuda cudnn nccl; do
    [ -e "$build/lorac-$module.so" ] || { echo "make dist: lorac-$module.so was not built: $build/make_cuda.log" >&2; exit 1; }
done
cmake --build "$build" --target product >"$build/product.log" 2>&1 || { cat "$build/product.log"; exit 1; }

cuda=$(sed -n 's/^lorac-cuda.so  CUDA \([0-9]*\).*/\1/p' "$build/make_cuda.log")
version=$("$build/lorac" version | cut -d' ' -f2)
name=lorac-$version-linux-$(uname -m)-cuda$cuda
root=$build/$name
rm -rf "$root"
cmake --install "$build" --prefix "$root" --strip >/dev/null
rm -rf "$root/lib/lorac/nvidia"
mkdir -p "$root/lib/lorac/nvidia"
cp LICENSE "$root"

# What the modules need of NVIDIA, and what those libraries load at run time: cuDNN its parts, nvrtc its headers.
needed() { ldd "$1" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p'; }
nvidia='/lib(cudart|cublas|cublasLt|nvrtc|cudnn|nccl)\.so[^/]*$'
for module in cuda cudnn nccl; do needed "$build/lorac-$module.so"; done | grep -E "$nvidia" | sort -u >"$build/libraries"
while read -r library; do
    folder=$(dirname "$library")
    cp -L "$library" "$root/lib/lorac/nvidia/"
    case $library in
    */libnvrtc.so*) cp -L "$folder"/libnvrtc-builtins.so.[0-9]* "$root/lib/lorac/nvidia/" ;;
    */libcudnn.so*) cp -L "$folder"/libcudnn_*.so.9 "$root/lib/lorac/nvidia/" ;;
    esac
done <"$build/libraries"
for license in third_party/nvidia/*/licenses/*; do
    [ ! -e "$license" ] || cp "$license" "$root/lib/lorac/nvidia/$(basename "${license%/licenses/*}")-$(basename "$license")"
done
toolkit=$(dirname "$(dirname "$(readlink -f "$(sh kernels/cuda/make_cuda.sh nvcc)")")")
eula=$(find "$toolkit" /usr/share/doc/cuda-cudart-* -maxdepth 4 \( -iname 'EULA*.txt' -o -path '*cuda_runtime*/License.txt' \
    -o -path '*cudart*/copyright' \) 2>/dev/null | head -n 1)
[ -n "$eula" ] && cp "$eula" "$root/lib/lorac/nvidia/cuda-EULA.txt" ||
    { echo "make dist: no EULA.txt of the CUDA Toolkit in $toolkit; expected one, its libraries are passed on under it" >&2; exit 1; }
cjson=$(needed "$build/lorac" | grep libcjson || true) # Debian has no .a of it
[ -z "$cjson" ] || cp -L "$cjson" "$root/lib/lorac/"

# Only the driver, libcuda.so.1, and the system's C and C++ libraries may come from elsewhere.
for module in cuda cudnn nccl; do
    lost=$(ldd "$root/lib/lorac/lorac-$module.so" | grep 'not found' || true)
    foreign=$(needed "$root/lib/lorac/lorac-$module.so" | grep -E "$nvidia" | grep -vF "/$name/" || true)
    [ -z "$lost$foreign" ] || { echo "make dist: lorac-$module.so takes libraries of this machine: $lost $foreign" >&2; exit 1; }
done
sh configs/package/check_libc.sh "$3" "$root/bin/lorac" "$root"/lib/lorac/*.so*
tar -C "$build" --owner=0 --group=0 --sort=name -czf "$dist/$name.tar.gz" "$name"
rm -rf "$root" "$build/libraries"
