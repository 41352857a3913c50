#!/bin/sh
# usage: data/dataset/parquet/fetch_arrow.sh [PYTHON]: Apache Arrow's C++ libraries and headers (Apache-2.0) from the
# Python package pyarrow into third_party/arrow, where cmake finds them. Only to build lorac-parquet.so (make parquet);
# nothing of it is committed.
set -eu
version=26.0.1
cd "$(dirname "$0")/../../.."
target=third_party/arrow
python=${1:-python3}
[ "$(cat $target/version 2>/dev/null)" = $version ] && exit 0
echo "fetching Arrow $version (55 MB)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: -d "$work" "pyarrow==$version"
"$python" -m zipfile -e "$work"/*.whl "$work/wheel"
rm -rf $target
mkdir -p $target/include $target/lib
mv "$work"/wheel/pyarrow/include/arrow "$work"/wheel/pyarrow/include/parquet $target/include
for name in arrow parquet; do
    file=$(basename "$work"/wheel/pyarrow/lib$name.so.*)
    mv "$work/wheel/pyarrow/$file" $target/lib
    ln -s "$file" $target/lib/lib$name.so
done
mv "$(find "$work"/wheel/pyarrow-*.dist-info -name LICENSE.txt | head -n 1)" $target/LICENSE.txt
echo $version > $target/version
