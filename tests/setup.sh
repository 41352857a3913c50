#!/bin/sh
# usage: setup.sh [fuzz|mpi|hosts|lint]: installs what the build, the tests and the demo need on Debian or Ubuntu, and
# with "fuzz" what `make fuzz` needs, with "lint" what `make lint` needs, with "mpi" what builds and runs lorac-mpi.so,
# with "hosts" what the tests on several machines need (a server for ssh: not for a machine that is somebody's own).
# As root it installs what is missing; else it prints the one command to run. On other systems it does nothing: CMake
# names what it does not find.
set -eu
# lorac-curl.so takes any flavour of libcurl; another one than this must not be replaced.
curl=libcurl4-openssl-dev
pkg-config --exists libcurl 2>/dev/null && curl=
packages="$curl build-essential ca-certificates cmake libcjson-dev libcmocka-dev libdnnl-dev libedit-dev libmicrohttpd-dev libpcre2-dev
libutf8proc-dev libxxhash-dev libyaml-dev libzstd-dev ninja-build pkg-config python3 python3-pip tmux unzip nettle-dev zlib1g-dev"
# The sanitizers' and libFuzzer's run-time library, which is a separate package for newer clangs.
[ "${1:-}" = fuzz ] && packages="$packages clang libclang-rt-dev libomp-dev"
[ "${1:-}" = mpi ] && packages="$packages libopenmpi-dev openmpi-bin"
[ "${1:-}" = lint ] && packages="$packages clang-tidy cppcheck"
[ "${1:-}" = hosts ] && packages="iproute2 openssh-client openssh-server"

command -v dpkg-query >/dev/null 2>&1 || exit 0
missing=""
for p in $packages; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "packages are missing; run: sudo apt-get update && sudo apt-get install -y$missing" >&2
    exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends $missing >/dev/null
