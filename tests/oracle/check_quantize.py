#!/usr/bin/env python3
"""Are the quantised files of `lorac merge` as good as llama-quantize's? Run by hand, never by `make test`.

usage: check_quantize.py LORAC BASE TEXT.txt WORK_DIR [TYPE ...]
Needs gguf and llama-cpp-py-sync (llama.cpp's libraries; glibc 2.38). BASE: a Hugging Face folder or a GGUF file; TEXT.txt: for
perplexity, such as /usr/share/common-licenses/GPL-3; TYPE: q4_k_m and the like, without any: all of them.

lorac writes BASE in float32, and llama.cpp's llama_model_quantize (llama-quantize without importance matrix) makes each type of that
file; lorac makes it of BASE.
 1. each tensor has the type that llama-quantize gives it, and general.file_type is the same
 2. llama.cpp loads lorac's file and computes lorac's logits    within 0.1 of their spread (llama.cpp rounds activations to 8 bits)
 3. perplexity of TEXT.txt, by lorac eval                       at most 1% above that of llama-quantize's file
"""
import ctypes
import importlib.util
import json
import math
import os
import subprocess
import sys

import gguf
import numpy as np

lorac, base, text, work = sys.argv[1:5]
os.makedirs(work, exist_ok=True)
FILE_TYPES = dict(f16=1, bf16=32, q8_0=7, q4_0=2, q4_1=3, q5_0=8, q5_1=9, q4_k_m=15, q5_k_m=17, q6_k=18)
failures = []
IDS = list(range(1000, 1032))
llama = ctypes.CDLL(os.path.join(importlib.util.find_spec("llama_cpp_py_sync").submodule_search_locations[0], "libllama.so"))


class Parameters(ctypes.Structure):  # the head of llama_model_quantize_params, with room for the rest; also any other struct
    _fields_ = [("n_threads", ctypes.c_int32), ("file_type", ctypes.c_int32), ("rest", ctypes.c_char * 504)]


llama.llama_model_quantize_default_params.restype = Parameters
for name in ("llama_model_default_params", "llama_context_default_params", "llama_batch_get_one"):
    getattr(llama, name).restype = Parameters
for name in ("llama_model_load_from_file", "llama_init_from_model"):
    getattr(llama, name).restype = ctypes.c_void_p
llama.llama_get_logits_ith.restype = ctypes.POINTER(ctypes.c_float)
llama.llama_model_load_from_file.argtypes = [ctypes.c_char_p, Parameters]
llama.llama_init_from_model.argtypes = [ctypes.c_void_p, Parameters]
llama.llama_decode.argtypes = [ctypes.c_void_p, Parameters]
llama.llama_get_logits_ith.argtypes = [ctypes.c_void_p, ctypes.c_int32]
for name in ("llama_free", "llama_model_free"):
    getattr(llama, name).argtypes = [ctypes.c_void_p]
llama.llama_model_quantize.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(Parameters)]
LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda level, line, data: None)
llama.llama_log_set(LOG, None)
llama.llama_backend_init()


def check(name, ok, value=""):
    print(f"{'ok  ' if ok else 'FAIL'} {name} {value}", flush=True)
    if not ok:
        failures.append(name)


def merge(kind):
    out = os.path.join(work, f"lorac-{kind}.gguf")
    subprocess.run(["rm", "-f", out], check=True)
    subprocess.run([lorac, "merge", "--model_name_or_path", base, "--out", out, "--type", kind], check=True, stdout=subprocess.DEVNULL)
    return out


def llama_quantize(source, kind):
    out, p = os.path.join(work, f"llama-{kind}.gguf"), llama.llama_model_quantize_default_params()
    p.n_threads, p.file_type = 2, FILE_TYPES[kind]
    if llama.llama_model_quantize(source.encode(), out.encode(), ctypes.byref(p)):
        sys.exit(f"llama_model_quantize of {kind} failed")
    return out


def last_logits(path, vocab):
    """llama.cpp's, for the token after IDS."""
    model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
    context = llama.llama_init_from_model(model, llama.llama_context_default_params())
    ids = (ctypes.c_int32 * len(IDS))(*IDS)
    if not model or not context or llama.llama_decode(context, llama.llama_batch_get_one(ids, len(IDS))):
        return np.full(vocab, np.nan)
    logits = np.ctypeslib.as_array(llama.llama_get_logits_ith(context, -1), (vocab,)).astype(np.float64)
    llama.llama_free(context)
    llama.llama_model_free(model)
    return logits


def own_logits(path):
    out = os.path.join(work, "logits.safetensors")
    subprocess.run(["rm", "-f", out], check=True)
    subprocess.run([lorac, "logits", "--model_name_or_path", path, "--input_ids", ",".join(map(str, IDS)), "--out", out],
                   check=True, stdout=subprocess.DEVNULL)
    data = open(out, "rb").read()
    vocab = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])["logits"]["shape"][1]
    return np.frombuffer(data, np.float32)[-vocab:].astype(np.float64)


def types(path):
    reader = gguf.GGUFReader(path)
    return {t.name: t.tensor_type.name for t in reader.tensors}, int(reader.fields["general.file_type"].contents())


def perplexity(path):
    done = subprocess.run([lorac, "eval", "--model_name_or_path", path, "--validation_file", text, "--max_seq_length", "1024", "--json"],
                          check=True, capture_output=True, text=True)
    return math.exp(json.loads(done.stdout.splitlines()[-1])["eval_loss"])


f32 = merge("f32")
reference = perplexity(f32)
print(f"f32: perplexity {reference:.4f}, {os.path.getsize(f32) / 1e6:.0f} MB")
for kind in sys.argv[5:] or FILE_TYPES:
    ours, theirs = merge(kind), llama_quantize(f32, kind)
    (own_types, own_number), (want, number) = types(ours), types(theirs)
    other = [f"{n}: {own_types.get(n)}, not {t}" for n, t in want.items() if own_types.get(n) != t]
    check(f"{kind}: types of the tensors", not other and own_types.keys() == want.keys() and own_number == number, other[:4])
    logits = own_logits(ours)
    error = np.std(last_logits(ours, len(logits)) - logits) / np.std(logits)
    check(f"{kind}: logits of llama.cpp", error < 0.1, f"{error:.2g}")
    own, their = perplexity(ours), perplexity(theirs)
    check(f"{kind}: perplexity", own <= 1.01 * their, f"{own:.4f}, of llama-quantize {their:.4f} ({100 * (own / their - 1):+.2f}%), "
          f"{os.path.getsize(ours) / 1e6:.1f} MB")
    os.remove(theirs)
    os.remove(ours)
sys.exit(1 if failures else 0)
