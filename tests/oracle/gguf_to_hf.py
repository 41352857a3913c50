#!/usr/bin/env python3
"""usage: gguf_to_hf.py MODEL.gguf OUT_DIR: the float32 Hugging Face folder of a GGUF file, for oracles and the bench.

transformers dequantises the file; the weights are copied into a fresh dense model because it refuses to save its own.
Its tokenizer conversion drops SmolLM's digit split, which is put back.
"""
import json
import os
import pathlib
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

source, out = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
loaded = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
settings = {k: v for k, v in loaded.config.to_dict().items() if k != "quantization_config"}
dense = type(loaded)(type(loaded.config).from_dict(settings)).to(torch.float32)
dense.load_state_dict(loaded.state_dict())
dense.tie_weights()
dense.save_pretrained(out)
AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(out)

path = out / "tokenizer.json"
tokenizer = json.loads(path.read_text(encoding="utf-8"))
tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
    {"type": "Digits", "individual_digits": True},
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]}
path.write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
