#!/bin/sh
# usage: BUILD=build sh dist.sh: writes BUILD-dist/: a .tar.gz and a Python wheel with one program that the libraries are
# part of, and a .deb for this release of Debian. None has the modules for MPI and GPUs. The program needs the C library
# of the system that it is built on, or a newer one: the name of the wheel has its version.
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

product "$build-static" -DSTATIC_LIBRARIES=ON
version=$("$build-static/lorac" version | cut -d' ' -f2)
name=lorac-$version-linux-$(uname -m)
cmake --install "$build-static" --prefix "$dist/$name" --strip >/dev/null
mkdir -p "$dist/$name/lib/lorac"
cp LICENSE "$dist/$name"
cjson=$(ldd "$build-static/lorac" | sed -n 's/.*=> \([^ ]*libcjson[^ ]*\).*/\1/p') # Debian has no .a of it
[ -z "$cjson" ] || cp -L "$cjson" "$dist/$name/lib/lorac/"
tar -C "$dist" --owner=0 --group=0 --sort=name -czf "$dist/$name.tar.gz" "$name"
python3 configs/package/wheel.py "$dist/$name" "$version" "$dist"

product "$build-deb"
(umask 022 && cd "$build-deb" && cpack -G DEB -B "$dist/deb") >"$dist/log" 2>&1 || { cat "$dist/log"; exit 1; }
mv "$dist"/deb/*.deb "$dist"
rm -rf "$dist/log" "$dist/deb" "${dist:?}/$name"
ls -l "$dist"
