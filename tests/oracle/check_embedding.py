#!/usr/bin/env python3
"""Compares `lorac embed` with sentence-transformers on all-MiniLM-L6-v2: without an adapter, and with one that lorac has
trained, which sentence-transformers and PEFT load.

usage: check_embedding.py LORAC MODEL
Needs numpy, torch, transformers, peft, sentence-transformers. MODEL: a folder with all-MiniLM-L6-v2. Prints the largest
differences of the vectors, which have length 1; exit 1 if one is above 1e-5.
"""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import numpy as np
import torch
from peft import PeftModel
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

EXAMPLES = Path(__file__).parent.parent.parent / "data/examples"
lorac, base = sys.argv[1:3]
rows = [json.loads(line) for line in open(EXAMPLES / "tool_search_test.jsonl")]
texts = [r[k] for r in rows for k in ("anchor", "positive")] + ["word " * 700]  # the last one is cut


def embed(model, out):
    (out.parent / "texts.txt").write_text("\n".join(texts) + "\n")
    subprocess.run([lorac, "embed", model, out.parent / "texts.txt", "--out", out], check=True)
    return np.load(out)


def report(what, ours, theirs):
    largest = float(np.abs(ours - theirs).max())
    print(f"{what}: {ours.shape[0]} vectors, largest difference {largest:.2g}", flush=True)
    return largest <= 1e-5


with tempfile.TemporaryDirectory() as tmp:
    tmp = Path(tmp)
    subprocess.run([lorac, "train", "--task", "embedding", "--model_name_or_path", base, "--output_dir", tmp / "run",
                    "--train_file", EXAMPLES / "tool_search_train.jsonl", "--lora_target_modules", "query,value",
                    "--per_device_train_batch_size", "16", "--max_steps", "3", "--learning_rate", "2e-3"],
                   check=True, stdout=subprocess.DEVNULL)
    model = SentenceTransformer(base, device="cpu")
    plain = model.encode(texts)
    good = report("base", embed(base, tmp / "base.npy"), plain)
    trained = embed(tmp / "run", tmp / "run.npy")
    model.load_adapter(str(tmp / "run/adapter"))
    good &= report("sentence-transformers with the adapter", trained, model.encode(texts))
    print(f"the adapter moves the vectors by up to {np.abs(trained - plain).max():.2g}")
    body = SentenceTransformer(base, device="cpu")
    body[0].model = PeftModel.from_pretrained(AutoModel.from_pretrained(base), str(tmp / "run/adapter"))
    good &= report("PEFT with the adapter", trained, body.encode(texts))
sys.exit(not good)
