#!/usr/bin/env python3
"""Writes tests/golden/quantized/mxfp4/: a tiny gpt-oss with packed experts, and the logits that transformers computes
with what its own dequantisation makes of them.

usage: make_mxfp4_golden.py OUT_DIR
Needs torch, transformers, safetensors and gguf (whose dequantisation of base.gguf must have the same bits).

  config.json, model.safetensors   as openai/gpt-oss-20b is stored: *_blocks, *_scales; the rest in BF16
  base.gguf                        the same, as llama.cpp's converter writes it (MXFP4 blocks)
  golden.safetensors               ids [N], logits [N, V] in float32
"""
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import gguf
import numpy as np
import torch
from make_families_golden import V, rule, formula, write_gpt_oss
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GptOssConfig

N = 12
CONFIG = GptOssConfig(vocab_size=V, hidden_size=64, intermediate_size=32, num_hidden_layers=1, num_attention_heads=4,
                      num_key_value_heads=2, head_dim=16, num_local_experts=3, num_experts_per_tok=2, sliding_window=8,
                      max_position_embeddings=64, bos_token_id=62, eos_token_id=63, pad_token_id=None, dtype="bfloat16",
                      rope_parameters=dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, beta_fast=32.0,
                                           beta_slow=1.0, truncate=True, original_max_position_embeddings=16))
IDS = torch.arange(N) * 7 % 61


def blocks_of_gguf(blocks, scales):
    """Element j of a block beside element j + 16, the block's exponent before them."""
    numbers = torch.stack([blocks & 15, blocks >> 4], -1).reshape(*blocks.shape[:3], 32)
    halves = numbers[..., :16] | numbers[..., 16:] << 4
    return torch.cat([scales[..., None], halves], -1).reshape(*blocks.shape[:2], -1)


def main():
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    tensors, packed = {}, {}
    for name, value in AutoModelForCausalLM.from_config(CONFIG).state_dict().items():
        base, amplitude = rule(name, value.shape, "gpt_oss")
        if name.endswith("_proj") and "experts" in name:
            outs, ins = value.shape[2], value.shape[1]
            shape = (value.shape[0], outs, ins // 32, 16)
            blocks = (formula(name, int(np.prod(shape))) * 128 + 128).astype(np.uint8).reshape(shape)
            scales = (formula(name + "_scales", int(np.prod(shape[:3]))) * 2 + 124).astype(np.uint8).reshape(shape[:3])
            tensors[name + "_blocks"] = torch.from_numpy(blocks)
            tensors[name + "_scales"] = torch.from_numpy(scales)
            packed[name] = blocks_of_gguf(tensors[name + "_blocks"], tensors[name + "_scales"]).numpy()
            continue
        values = np.float32(base) + np.float32(amplitude) * formula(name, value.numel())
        tensors[name] = torch.from_numpy(values.reshape(tuple(value.shape)).astype(np.float32)).bfloat16()
        packed[name] = tensors[name].float().numpy()
    config = json.loads(CONFIG.to_json_string())
    config.update(architectures=["GptOssForCausalLM"], quantization_config=dict(
        quant_method="mxfp4", modules_to_not_convert=["model.layers.*.self_attn", "model.layers.*.mlp.router",
                                                      "model.embed_tokens", "lm_head"]))
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    write_gpt_oss(out, out / "base.gguf", packed)
    model = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32, attn_implementation="eager").eval()
    experts = model.model.layers[0].mlp.experts
    for name, values in [("gate_up_proj", experts.gate_up_proj), ("down_proj", experts.down_proj)]:
        full = gguf.quants.dequantize(packed[f"model.layers.0.mlp.experts.{name}"], gguf.GGMLQuantizationType.MXFP4)
        assert torch.equal(torch.from_numpy(full).swapaxes(1, 2), values.detach().float()), name
    with torch.no_grad():
        logits = model(IDS[None]).logits[0].float().contiguous()
    save_file({"ids": IDS.int(), "logits": logits}, out / "golden.safetensors")
    print("largest logit", float(logits.abs().max()), "largest weight", float(experts.gate_up_proj.detach().abs().max()))


if __name__ == "__main__":
    main()
