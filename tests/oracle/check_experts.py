#!/usr/bin/env python3
"""Mixtures of experts in llama.cpp and PEFT: do they compute what lorac trained? Run by hand, never by `make test`.

usage: check_experts.py LORAC WORK_DIR
Needs torch, transformers, peft, safetensors, gguf, xllamacpp. For the tiny Mixtral, Qwen3-MoE and Qwen2-MoE of tests/golden/families
lorac trains an adapter on attention, routed and shared experts over base.gguf; then its logits, without and with the
adapter, against
 - llama.cpp over the same weights as F32, with adapter.gguf      mean KL below 1e-10, all arg max equal
and, for models made here and saved with one tensor for each expert and with stacked tensors,
 - transformers and PEFT with the adapter folder                  within 1e-5, norm-wise
"""
import json
import os
import random
import subprocess
import sys
import urllib.request
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import gguf
import numpy as np
import torch
import transformers
import xllamacpp
from peft import PeftModel
from safetensors.numpy import load_file

LORAC, WORK = sys.argv[1], Path(sys.argv[2])
FAMILIES = Path(__file__).resolve().parent.parent / "golden" / "families"
IDS = [(i * 37 + 5) % 60 for i in range(30)]
SMALL = dict(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, bos_token_id=62, eos_token_id=63, initializer_range=0.2)
failures = []


def check(name, value, limit):
    print(f"{'ok  ' if value <= limit else 'FAIL'} {name}: {value:.3g} (limit {limit:g})", flush=True)
    if not value <= limit:
        failures.append(name)


TARGETS = {"mixtral": "q_proj,w1,w2,w3", "qwen3moe": "q_proj,gate_proj,up_proj,down_proj",
           "qwen2moe": "gate_proj,up_proj,down_proj"}


def train(family, base, out):
    rows = WORK / "train.jsonl"
    rng = random.Random(0)
    samples = [[rng.randrange(62) for _ in range(rng.randrange(10, 40))] for _ in range(16)]
    rows.write_text("".join(json.dumps({"input_ids": s, "labels": s}) + "\n" for s in samples))
    subprocess.run([LORAC, "train", "--model_name_or_path", base, "--train_file", rows, "--output_dir", out,
                    "--max_seq_length", "64", "--lora_r", "4", "--lora_target_modules", TARGETS[family],
                    "--num_train_epochs", "1", "--learning_rate", "5e-3"], check=True, stdout=subprocess.DEVNULL)


def logits(base, adapter):
    out = WORK / "logits.safetensors"
    subprocess.run([LORAC, "logits", "--model_name_or_path", base, "--input_ids", ",".join(map(str, IDS)), "--out", out,
                    *(["--adapter_name_or_path", adapter] if adapter else [])], check=True, stdout=subprocess.DEVNULL)
    return load_file(out)["logits"].astype(np.float64)


def write_f32(base, path):
    r = gguf.GGUFReader(base)
    w = gguf.GGUFWriter(path, r.fields["general.architecture"].contents())
    for f in r.fields.values():
        value = f.contents()
        if f.name.startswith("GGUF.") or f.name in ("general.architecture", "general.file_type") or value == []:
            continue
        w.add_key_value(f.name, value, f.types[0], f.types[1] if f.types[0] == gguf.GGUFValueType.ARRAY else None)
    for t in r.tensors:
        w.add_tensor(t.name, np.ascontiguousarray(gguf.dequantize(t.data, t.tensor_type).astype(np.float32)))
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()


def call(server, path, body):
    r = urllib.request.Request(server.listening_address + path, data=json.dumps(body).encode(),
                               headers={"Content-Type": "application/json"})
    return json.loads(urllib.request.urlopen(r, timeout=100).read())


def compare(server, z):
    """Number of unequal arg max, and the mean KL, over all positions but the first."""
    logp = z - np.log(np.exp(z).sum(-1, keepdims=True))
    kl, unequal = [], 0
    for t in range(1, len(IDS)):
        r = call(server, "/completion",
                 dict(prompt=IDS[:t + 1], n_predict=1, temperature=0, n_probs=64, cache_prompt=False))
        got = {x["id"]: x["logprob"] for x in r["completion_probabilities"][0]["top_logprobs"]}
        p, q = logp[t, list(got)], np.array(list(got.values()))
        kl.append((np.exp(p) * (p - q) - np.exp(p) + np.exp(q)).sum())
        unequal += max(got, key=got.get) != int(logp[t].argmax())
    return unequal, float(np.mean(kl))


def against_llama_cpp(family):
    base, out, f32 = FAMILIES / family / "base.gguf", WORK / f"gguf-{family}", WORK / f"{family}-f32.gguf"
    train(family, base, out)
    write_f32(base, f32)
    p = xllamacpp.CommonParams()
    p.model.path, p.n_ctx, p.n_parallel, p.port = str(f32), 64, 1, 0
    p.cache_type_k = p.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    p.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    p.warmup, p.lora_init_without_apply = False, True
    p.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(out / "adapter.gguf"), 1.0)]
    server = xllamacpp.Server(p)
    for scale in (0.0, 1.0):
        call(server, "/lora-adapters", [dict(id=0, scale=scale)])
        unequal, kl = compare(server, logits(base, out / "adapter" if scale else None))
        what = f"{family}, {'adapter' if scale else 'base'}, llama.cpp"
        check(f"{what}: unequal arg max", unequal, 0)
        check(f"{what}: mean KL", kl, 1e-10)


def against_peft(family, config, fused):
    base, out = WORK / f"{family}{'-stacked' if fused else ''}", WORK / f"hf-{family}-{fused}"
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    model.save_pretrained(base, save_original_format=not fused)
    (base / "tokenizer.json").write_bytes((FAMILIES / "tokenizer.json").read_bytes())
    train(family, base, out)
    ids = torch.tensor([IDS])
    with torch.no_grad():
        want = [model(ids).logits[0].double().numpy()]
        want.append(PeftModel.from_pretrained(model, out / "adapter").eval()(ids).logits[0].double().numpy())
    for what, z in zip(("base", "adapter"), want):
        got = logits(base, out / "adapter" if what == "adapter" else None)
        check(f"{base.name}, {what}, PEFT", float(np.linalg.norm(got - z) / np.linalg.norm(z)), 1e-5)


WORK.mkdir(parents=True)
mixtral = transformers.MixtralConfig(**SMALL, num_local_experts=6, num_experts_per_tok=2, sliding_window=None)
qwen = transformers.Qwen3MoeConfig(**SMALL, head_dim=16, num_experts=8, num_experts_per_tok=3, moe_intermediate_size=32,
                                   norm_topk_prob=True, mlp_only_layers=[1])
shared = transformers.Qwen2MoeConfig(**SMALL, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=16,
                                     shared_expert_intermediate_size=40)
for fused in (False, True):
    against_peft("mixtral", mixtral, fused)
    against_peft("qwen3moe", qwen, fused)
    against_peft("qwen2moe", shared, fused)
for family in TARGETS:
    against_llama_cpp(family)
sys.exit(1 if failures else 0)
