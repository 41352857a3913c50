#!/bin/sh
# usage: BUILD=build [GLIBC_ROOT=FOLDER] [CUDA=no] sh dist.sh: writes BUILD-dist/: a .tar.gz and a Python wheel with one
# program that the libraries are part of, and a .deb for this release of Debian, all without the modules for MPI and GPUs;
# and where the CUDA Toolkit is, unless CUDA=no, a .tar.gz for NVIDIA GPUs (dist_cuda.sh). All but the .deb are linked with
# the C library of Debian 11 (old_libc.sh) and need glibc 2.31 or newer; with GLIBC_ROOT=/ they need that of this system.
# The name of the wheel has the version.
set -eu
cd "$(dirname "$0")/../.."
build=${BUILD:-build}
dist=$PWD/$build-dist
rm -rf "$dist"
mkdir -p "$dist"
product() { # FOLDER OPTION...
    folder=$1
    shift
    { cmake -S . -B "$folder" -G Ninja -DWITH_CUDA=OFF -DWITH_MPI=OFF -DWITH_PARQUET=OFF "$@" && cmake --build "$folder" --target product; } \
        >"$dist/log" 2>&1 || { cat "$dist/log"; exit 1; }
}

libc=${GLIBC_ROOT:-$PWD/$build-libc} limit=31
[ "$libc" = / ] && libc='' limit=999
[ -n "${GLIBC_ROOT:-}" ] || [ -e "$libc/usr" ] || sh configs/package/old_libc.sh "$libc"
product "$build-static" -DSTATIC_LIBRARIES=ON -DGLIBC_ROOT="$libc"
version=$("$build-static/lorac" version | cut -d' ' -f2)
name=lorac-$version-linux-$(uname -m)
cmake --install "$build-static" --prefix "$dist/$name" --strip >/dev/null
mkdir -p "$dist/$name/lib/lorac"
cp LICENSE "$dist/$name"
cjson=$(ldd "$build-static/lorac" | sed -n 's/.*=> \([^ ]*libcjson[^ ]*\).*/\1/p') # Debian has no .a of it
[ -z "$cjson" ] || cp -L "$cjson" "$dist/$name/lib/lorac/"
sh configs/package/check_libc.sh "$limit" "$dist/$name/bin/lorac" "$dist/$name/lib/lorac"/*
if [ -n "$libc" ]; then # run with it, as one process (train/cli/main.c)
    loader=$(ls "$libc"/lib/*/ld-[0-9l]*.so* | head -n 1)
    GOMP_SPINCOUNT=4000 "$loader" --library-path "$(dirname "$loader"):$dist/$name/lib/lorac" "$dist/$name/bin/lorac" version
fi
tar -C "$dist" --owner=0 --group=0 --sort=name -czf "$dist/$name.tar.gz" "$name"
python3 configs/package/wheel.py "$dist/$name" "$version" "$dist"

product "$build-deb"
(umask 022 && cd "$build-deb" && cpack -G DEB -B "$dist/deb") >"$dist/log" 2>&1 || { cat "$dist/log"; exit 1; }
mv "$dist"/deb/*.deb "$dist"
rm -rf "$dist/log" "$dist/deb" "${dist:?}/$name"
if [ "${CUDA:-yes}" != no ] && sh kernels/cuda/make_cuda.sh nvcc >"$dist/log"; then
    BUILD=$build sh configs/package/dist_cuda.sh "$dist" "$libc" "$limit"
fi
rm -f "$dist/log"
ls -l "$dist"
