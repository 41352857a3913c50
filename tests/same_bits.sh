#!/bin/sh
# usage: same_bits.sh LORAC [OTHER_LORAC]: has a change of the program changed the bits of what it trains?
# A few short trainings on the CPU, on models of tests/golden and data made here; prints the SHA-256 of each adapter:
#   rows      packed rows of a Llama, all projections, dropout and NEFTune, two rows a pass, evaluations
#   classify  a Qwen 2 with a score head, label smoothing, four rows a pass
#   moe       a Qwen3-MoE, dropout
#   ranks     a Llama on two processes over TCP, unpacked rows, dropout, an epoch that ends with uneven shares
#   gemma     a Gemma 3: sliding window, tied head, LoRA+, rsLoRA, weight decay, blocks computed again
#   smollm2   SmolLM2's Q4_1 blocks in real sizes; only where `make model` has fetched it
# Two binaries: both run, a line says "same" or "DIFFERS", exit 1 if one differs. One binary: keep the lines and compare
# them later (diff), on the same kind of CPU, as the bits depend on its instruction set. Exit 1 too if a training fails.
set -eu
[ $# -eq 1 ] || [ $# -eq 2 ] || { sed -n '2s/^# //p' "$0"; exit 2; }
tests=$(dirname "$0")
golden=$tests/golden/families
smollm2=$tests/../models/SmolLM2-135M-Instruct.Q4_1.gguf
cases="rows classify moe ranks gemma"
[ ! -e "$smollm2" ] || cases="$cases smollm2"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP PIPE
export OMP_NUM_THREADS=2 XDG_CACHE_HOME="$work/cache"

# 47 records that count on from a number, 1 to 12 words long, so that rows and steps differ in length.
awk -v counting="$work/counting.jsonl" -v labelled="$work/labelled.jsonl" 'BEGIN {
    for (i = 0; i < 47; i++) {
        first = i * 7 % 31
        words = i * 5 % 12 + 1
        text = first
        for (k = 1; k < words; k++) text = text ", " first + k
        label = words > 8 ? "LONG" : words > 4 ? "MIDDLE" : "SHORT"
        printf "{\"prompt\": \"COUNT FROM %d: \", \"completion\": \"%s\"}\n", first, text >counting
        printf "{\"text\": \"%s\", \"label\": \"%s\"}\n", text, label >labelled
    }
}'

# base model, data, further words: what is printed goes to $out.log
train() {
    model=$1
    data=$2
    shift 2
    for word in device=cpu dtype=f32 max_seq_length=48 lora_r=4 learning_rate=1e-2 max_steps=5 seed=7 report_to=none; do
        case " $* " in *" ${word%%=*}="*) ;; *) set -- "$@" "$word" ;; esac
    done
    "$lorac" train model_name_or_path="$model" train_file="$work/$data.jsonl" output_dir="$out" "$@" >"$out.log" 2>&1
}

# The same by two ranks; what rank 1 prints goes to $out.1.log. A rank that fails ends the other.
train_as_ranks() {
    export WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=$((20000 + $$ % 10000))
    export LORAC_RUN_ID=same_bits LORAC_SECRET=of-this-test-only-on-loopback OMP_NUM_THREADS=1 RANK=1 LOCAL_RANK=1
    (out=$out.1 && train "$@") &
    export RANK=0 LOCAL_RANK=0
    train "$@" && wait $!
}

train_case() {
    case $1 in
    rows) train "$golden/../model/base.gguf" counting max_seq_length=64 lora_target_modules=all-linear \
        lora_dropout=0.1 neftune_noise_alpha=5 per_device_train_batch_size=2 gradient_accumulation_steps=2 \
        val_set_size=6 eval_strategy=steps eval_steps=2 ;;
    classify) train "$golden/qwen2/base.gguf" labelled task=classification label_smoothing_factor=0.1 \
        per_device_train_batch_size=4 gradient_accumulation_steps=2 ;;
    moe) train "$golden/qwen3moe/base.gguf" counting lora_target_modules=q_proj,k_proj,v_proj,o_proj lora_dropout=0.2 \
        per_device_train_batch_size=2 ;;
    ranks) train_as_ranks "$golden/llama3/base.gguf" counting packing=false lora_dropout=0.1 max_steps=9 \
        gradient_accumulation_steps=3 max_grad_norm=0.1 ddp_timeout=30 ;;
    gemma) train "$golden/gemma3/base.gguf" counting gradient_checkpointing=blocks loraplus_lr_ratio=4 \
        weight_decay=0.1 use_rslora=true gradient_accumulation_steps=2 ;;
    smollm2) train "$smollm2" counting max_seq_length=160 per_device_train_batch_size=2 lora_dropout=0.1 max_steps=2 ;;
    esac
}

# binary, case: its hash on stdout
hash_of() (
    lorac=$1
    out=$(mktemp -d "$work/$2.XXXXXX")
    train_case "$2" || { echo "same_bits: $lorac, $2:" && tail -n 8 "$out"*.log; exit 1; } >&2
    sha256sum <"$out/adapter/adapter_model.safetensors" | cut -d ' ' -f 1
)

differ=0
for name in $cases; do
    hash=$(hash_of "$1" "$name")
    verdict=
    if [ $# -eq 2 ]; then
        other=$(hash_of "$2" "$name")
        verdict="  same"
        [ "$hash" = "$other" ] || { verdict="  DIFFERS from $other"; differ=1; }
    fi
    echo "$hash  $name$verdict"
done
exit $differ
