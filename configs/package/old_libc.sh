#!/bin/sh
# usage: old_libc.sh FOLDER: unpacks the C library of Debian 11, glibc 2.31, into FOLDER for the linker (dist.sh), so that
# the program runs with it and all newer ones. Fetched by apt from the mirrors of this system, which check its signatures;
# nothing is installed, and no root is needed.
set -eu
rm -rf "$1.part"
mkdir -p "$1.part/apt/lists/partial" "$1.part/apt/cache/archives/partial"
folder=$(cd "$1.part" && pwd)
keys=/usr/share/keyrings/debian-archive-keyring.gpg
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)
[ -n "$mirror" ] && [ -f "$keys" ] || { echo "no mirror of Debian and its keys; set GLIBC_ROOT to a folder with glibc 2.31 and its files for development" >&2; exit 1; }
echo "deb [signed-by=$keys] $mirror bullseye main" >"$folder/apt/sources.list"
: >"$folder/apt/status"
quiet_apt() {
    apt-get -qq -o Dir::State="$folder/apt" -o Dir::State::status="$folder/apt/status" -o Dir::State::lists="$folder/apt/lists" \
        -o Dir::Cache="$folder/apt/cache" -o Dir::Etc::sourcelist="$folder/apt/sources.list" -o Dir::Etc::sourceparts=- \
        -o APT::Sandbox::User= -o Acquire::Languages=none "$@"
}
quiet_apt update
(cd "$folder/apt" && quiet_apt download libc6 libc6-dev)
for package in "$folder"/apt/*.deb; do dpkg-deb -x "$package" "$folder"; done
find "$folder" -type l -lname '/*' | while read -r link; do ln -sfnr "$folder$(readlink "$link")" "$link"; done
rm -rf "$folder/apt" "$1"
mv "$folder" "$1"
