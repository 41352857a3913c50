#!/bin/sh
# usage: kernels/cuda/fetch_cudnn_frontend.sh [PYTHON]: NVIDIA's cudnn-frontend (MIT; headers only) from its Python
# package into third_party/cudnn-frontend, where cmake finds it. A system's own package serves as well. Only to build
# lorac-cudnn.so; nothing of it is committed, and without it attention has its own kernels.
set -eu
version=1.23.0
cd "$(dirname "$0")/../.."
target=third_party/cudnn-frontend
python=${1:-python3}
[ "$(cat $target/version 2>/dev/null)" = $version ] && exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m pip download -q --no-deps --only-binary :all: -d "$work" "nvidia-cudnn-frontend==$version"
"$python" -m zipfile -e "$work"/*.whl "$work/wheel"
rm -rf $target
mkdir -p $target
mv "$work/wheel/include" $target/include
mv "$work"/wheel/*.dist-info/licenses/LICENSE.txt $target/LICENSE.txt
echo $version > $target/version
