#!/bin/sh
# usage: lint.sh [cppcheck|clang-tidy]: static analysis of the product's C files; a finding is exit 1. BUILD is a build
# folder with compile_commands.json. A finding that is none is suppressed where it stands, with the reason.
set -eu
BUILD=${BUILD:-build}
status=0
if [ "${1:-cppcheck}" = cppcheck ]; then
    # -isystem headers are not followed: the libraries' own functions are known to cppcheck.
    cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 -D_GNU_SOURCE -DHOST_DEVICE= \
        --suppressions-list=tests/cppcheck.txt $(find kernels autograd data train -type d | sed 's/^/-I/') \
        kernels autograd data train || status=1
fi
if [ "${1:-clang-tidy}" = clang-tidy ]; then
    # clang-tidy repeats a file for each of its commands: the first one is enough. The modules' sources are left out,
    # their libraries need not be there.
    mkdir -p "$BUILD/lint"
    python3 - "$BUILD/compile_commands.json" "$BUILD/lint/compile_commands.json" <<'END'
import json, sys

commands = json.load(open(sys.argv[1]))
json.dump(list({c["file"]: c for c in reversed(commands)}.values()), open(sys.argv[2], "w"))
END
    find kernels autograd data train -name '*.c' ! -path 'kernels/cuda/*' ! -path 'train/ranks/mpi/*' -print0 |
        xargs -0 -n 2 -P "$(nproc)" clang-tidy -p "$BUILD/lint" --quiet 2>/dev/null || status=1
fi
exit $status
