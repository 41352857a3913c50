#!/bin/sh
# usage: check_tree.sh SOURCE_DIR: house rules that a program can check. Prints what breaks them; exit 1 if anything does.
set -u
cd "$1" || exit 2
bad=0
report() { # title, offending lines
    [ -z "$2" ] && return
    printf '%s\n%s\n' "$1" "$2"
    bad=1
}
sources=$(find kernels autograd data train tests -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cpp' | sort)
report "lines over 120 columns:" "$(grep -nE '^.{121,}' $sources | cut -c1-100)"
report "headers without #pragma once:" "$(grep -L '#pragma once' $(echo "$sources" | grep -E '\.(h|cuh)$'))"
# A .c file may leave the word to its own header, which it then includes first.
report "files that do not open with a comment or their own header:" "$(awk 'FNR == 1 {
    stem = FILENAME
    gsub(/.*\/|\.[a-z]*$/, "", stem)
    if ($0 !~ "^//|^#include \"" stem "\\.(h|cuh)\"") print FILENAME }' $sources)"
report "unfinished marks:" "$(grep -nE 'TODO|FIXME|HACK|\bXXX\b' $sources)"
report "allocation outside base.c and allocator.c:" \
    "$(grep -nE '[^_a-z](malloc|calloc|realloc)\(' $(echo "$sources" | grep -vE '^tests/|kernels/base/base.c|train/cli/allocator.c') | grep -vE '^[^:]*:[0-9]*: *//')"
report "exit outside main.c, base.c and signal handlers:" \
    "$(grep -nE '[^_a-z]exit\(' $(echo "$sources" | grep -vE '^tests/|kernels/base/base.c|train/cli/main.c') | grep -vE '^[^:]*:[0-9]*: *//')"
report "printing past say.h, which keeps control characters from the terminal:" \
    "$(grep -nE '(^|[^_a-z.>])((v?printf|puts|putchar)\(|v?fprintf\((out|stdout|$)|(fputs|fputc|fwrite)\(.*(out|stdout)\))' \
        $(echo "$sources" | grep '^train/') | grep -vE '^[^:]*:[0-9]*: *//')"
report "source files that CMake does not build:" \
    "$(for f in $(find kernels autograd data train -name '*.c' -o -name '*.cu' -o -name '*.cpp'); do
        folder=${f%/*}
        grep -q "\b${f##*/}\$" "$folder"/CMakeLists.txt "$folder"/*.cmake "$folder"/../*.cmake 2>/dev/null || echo "$f"; done)"
# The rooms in their order: a file includes headers of its own room and of those before it. (The build enforces it, too:
# an include that points up does not compile. This is the one list of the whole order.)
rooms="kernels/base kernels kernels/planned kernels/ref kernels/cpu kernels/check kernels/cuda kernels/cuda/products
    kernels/cuda/attention kernels/cuda/ops autograd data/io data/text data/format data/tokenizer data/tokenizer_files data/grammar data/template data/chat data/dataset data/dataset/parquet data/audit
    train/process train/http train/http/microhttpd train/hub train/hub/curl train/device train/model train/adapter train/config train/ranks train/ranks/mpi train/graph train/embed train/serve train/export train/hot_swap
    train/trainer train/snapshot train/report train/live train/run train/bench train/inspect train/cli"
report "includes that point up, and files in no room:" "$(grep -n '^#include "' $(echo "$sources" | grep -v '^tests/') |
    awk -F: -v rooms="$rooms" -v headers="$(echo "$sources" | grep -E '\.(h|cuh)$' | grep -v '^tests/'; find train -name '*.def')" '
    BEGIN {
        n = split(rooms, r, /[ \n]+/)
        for (i = 1; i <= n; i++) place[r[i]] = i
        n = split(headers, h, "\n")
        for (i = 1; i <= n; i++) { name = h[i]; sub(/.*\//, "", name); folder = h[i]; sub(/\/[^\/]*$/, "", folder); where[name] = folder }
    }
    {
        folder = $1; sub(/\/[^\/]*$/, "", folder)
        split($3, part, "\""); to = where[part[2]]
        if (!(folder in place)) print $1 ": " folder
        else if (!(to in place) || place[to] > place[folder]) print $1 ":" $2 ": " part[2] " of " to
    }')"
report "tests that tests/README.md names and that are not there:" \
    "$(sed -n '/^| [0-9+]* |/s/.*|\([^|]*\)|$/\1/p' tests/README.md | tr -d '` ' | tr ',' '\n' | while read -r name; do
        grep -qE "void (test_)?$name\(" $(echo "$sources" | grep "^tests/") || echo "$name"; done)"
report "rules of check_source.py:" "$(python3 tests/check_source.py .)"
if command -v clang-format >/dev/null 2>&1; then
    report "clang-format would change:" "$(echo "$sources" | xargs -P 2 -n 200 clang-format --dry-run 2>&1 | sed -n 's/: warning:.*//p' | cut -d: -f1,2 | head)"
fi
exit $bad
