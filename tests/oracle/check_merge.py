#!/usr/bin/env python3
"""Is what `lorac merge` writes what PEFT and llama.cpp compute? Run by hand, never by `make test`.

usage: check_merge.py LORAC BASE.gguf HF_DIR ADAPTER_DIR WORK_DIR
Needs torch, transformers, peft, safetensors, gguf, xllamacpp. HF_DIR: BASE.gguf, dequantised, as a Hugging Face folder (float32).
ADAPTER_DIR: a PEFT folder that lorac wrote for it.

 1. the merged folder in float32 holds PEFT's merge_and_unload       each tensor within 1e-6 of its largest element
 2. in transformers it gives PEFT's logits                           within 2e-3
 3. in bfloat16 it is that, rounded once                             bit-equal where the float32 numbers are
 4. the merged q8_0 file is gguf-py's Q8_0 of the merged f32 file    bit-equal
 5. the merged f32 file in llama.cpp against adapter-applied logits  KL of the next token over the 2000 most likely < 1e-7
"""
import json
import os
import subprocess
import sys
import urllib.request

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import gguf
import numpy as np
import torch
import xllamacpp
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

lorac, base, hf, adapter, work = sys.argv[1:]
os.makedirs(work, exist_ok=True)
torch.set_num_threads(2)
TEXT = ("The train left the valley before dawn. Anna counted the stations on a strip of paper, seven until the border, "
        "and wondered whether the letter in her coat would still matter when she arrived.")
failures = []


def check(name, ok, value=""):
    print(f"{'ok  ' if ok else 'FAIL'} {name} {value}", flush=True)
    if not ok:
        failures.append(name)


def merge(source, name, *more):
    out = os.path.join(work, name)
    subprocess.run(["rm", "-rf", out], check=True)
    subprocess.run([lorac, "merge", "--model_name_or_path", source, "--adapter_name_or_path", adapter, "--out", out, *more],
                   check=True)
    return out


def llama_cpp_logprobs(path, ids):
    p = xllamacpp.CommonParams()
    p.model.path, p.n_ctx, p.n_parallel, p.port = path, 1024, 1, 0
    p.cpuparams.n_threads = 2
    p.cache_type_k = p.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    p.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(p)
    body = dict(prompt=ids, n_predict=1, n_probs=2000, temperature=0, cache_prompt=False)
    r = urllib.request.Request(server.listening_address + "/completion", data=json.dumps(body).encode(),
                               headers={"Content-Type": "application/json"})
    answer = json.loads(urllib.request.urlopen(r, timeout=600).read())
    return {t["id"]: t["logprob"] for t in answer["completion_probabilities"][0]["top_logprobs"]}


ids = AutoTokenizer.from_pretrained(hf)(TEXT)["input_ids"]
with torch.no_grad():
    peft = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(hf, dtype=torch.float32), adapter)
    want_logits = peft(torch.tensor([ids])).logits[0]
    want = peft.merge_and_unload().state_dict()
    folder = merge(hf, "folder-f32", "--dtype", "f32")
    got = load_file(os.path.join(folder, "model.safetensors"))
    worst = max((float((got[k] - want[k]).abs().max() / want[k].abs().max()), k) for k in got)
    check("folder equals merge_and_unload", set(got) <= set(want) and worst[0] < 1e-6, worst)
    logits = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(torch.tensor([ids])).logits[0]
    difference = float((logits - want_logits).abs().max())
    check("logits in transformers", difference < 2e-3, difference)
    half = load_file(os.path.join(merge(hf, "folder-bf16", "--dtype", "bf16"), "model.safetensors"))
    check("bf16 is rounded once", all(torch.equal(half[k], got[k].to(torch.bfloat16)) for k in got))
f32, q8 = merge(base, "f32.gguf", "--dtype", "f32"), merge(base, "q8_0.gguf", "--dtype", "q8_0")
dense, packed = ({t.name: t for t in gguf.GGUFReader(path).tensors} for path in (f32, q8))
same = all(np.array_equal(gguf.quants.quantize(dense[n].data, gguf.GGMLQuantizationType.Q8_0).reshape(-1),
                          t.data.reshape(-1)) for n, t in packed.items() if t.tensor_type.name == "Q8_0")
check("q8_0 is gguf-py's", same and any(t.tensor_type.name == "Q8_0" for t in packed.values()))
logprobs = llama_cpp_logprobs(f32, ids)
ours = torch.log_softmax(want_logits[-1].double(), -1)
p, q = ours[list(logprobs)].numpy(), np.array(list(logprobs.values()))
kl = float((np.exp(p) * (p - q) - np.exp(p) + np.exp(q)).sum())  # the same sum as KL, but right for a part too
check("f32.gguf in llama.cpp: KL", abs(kl) < 1e-7, kl)
sys.exit(1 if failures else 0)
