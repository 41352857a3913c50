#!/usr/bin/env python3
"""Is lorac's adapter what PEFT and llama.cpp compute? Run by hand, never by `make test`.

usage: check_adapter.py LORAC BASE.gguf HF_DIR WORK_DIR [ADAPTER_DIR] [--tokens 1000] [--stride 2] [--kl 1e-8]
                        [--text FILE]
Needs torch, transformers, peft, safetensors, gguf, xllamacpp. HF_DIR: BASE.gguf, dequantised, as a Hugging Face folder
(float32). ADAPTER_DIR: a PEFT folder that lorac wrote; without it a random one with all seven projections is made with
PEFT and goes through `lorac export` (PEFT -> GGUF -> PEFT).

 1. base logits, lorac against transformers                       within 1e-4 of their norm
 2. the PEFT folder loads in PEFT, same logits as `lorac logits`  within 1e-4
 3. adapter.gguf in a llama.cpp server over BASE.gguf             top-1 agreement with PEFT at least 93%
 4. adapter.gguf in a llama.cpp server over an F32 GGUF           mean KL(PEFT || llama.cpp) over the 2000 most likely
                                                                 tokens below --kl (SmolLM2: 1e-8, Gemma 3: 1e-5)
 5. hot-swap by REST: text without the adapter is the same before and after it was on
The tokens are those of FILE (default: this script). llama.cpp quantises activations over a quantised base: on text far
from what a strong adapter was trained on, top-1 of check 3 falls below that of the base, which is printed too.
"""
import argparse
import json
import os
import subprocess
import sys
import urllib.request

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import numpy as np
import torch
import xllamacpp
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from gguf_to_hf import write_f32

ap = argparse.ArgumentParser()
for name in ("lorac", "base", "hf", "work"):
    ap.add_argument(name)
ap.add_argument("adapter", nargs="?")
ap.add_argument("--tokens", type=int, default=1000)
ap.add_argument("--stride", type=int, default=2, help="every how many tokens the llama.cpp server is asked")
ap.add_argument("--kl", type=float, default=1e-8)
ap.add_argument("--text", default=__file__)
a = ap.parse_args()
torch.set_num_threads(2)
torch.manual_seed(3)
os.makedirs(a.work, exist_ok=True)
failures = []


def check(name, value, limit, ok):
    print(f"{'ok  ' if ok else 'FAIL'} {name}: {value} (limit {limit})", flush=True)
    if not ok:
        failures.append(name)


def check_logits(name, got, want):
    d = (got - want).double()
    relative = float(d.norm() / want.double().norm())
    print(f"     {name}: largest difference {float(d.abs().max()):.2e}, largest logit {float(want.abs().max()):.0f}")
    check(name, relative, 1e-4, relative <= 1e-4)


def lorac(*args):
    subprocess.run([a.lorac, *args], check=True)


def lorac_logits(ids, adapter=None):
    out = os.path.join(a.work, "logits.safetensors")
    lorac("logits", "--model_name_or_path", a.base, "--input_ids", ",".join(map(str, ids)), "--out", out,
          *(["--adapter_name_or_path", adapter] if adapter else []))
    return load_file(out)["logits"]


def make_adapter():
    model = AutoModelForCausalLM.from_pretrained(a.hf, dtype=torch.float32)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    peft = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=targets, task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, p in peft.named_parameters():
            if "lora_B" in name:
                p.copy_(0.02 * torch.randn_like(p))
    made = os.path.join(a.work, "made")
    peft.save_pretrained(made)
    return made


def convert(adapter):
    """PEFT -> GGUF -> PEFT through lorac; the last folder is what is compared."""
    out, again = os.path.join(a.work, "adapter.gguf"), os.path.join(a.work, "adapter")
    lorac("export", adapter, "--model_name_or_path", a.base, "--format", "gguf", "--out", out)
    lorac("export", out, "--model_name_or_path", a.base, "--format", "peft", "--out", again)
    first = load_file(os.path.join(adapter, "adapter_model.safetensors"))
    last = load_file(os.path.join(again, "adapter_model.safetensors"))
    same = first.keys() == last.keys() and all(torch.equal(first[k], last[k]) for k in first)
    check("PEFT -> GGUF -> PEFT bit-equal", same, True, same)
    return out, again


class Server:
    def __init__(self, base, adapter):
        p = xllamacpp.CommonParams()
        p.model.path, p.n_ctx, p.n_parallel, p.port = base, 1024, 1, 0
        p.cpuparams.n_threads = 2
        # float32 keys and values: else their rounding would be all that is seen
        p.cache_type_k = p.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        p.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        p.lora_init_without_apply = True
        p.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(adapter, 1.0)]
        self.server = xllamacpp.Server(p)

    def call(self, path, body):
        r = urllib.request.Request(self.server.listening_address + path, data=json.dumps(body).encode(),
                                   headers={"Content-Type": "application/json"})
        return json.loads(urllib.request.urlopen(r, timeout=600).read())

    def scale(self, scale):
        self.call("/lora-adapters", [dict(id=0, scale=scale)])

    def next_token(self, ids, n_probs, cached):
        """Log probabilities of the token behind ids: {id: logprob} of the n_probs most likely ones."""
        r = self.call("/completion",
                      dict(prompt=ids, n_predict=1, temperature=0, n_probs=n_probs, cache_prompt=cached))
        return {t["id"]: t["logprob"] for t in r["completion_probabilities"][0]["top_logprobs"]}

    def text(self, prompt):
        return self.call("/completion", dict(prompt=prompt, n_predict=24, temperature=0, cache_prompt=False))["content"]


def compare_server(server, ids, positions, want, n_probs):
    """Top-1 agreement and mean KL over the server's most likely tokens, against logits `want`."""
    agree, kl = 0, []
    logp = torch.log_softmax(want.double(), -1)
    for t in positions:
        got = server.next_token(ids[:t + 1], n_probs, t != positions[0])  # the first drops another adapter's cache
        agree += max(got, key=got.get) == int(logp[t].argmax())
        p, q = logp[t, list(got)].numpy(), np.array(list(got.values()))
        # p log(p/q) - p + q: the same sum as KL over all tokens, but right for a part of them too
        kl.append(float((np.exp(p) * (p - q) - np.exp(p) + np.exp(q)).sum()))
    return agree / len(kl), float(np.mean(kl))


adapter = a.adapter or make_adapter()
gguf_file, folder = convert(adapter)
tokenizer = AutoTokenizer.from_pretrained(a.hf)
with open(a.text, encoding="utf-8") as f:
    ids = tokenizer(f.read()).input_ids[:a.tokens]
hf = AutoModelForCausalLM.from_pretrained(a.hf, dtype=torch.float32).eval()
with torch.no_grad():
    base = hf(input_ids=torch.tensor([ids])).logits[0]
    peft = PeftModel.from_pretrained(hf, folder).eval()
    with_adapter = peft(input_ids=torch.tensor([ids])).logits[0]
check_logits("base logits, lorac - transformers", lorac_logits(ids), base)
for name, path in (("folder", folder), ("GGUF file", gguf_file)):
    check_logits(f"adapter logits ({name}), lorac - PEFT", lorac_logits(ids, path), with_adapter)
print(f"     the adapter moves the logits by up to {float((with_adapter - base).abs().max()):.3f}")

positions = range(8, len(ids), a.stride)
server = Server(a.base, gguf_file)
server.scale(0.0)
off = server.text("Name three colours.")
server.scale(1.0)
on = server.text("Name three colours.")
top1, _ = compare_server(server, ids, positions, with_adapter, 4)
server.scale(0.0)
floor, _ = compare_server(server, ids, positions, base, 4)
again = server.text("Name three colours.")
check("hot-swap: off, on, off again", off == again and on != off, "same, other, same", off == again and on != off)
print(f"     without adapter llama.cpp over the quantised base agrees with transformers on {floor:.4f}")
check("llama.cpp over the quantised base: top-1", round(top1, 4), 0.93, top1 >= 0.93)
del server
f32 = os.path.join(a.work, "base-f32.gguf")
write_f32(a.base, f32)
server = Server(f32, gguf_file)
server.scale(0.0)
_, floor = compare_server(server, ids, positions, base, 2000)
server.scale(1.0)
top1, kl = compare_server(server, ids, positions, with_adapter, 2000)
print(f"     without adapter llama.cpp is {floor:.2e} from transformers")
check("llama.cpp over the F32 base: top-1", round(top1, 4), 0.99, top1 >= 0.99)
check("llama.cpp over the F32 base: mean KL", kl, a.kl, kl < a.kl)
os.remove(f32)
sys.exit(1 if failures else 0)
