#!/usr/bin/env python3
"""Are lorac's adapters of every family what PEFT and llama.cpp compute? Run by hand, never by `make test`.

usage: check_families.py LORAC LLAMA_CPP_DIR WORK_DIR [NAME ...]
Needs torch, transformers, peft, safetensors, gguf, xllamacpp; LLAMA_CPP_DIR: a checkout of llama.cpp (its converter).
Tiny models as in tests/golden/families (make_families_golden.py), and the multimodal Gemma 3 with a vision tower.

For each: `lorac train` two steps on the Hugging Face folder with the targets of TRAINED, then
 1. the PEFT folder loads in PEFT: every LoRA matrix that PEFT makes is in the file and the other way round; same logits
 2. adapter.gguf in llama.cpp over an F32 GGUF of the same weights: same log probabilities of all tokens
 3. `lorac verify` passes, over the folder and over the GGUF file
 4. an adapter made by PEFT with the targets of MADE goes PEFT -> GGUF -> PEFT through `lorac export`: bit-equal
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "golden"))
import make_families_golden as families
import numpy as np
import torch
import transformers
import xllamacpp
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM

QV = ["q_proj", "v_proj"]
# name: what lorac trains, what PEFT makes
CASES = {
    "llama3": (QV, families.ALL),
    "llama-bias": (["all-linear"], families.ALL),
    "mistral": (["o_proj", "down_proj"], QV),
    "qwen2": (QV, families.ALL),
    "qwen3": (["all-linear"], families.ALL),
    "smollm3": (["all-linear"], QV),
    "granite": (QV, families.ALL),
    "olmo2": (["all-linear"], families.ALL),
    "olmo3": (QV, QV),
    "qwen2moe": (["all-linear"], QV),
    "starcoder2": (["all-linear"], ["q_proj", "c_fc"]),
    "phi": (["all-linear"], ["dense", "fc1"]),
    "glm": (["all-linear"], ["gate_up_proj", "k_proj"]),
    "glm4": (QV, families.ALL[:4] + ["gate_up_proj", "down_proj"]),
    "cohere": (["all-linear"], QV),
    "cohere2": (QV, families.ALL),
    "ministral3": (["all-linear"], QV),
    "granite4": (["all-linear"], None),
    "ernie4_5": (["all-linear"], QV),
    "gpt_oss": (QV, families.ALL[:4]),
    "gpt_oss-all": (["all-linear"], QV),
    "helium": (QV, None),
    "lfm2": (["all-linear"], ["in_proj", "out_proj", "w2"]),
    "lfm2-taps": (QV, QV + ["conv.out_proj"]),
    "gemma": (QV, QV),
    "gemma2": (QV, families.ALL),
    "gemma3": (["all-linear"], families.ALL),
    "phi3": (QV, ["qkv_proj"]),
    "phi3-all": (["k_proj", "gate_proj", "down_proj"], ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]),
    "phi4-mini-long": (["qkv_proj", "up_proj"], ["gate_up_proj"]),
    "gpt2": (QV, ["c_attn"]),
    "gpt2-all": (["q_proj", "attn.c_proj"], ["c_attn", "c_proj", "c_fc"]),
    "mixtral": (QV, ["q_proj", "k_proj", "v_proj", "o_proj"]),
    "qwen3moe": (["all-linear"], QV),
    "gemma3-multimodal": (QV, None),
}
# no window in a llama GGUF; llama.cpp's converter wants a real tokenizer; gpt_oss: llama.cpp truncates YaRN's range
NO_GGUF = {"gpt_oss", "granite4", "helium", "mistral", "gemma3-multimodal"}
IDS = [5, 9, 33, 60, 1, 17, 44, 23, 8, 51, 2, 39, 12, 7, 58, 30, 21, 49, 3, 26, 11, 40, 55, 19]
failures = []


def check(name, what, value, ok):
    print(f"{'ok  ' if ok else 'FAIL'} {name}: {what}: {value}", flush=True)
    if not ok:
        failures.append(f"{name}: {what}")


def lorac(*args):
    r = subprocess.run([a.lorac, *map(str, args)], capture_output=True, text=True)
    if r.returncode != 0:
        raise RuntimeError(f"lorac {' '.join(map(str, args))}: exit {r.returncode}: {r.stderr or r.stdout}")
    return r.stdout


def lorac_logits(base, adapter):
    out = Path(a.work) / "logits.safetensors"
    lorac("logits", "--model_name_or_path", base, "--adapter_name_or_path", adapter, "--input_ids",
          ",".join(map(str, IDS)), "--out", out)
    return torch.from_numpy(load_file(out)["logits"])


def multimodal():
    text = dict(families.SMALL, head_dim=16, query_pre_attn_scalar=16, sliding_window=8, layer_types=[
        "sliding_attention", "full_attention"])
    vision = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2, image_size=28,
                  patch_size=14)
    config = transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4,
                                       image_token_index=60, boi_token_index=58, eoi_token_index=59)
    return transformers.Gemma3ForConditionalGeneration(config)


def make_base(name, folder):
    """The folder, with weights from the formula; returns the class to load it with."""
    if name == "gemma3-multimodal":
        model, cls = multimodal(), transformers.Gemma3ForConditionalGeneration
    else:
        kind, arguments, _, _ = families.FAMILIES[name]
        if name == "gemma2":  # GGUF has no key for another scale than that of the published models
            arguments = dict(arguments, query_pre_attn_scalar=16)
        if name == "phi3":  # llama.cpp leaves the window out
            arguments = dict(arguments, sliding_window=None)
        config = getattr(transformers, kind)(**arguments)
        model, cls = AutoModelForCausalLM.from_config(config), AutoModelForCausalLM
    model.float().save_pretrained(folder)
    weights = folder / "model.safetensors"
    save_file(families.fill(load_file(weights), name, []), weights, metadata={"format": "pt"})
    shutil.copy(Path(families.__file__).parent / "families" / "tokenizer.json", folder)
    return cls


def load(cls, folder):
    return cls.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def peft_logits(model):
    with torch.no_grad():
        return model(input_ids=torch.tensor([IDS])).logits[0]


def train(name, base, targets, out):
    data = Path(a.work) / "data.jsonl"
    rows = [dict(input_ids=IDS[i:] + IDS[:i], labels=IDS[i:] + IDS[:i]) for i in range(8)]
    data.write_text("".join(json.dumps(r) + "\n" for r in rows))
    lorac("train", "--model_name_or_path", base, "--train_file", data, "--output_dir", out, "--max_steps", 2, "--lora_r",
          4, "--lora_alpha", 8, "--learning_rate", 0.05, "--lora_target_modules", json.dumps(targets),
          "--max_seq_length", 24)


def compare_peft(name, cls, base, out):
    model = load(cls, base)
    config = json.loads((out / "adapter" / "adapter_config.json").read_text())
    fresh = get_peft_model(load(cls, base), LoraConfig(r=4, target_modules=config["target_modules"],
                                                       layers_to_transform=config["layers_to_transform"],
                                                       fan_in_fan_out=config["fan_in_fan_out"], task_type="CAUSAL_LM"))
    made = {n.replace(".default", "") for n, p in fresh.named_parameters() if p.requires_grad}
    file = set(load_file(out / "adapter" / "adapter_model.safetensors"))
    check(name, "PEFT's matrices are those of the file", f"{len(file)} of {len(made)}", made == file)
    peft = PeftModel.from_pretrained(model, out / "adapter").eval()
    want = peft_logits(peft)
    moved = float((want - peft_logits(load(cls, base))).abs().max())
    error = float((lorac_logits(base, out / "adapter") - want).abs().max())
    check(name, "logits, lorac - PEFT", f"{error:.1e} (the adapter moves them by {moved:.2f})", error <= 2e-4 < moved)
    return want


class Server:
    def __init__(self, base, adapter):
        p = xllamacpp.CommonParams()
        p.model.path, p.n_ctx, p.n_parallel, p.port = str(base), 64, 1, 0
        p.cpuparams.n_threads = 2
        p.warmup = False
        p.cache_type_k = p.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        p.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        p.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter), 1.0)]
        self.server = xllamacpp.Server(p)

    def log_probabilities(self, ids):
        body = dict(prompt=ids, n_predict=1, temperature=0, n_probs=families.V, cache_prompt=False)
        r = urllib.request.Request(self.server.listening_address + "/completion", data=json.dumps(body).encode(),
                                   headers={"Content-Type": "application/json"})
        answer = json.loads(urllib.request.urlopen(r, timeout=600).read())
        return {t["id"]: t["logprob"] for t in answer["completion_probabilities"][0]["top_logprobs"]}


def compare_llama_cpp(name, base, out, want):
    gguf_file = Path(a.work) / f"{name}.gguf"
    if name.startswith("gpt_oss"):
        families.write_gpt_oss(base, gguf_file, f32=True)
    else:
        families.write_gguf(a.llama_cpp, base, gguf_file, f32=True)
    server = Server(gguf_file, out / "adapter.gguf")
    worst = 0
    for n in (3, 12, len(IDS)):
        got = server.log_probabilities(IDS[:n])
        logp = torch.log_softmax(want[n - 1].double(), -1)
        worst = max([worst] + [abs(float(logp[i]) - v) for i, v in got.items() if v > -20])
    del server
    check(name, "log probabilities, llama.cpp - PEFT", f"{worst:.1e}", worst <= 2e-3)
    lorac("verify", out, "--model_name_or_path", gguf_file)
    return gguf_file


def round_trip(name, cls, base, gguf_file, targets):
    torch.manual_seed(1)
    peft = get_peft_model(load(cls, base), LoraConfig(r=4, lora_alpha=8, target_modules=targets, task_type="CAUSAL_LM"))
    with torch.no_grad():
        for n, p in peft.named_parameters():
            if "lora_B" in n:
                p.copy_(0.1 * torch.randn_like(p))
    made = Path(a.work) / f"{name}-made"
    peft.save_pretrained(made)
    error = float((lorac_logits(base, made) - peft_logits(peft.eval())).abs().max())
    check(name, "PEFT's own adapter, lorac - PEFT", f"{error:.1e}", error <= 2e-4)
    for model in [base] + ([gguf_file] if gguf_file else []):
        there, back = Path(a.work) / f"{name}-there.gguf", Path(a.work) / f"{name}-back"
        there.unlink(missing_ok=True)
        shutil.rmtree(back, ignore_errors=True)
        lorac("export", made, "--model_name_or_path", model, "--format", "gguf", "--out", there)
        lorac("export", there, "--model_name_or_path", model, "--format", "peft", "--out", back)
        first, last = (load_file(d / "adapter_model.safetensors") for d in (made, back))
        same = first.keys() == last.keys() and all(np.array_equal(first[k], last[k]) for k in first)
        check(name, f"PEFT -> GGUF -> PEFT over {model.name}", "bit-equal" if same else "differs", same)


def run(name):
    trained, made = CASES[name]
    # llama.cpp takes a model with "phi3" in its name to have tokens that this vocabulary lacks
    base, out = Path(a.work) / name.replace("phi3", "phi"), Path(a.work) / f"{name}-out"
    shutil.rmtree(base, ignore_errors=True)
    shutil.rmtree(out, ignore_errors=True)
    cls = make_base(name, base)
    train(name, base, trained, out)
    want = compare_peft(name, cls, base, out)
    lorac("verify", out, "--model_name_or_path", base)
    gguf_file = compare_llama_cpp(name, base, out, want) if name not in NO_GGUF else None
    if made:
        round_trip(name, cls, base, gguf_file, made)


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    for positional in ("lorac", "llama_cpp", "work"):
        ap.add_argument(positional)
    ap.add_argument("names", nargs="*")
    a = ap.parse_args()
    torch.set_num_threads(2)
    os.makedirs(a.work, exist_ok=True)
    for name in a.names or CASES:
        try:
            run(name)
        except Exception as e:
            check(name, "runs", f"{type(e).__name__}: {e}", False)
    print(f"{len(failures)} failures" + "".join("\n  " + f for f in failures))
    sys.exit(1 if failures else 0)
