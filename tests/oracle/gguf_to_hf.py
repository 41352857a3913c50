#!/usr/bin/env python3
"""usage: gguf_to_hf.py MODEL.gguf OUT_DIR [F32.gguf]: the float32 Hugging Face folder of a GGUF file, for oracles and
the bench, and the same weights as a GGUF file without quantisation.

transformers dequantises the file (and takes 1 off Gemma's norm weights); the weights are copied into a fresh dense
model because it refuses to save its own. Its tokenizer conversion drops SmolLM's digit split, which is put back.
"""
import json
import os
import pathlib
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def write_f32(source, path):
    """`source` with every tensor expanded to float32."""
    r = gguf.GGUFReader(source)
    w = gguf.GGUFWriter(path, r.fields["general.architecture"].contents())
    for f in r.fields.values():
        if f.name.startswith("GGUF.") or f.name in ("general.architecture", "general.file_type"):
            continue
        sub = f.types[1] if f.types[0] == gguf.GGUFValueType.ARRAY else None
        w.add_key_value(f.name, f.contents(), f.types[0], sub)
    for t in r.tensors:
        w.add_tensor(t.name, np.ascontiguousarray(gguf.dequantize(t.data, t.tensor_type).astype(np.float32)))
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()


def write_folder(source, out):
    loaded = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    settings = {k: v for k, v in loaded.config.to_dict().items() if k != "quantization_config"}
    dense = type(loaded)(type(loaded.config).from_dict(settings)).to(torch.float32)
    dense.load_state_dict(loaded.state_dict())
    dense.tie_weights()
    dense.save_pretrained(out)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(out)


def split_digits(path):
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]}
    path.write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")


def main():
    source, out = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    write_folder(source, out)
    pre = gguf.GGUFReader(source).fields["tokenizer.ggml.pre"].contents()
    if pre == "smollm":
        split_digits(out / "tokenizer.json")
    if len(sys.argv) > 3:
        write_f32(source, sys.argv[3])


if __name__ == "__main__":
    main()
