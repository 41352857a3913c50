#!/bin/sh
# usage: hardening.sh FILE...: reads from each program or module what kernels/hardening.cmake asked for. Needs binutils.
set -u
command -v readelf >/dev/null && command -v objdump >/dev/null || exit 77
failed=0
expect() { # WHAT COMMAND...: the command must succeed
    what=$1
    shift
    "$@" >/dev/null || { echo "$file: $what"; failed=1; }
}
reads() { readelf -W "$1" "$file" | grep -Eq "$2"; }
lacks() { ! reads "$1" "$2"; }
for file; do
    expect "not position-independent (type DYN)" reads -h 'Type: +DYN'
    case $file in
    *.so) ;;
    *) expect "no position-independent executable (flag PIE)" reads -d 'FLAGS_1.*PIE' ;;
    esac
    expect "no RELRO segment" reads -l 'GNU_RELRO'
    expect "symbols are not bound at load (flag NOW)" reads -d 'FLAGS.*(BIND_NOW|NOW)'
    expect "no GNU_STACK segment" reads -l 'GNU_STACK'
    expect "executable stack" lacks -l 'GNU_STACK.*RWE'
    expect "a segment that is writable and executable" lacks -l 'LOAD.*RWE'
    expect "relocations in the code (TEXTREL)" lacks -d 'TEXTREL'
    # An empty entry is the working directory: a library that lies there would be run.
    expect "libraries are looked for in a relative folder (RPATH)" lacks -d '(RPATH|RUNPATH).*\[([^]]*:)?[^/$]'
    expect "no stack protector (__stack_chk_fail)" reads --dyn-syms '__stack_chk_fail'
    expect "no checked libc call (__*_chk)" reads --dyn-syms 'UND __(v?f?s?n?printf|mem[a-z]+|str[a-z]+|read)_chk'
    case $(uname -m) in
    x86_64) expect "no marked targets of jumps (endbr64)" sh -c "objdump -d '$file' | grep -qm1 endbr64" ;;
    esac
done
exit $failed
