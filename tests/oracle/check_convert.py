#!/usr/bin/env python3
"""Is the GGUF file that `lorac merge` makes of a Hugging Face folder the one that llama.cpp's converter makes? Run by hand, never
by `make test`.

usage: check_convert.py LORAC LLAMA_CPP_DIR WORK_DIR [HF_DIR | FAMILY ...]
Needs torch, transformers, gguf, safetensors, xllamacpp. LLAMA_CPP_DIR: a checkout of llama.cpp (its conversion/ and gguf-py/).
FAMILY: a tiny model of tests/golden/families, whose base.gguf llama.cpp's converter has written; without any: all of them.

 1. the same tensors, in f32 and f16           bit-equal, names, shapes and types too
 2. the same keys and values                   but for those that are listed below
 3. greedy tokens of llama.cpp on lorac's file are those of lorac on the folder, and on the file
"""
import json
import math
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"
lorac, llama_cpp, work = os.path.abspath(sys.argv[1]), Path(sys.argv[2]).resolve(), Path(sys.argv[3]).resolve()
sys.path[:0] = [str(llama_cpp / "gguf-py"), str(llama_cpp), str(GOLDEN)]
import gguf
import numpy as np
import xllamacpp
from safetensors.numpy import save_file

failures = []
# Keys that lorac derives in its own way, with the reason; all others are equal.
OTHER = {
    "general.name": "the name of the folder as it is",
    "general.basename": "guessed from the name", "general.finetune": "", "general.version": "", "general.organization": "",
    "general.license": "of the model card, as are the following", "general.tags": "", "general.languages": "",
    "general.size_label": "written only where the converter does", "general.quantized_by": "",
    "tokenizer.ggml.add_bos_token": "lorac writes both flags always", "tokenizer.ggml.add_eos_token": "",
    "tokenizer.ggml.add_space_prefix": "lorac writes it always for SentencePiece",
    "tokenizer.ggml.scores": "lorac takes their order from the merges of tokenizer.json, the converter from tokenizer.model",
    "tokenizer.ggml.unknown_token_id": "not for byte-level models", "tokenizer.ggml.mask_token_id": "encoders only",
    "tokenizer.ggml.cls_token_id": "", "tokenizer.ggml.seperator_token_id": "",
    "general.base_model.count": "of the model card",
}
DERIVED = ("attention.key_length", "attention.value_length")  # the same as llama.cpp's default where one file has none


def check(name, ok, value=""):
    print(f"{'ok  ' if ok else 'FAIL'} {name} {value}", flush=True)
    if not ok:
        failures.append(name)


def run(*words):
    done = subprocess.run([lorac, *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def make_folder(family, out):
    """The checkpoint of a golden family, from the formula of its tensors."""
    from make_families_golden import formula
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    tensors = {}
    for line in (family / "tensors.txt").read_text().splitlines():
        name, base, amplitude, *shape = line.split()
        shape = [int(d) for d in shape]
        values = np.float32(base) + np.float32(amplitude) * formula(name, int(np.prod(shape)))
        if "lora_" not in name:
            tensors[name] = values.reshape(shape).astype(np.float32)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((family / "config.json").read_text())
    if "query_pre_attn_scalar" in config:  # that of gemma2 is none that llama.cpp computes: lorac refuses it
        config["query_pre_attn_scalar"] = config["head_dim"]
    (out / "config.json").write_text(json.dumps(config))
    shutil.copy(GOLDEN / "families" / "tokenizer.json", out)


def convert(folder, out, f32):
    kind = "f32" if f32 else "f16"
    subprocess.run([sys.executable, llama_cpp / "convert_hf_to_gguf.py", folder, "--outfile", out, "--outtype", kind], check=True,
                   capture_output=True)


def same_tensors(name, own, their):
    a, b = ({t.name: t for t in r.tensors} for r in (own, their))
    wrong = [n for n in sorted(set(a) ^ set(b))]
    for n in sorted(set(a) & set(b)):
        x, y = a[n], b[n]
        if list(x.shape) != list(y.shape) or x.tensor_type != y.tensor_type or x.data.tobytes() != y.data.tobytes():
            wrong.append(f"{n} {x.tensor_type.name}{list(x.shape)} {y.tensor_type.name}{list(y.shape)}")
    check(f"{name}: {len(b)} tensors", not wrong, wrong[:4])


def same_keys(name, own, their, tokens):
    a, b = ({k: f for k, f in r.fields.items() if not k.startswith("GGUF.")} for r in (own, their))
    wrong = []
    for k in sorted(set(a) | set(b)):
        if k in OTHER or k.endswith(DERIVED) or (not tokens and k.startswith("tokenizer.")):
            continue
        x, y = (f[k].contents() if k in f else None for f in (a, b))
        if isinstance(x, float) and isinstance(y, float) and math.isclose(x, y, rel_tol=1e-6):
            continue
        if x != y:
            wrong.append(f"{k}: {str(x)[:60]}, not {str(y)[:60]}")
    check(f"{name}: {len(b)} keys", not wrong, wrong[:6])


def greedy(path, ids, n):
    """llama.cpp's."""
    p = xllamacpp.CommonParams()
    p.model.path, p.n_ctx, p.n_parallel, p.port = str(path), 64, 1, 0
    p.cpuparams.n_threads = 2
    p.cache_type_k = p.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    p.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(p)
    body = dict(prompt=ids, n_predict=n, temperature=0, cache_prompt=False, return_tokens=True)
    r = urllib.request.Request(server.listening_address + "/completion", data=json.dumps(body).encode(),
                               headers={"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(r, timeout=600) as answer:
        return json.load(answer)["tokens"]


def own_greedy(path, ids, n):
    """lorac's, by logits."""
    ids, out = list(ids), work / "logits.safetensors"
    for _ in range(n):
        out.unlink(missing_ok=True)
        run("logits", "--model_name_or_path", path, "--input_ids", ",".join(map(str, ids)), "--out", out)
        data = out.read_bytes()
        vocab = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])["logits"]["shape"][1]
        ids.append(int(np.frombuffer(data, np.float32)[-vocab:].argmax()))
    return ids[-n:]


def own_file(folder, kind):
    out = work / f"own-{kind}.gguf"
    out.unlink(missing_ok=True)
    run("merge", "--model_name_or_path", folder, "--out", out, "--dtype", kind)
    return out


def check_tokens(name, folder, n):
    ids = [5, 9, 33, 2, 17, 40, 8]
    want, file = own_greedy(folder, ids, n), own_file(folder, "f32")
    check(f"{name}: greedy tokens of lorac on its file", own_greedy(file, ids, n) == want)
    theirs = greedy(file, ids, n)  # it stops after the end of a sequence
    same = len(theirs) > 1 and theirs == want[:len(theirs)]
    check(f"{name}: greedy tokens of llama.cpp on it", same, f"{len(theirs)}" if same else f"{theirs}, not {want}")


def check_golden(name):
    family = GOLDEN / "families" / name
    folder = work / "tiny"  # llama.cpp changes tokens of a model whose name has "phi3" in it
    make_folder(family, folder)
    file = gguf.GGUFReader(own_file(folder, "f16"))
    same_tensors(name, file, gguf.GGUFReader(family / "base.gguf"))
    same_keys(name, file, gguf.GGUFReader(family / "base.gguf"), True)
    if name != "phi4-mini-long":  # llama.cpp takes the long factors for its context of 64, lorac the short ones for 15 tokens
        check_tokens(name, folder, 2 if name == "phi3" else 8)  # llama.cpp ignores Phi-3's window, here of 8


def check_folder(folder):
    name = folder.name
    for kind in ("f32", "f16"):
        theirs = work / f"theirs-{kind}.gguf"
        convert(folder, theirs, kind == "f32")
        own, their = gguf.GGUFReader(own_file(folder, kind)), gguf.GGUFReader(theirs)
        same_tensors(f"{name} {kind}", own, their)
        same_keys(f"{name} {kind}", own, their, True)
    check_tokens(name, folder, 12)


work.mkdir(parents=True, exist_ok=True)
names = sys.argv[4:] or [p.parent.name for p in sorted((GOLDEN / "families").glob("*/base.gguf"))]
for name in names:
    if (GOLDEN / "families" / name / "base.gguf").exists():
        check_golden(name)
    else:
        check_folder(Path(name).resolve())
sys.exit(1 if failures else 0)
