#!/bin/sh
# usage: check_libc.sh N FILE...: fails where a program or library needs a symbol of a glibc newer than 2.N, and names it.
set -eu
limit=$1
shift
for file; do
    symbols=$(objdump -T "$file" | awk '/\*UND\*/ { print $(NF - 1), $NF }')
    echo "$symbols" | tr -d '()' | awk -v file="$file" -v limit="$limit" '
        $1 ~ /^GLIBC_/ { split(substr($1, 7), v, "."); if (v[1] > 2 || v[2] > limit) { print file ": " $2 " needs " $1 > "/dev/stderr"; bad = 1 } }
        END { exit bad }'
done
