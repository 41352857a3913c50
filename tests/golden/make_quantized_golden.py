#!/usr/bin/env python3
"""Writes tests/golden/quantized/NAME/: one tiny Llama, quantised in each of the forms that checkpoints have, and the
logits that transformers computes with it.

usage: make_quantized_golden.py OUT_DIR [NAME ...]
Needs torch, transformers, safetensors, accelerate, bitsandbytes and compressed-tensors, which run on the CPU.

  config.json         with quantization_config, as the method's library writes it
  model.safetensors   the checkpoint
  golden.safetensors  ids [N], logits [N, V] in float32

bnb-nf4 and bnb-nf4-double are computed by bitsandbytes itself, the cases ct-* with what compressed-tensors makes of its
own files. All others with weights that this script dequantises by the formula at the function that writes the form:
their libraries round activations too, or need a GPU.
"""
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import bitsandbytes as bnb
import torch
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute as generic_4bit
from compressed_tensors.compressors import (FloatQuantizationCompressor, IntQuantizationCompressor,
                                             PackedQuantizationCompressor)
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

V, N = 64, 12
BASE = LlamaConfig(vocab_size=V, hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=2,
                   num_key_value_heads=1, max_position_embeddings=64, bos_token_id=62, eos_token_id=63,
                   pad_token_id=None, tie_word_embeddings=True, initializer_range=0.2, dtype="float32")
IDS = torch.arange(N) * 7 % 61


def base_model():
    torch.manual_seed(18)
    model = LlamaForCausalLM(BASE).float().eval()
    embedding = model.model.embed_tokens.weight.data
    embedding.copy_(embedding.bfloat16())
    return model


def linears(model):
    return {n: m.weight.data for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n != "lm_head"}


def rest(model):
    """The tensors that are not quantised; the embedding as BF16, which holds it exactly."""
    quantised = {f"{n}.weight" for n in linears(model)} | {"lm_head.weight"}
    return {n: t.bfloat16() if "embed" in n else t.clone() for n, t in model.state_dict().items() if n not in quantised}


@torch.no_grad()
def logits_of(model):
    return model(IDS[None]).logits[0].float().contiguous()


def logits_with(weights):
    """Of the base with these matrices, by name of their module."""
    model = base_model()
    for name, weight in weights.items():
        model.get_submodule(name).weight.data.copy_(weight)
    return logits_of(model)


def save(out, tensors, quantization):
    config = json.loads(BASE.to_json_string())
    config.update(architectures=["LlamaForCausalLM"], quantization_config=quantization)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file({n: t.contiguous() for n, t in tensors.items()}, out / "model.safetensors", metadata={"format": "pt"})


# ---- bitsandbytes ----

def bnb4(out, kind, block, nested):
    """Blocks of `block` elements of the matrix, row behind row. They may cross rows: bitsandbytes' expansion on CPUs
    with vectors then differs from its quantisation, so its generic one (as on GPUs) is asked."""
    model = base_model()
    tensors, weights, whole = rest(model), {}, True
    for name, weight in linears(model).items():
        packed, state = bnb.functional.quantize_4bit(weight, blocksize=block, compress_statistics=nested, quant_type=kind)
        tensors[f"{name}.weight"] = packed
        tensors.update({f"{name}.weight.{k}": v for k, v in state.as_dict(packed=True).items()})
        whole &= weight.shape[1] % block == 0
        absmax = state.absmax
        if nested:
            absmax = bnb.functional.dequantize_blockwise(absmax, state.state2) + state.offset
        weights[name] = generic_4bit(packed.reshape(-1), absmax, state.code, block, weight.shape, torch.float32)
    save(out, tensors, dict(quant_method="bitsandbytes", load_in_4bit=True, load_in_8bit=False,
                            bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=nested,
                            bnb_4bit_compute_dtype="float32", bnb_4bit_quant_storage="uint8"))
    if not whole:
        return logits_with(weights)
    # In training it expands the weights; for inference on CPUs it multiplies in bfloat16.
    loaded = AutoModelForCausalLM.from_pretrained(out, device_map="cpu", dtype=torch.float32).train()
    loaded.get_input_embeddings().float()
    return logits_of(loaded)


def bnb8(out):
    """weight int8, SCB [rows]: W = weight * SCB / 127 (bitsandbytes.functional.int8_vectorwise_dequant)."""
    model = base_model()
    tensors, weights = rest(model), {}
    for name, weight in linears(model).items():
        rows, scale, _ = bnb.functional.int8_vectorwise_quant(weight.half())
        tensors.update({f"{name}.weight": rows, f"{name}.SCB": scale,
                        f"{name}.weight_format": torch.tensor(0, dtype=torch.uint8)})
        weights[name] = bnb.functional.int8_vectorwise_dequant(rows, scale)
    save(out, tensors, dict(quant_method="bitsandbytes", load_in_8bit=True, load_in_4bit=False, llm_int8_threshold=6.0))
    return logits_with(weights)


# ---- float8 ----

def fp8(out, block):
    """DeepSeek-V3's weight_dequant (inference/kernel.py) and transformers' FP8Linear: W = weight * weight_scale_inv of
    the element's block; block None: one scale of the tensor, as vLLM's fp8 checkpoints have it (weight_scale)."""
    model = base_model()
    tensors, weights = rest(model), {}
    for name, weight in linears(model).items():
        rows, cols = block or weight.shape
        index = (torch.arange(weight.shape[0])[:, None] // rows, torch.arange(weight.shape[1])[None] // cols)
        scale = torch.zeros(-(-weight.shape[0] // rows), -(-weight.shape[1] // cols))
        for i in range(scale.shape[0]):
            for j in range(scale.shape[1]):
                scale[i, j] = weight[i * rows:(i + 1) * rows, j * cols:(j + 1) * cols].abs().max() / 448
        numbers = (weight / scale[index]).to(torch.float8_e4m3fn)
        weights[name] = numbers.float() * scale[index]
        tensors[f"{name}.weight"] = numbers
        if block:
            tensors[f"{name}.weight_scale_inv"] = scale
        else:
            tensors[f"{name}.weight_scale"] = scale.reshape(())
            tensors[f"{name}.input_scale"] = torch.tensor(0.5)
    save(out, tensors, dict(quant_method="fp8", activation_scheme="dynamic" if block else "static",
                            **({"weight_block_size": list(block)} if block else {})))
    return logits_with(weights)


# ---- GPTQ, AWQ ----

def grouped(weight, bits, group, symmetric):
    """Numbers [out, in], scales and zeros [out, groups] of plain rounding."""
    most = 2**bits - 1
    parts = weight.reshape(weight.shape[0], -1, group)
    low, high = parts.amin(-1).clamp(max=0), parts.amax(-1).clamp(min=0)
    if symmetric:
        high = torch.maximum(high, -low)
        low = -high
    scale = ((high - low) / most).half()
    zero = torch.full_like(scale, 2**(bits - 1)) if symmetric else torch.round(-low / scale.float()).clamp(1, most)
    numbers = torch.round(parts / scale.float()[..., None] + zero[..., None]).clamp(0, most)
    return numbers.reshape(weight.shape).int(), scale, zero.int()


def pack(numbers, bits, order=None):
    """[n, m] to words [n, m / P]: number order[i] of a word in its bits i * bits and above."""
    per = 32 // bits
    parts = numbers.long().reshape(numbers.shape[0], -1, per)[..., order or list(range(per))]
    words = (parts << torch.arange(0, 32, bits)).sum(-1)
    return torch.where(words >= 2**31, words - 2**32, words).int()


def gptq(out, bits, group, symmetric, ordered, v2):
    """AutoGPTQ's and GPTQModel's QuantLinear (pack, and dequantize_weight of its Torch kernel):
    W[k, n] = scales[g_idx[k], n] * (q[k, n] - zero[g_idx[k], n]); checkpoint_format gptq stores zero - 1."""
    model = base_model()
    tensors, weights = rest(model), {}
    for name, weight in linears(model).items():
        size = weight.shape[1] if group == -1 else group
        order = torch.randperm(weight.shape[1], generator=torch.Generator().manual_seed(1)) if ordered else \
            torch.arange(weight.shape[1])
        sorted_numbers, scale, zero = grouped(weight[:, order], bits, size, symmetric)
        index = torch.empty(weight.shape[1], dtype=torch.int32)
        index[order] = (torch.arange(weight.shape[1]) // size).int()
        numbers = torch.empty_like(sorted_numbers)
        numbers[:, order] = sorted_numbers
        weights[name] = scale.float()[:, index] * (numbers - zero[:, index])
        tensors[f"{name}.qweight"] = pack(numbers, bits).T
        tensors[f"{name}.qzeros"] = pack((zero - (0 if v2 else 1)).T, bits)
        tensors[f"{name}.scales"] = scale.T
        tensors[f"{name}.g_idx"] = index
    save(out, tensors, dict(quant_method="gptq", bits=bits, group_size=group, sym=symmetric, desc_act=ordered,
                            true_sequential=True, checkpoint_format="gptq_v2" if v2 else "gptq"))
    return logits_with(weights)


def awq(out):
    """AutoAWQ's WQLinear_GEMM (from_linear; awq/utils/packing_utils.py): the outputs of a word in this order."""
    order, group = [0, 2, 4, 6, 1, 3, 5, 7], 32
    model = base_model()
    tensors, weights = rest(model), {}
    for name, weight in linears(model).items():
        numbers, scale, zero = grouped(weight, 4, group, False)
        index = torch.arange(weight.shape[1]) // group
        weights[name] = scale.float()[:, index] * (numbers - zero[:, index])
        tensors[f"{name}.qweight"] = pack(numbers.T, 4, order)
        tensors[f"{name}.qzeros"] = pack(zero.T, 4, order)
        tensors[f"{name}.scales"] = scale.T
    save(out, tensors, dict(quant_method="awq", bits=4, group_size=group, zero_point=True, version="gemm"))
    return logits_with(weights)


# ---- compressed-tensors ----

def compressed(out, compressor, form, args):
    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**args))
    model = base_model()
    tensors, weights = rest(model), {}
    for name, weight in linears(model).items():
        group = args.get("group_size") or weight.shape[1]
        parts = weight.reshape(weight.shape[0], -1, group)
        scale, zero = calculate_qparams(parts.amin(-1), parts.amax(-1), scheme.weights)
        stored = compressor.compress({"weight": weight, "weight_scale": scale, "weight_zero_point": zero}, scheme)
        weights[name] = compressor.decompress(stored, scheme)["weight"]
        tensors.update({f"{name}.{k}": v for k, v in stored.items()})
    save(out, tensors, dict(quant_method="compressed-tensors", format=form, quantization_status="compressed",
                            config_groups={"group_0": {"targets": ["Linear"], "weights": args}}, ignore=["lm_head"]))
    return logits_with(weights)


CASES = {
    "bnb-nf4": lambda out: bnb4(out, "nf4", 64, False),
    "bnb-nf4-double": lambda out: bnb4(out, "nf4", 64, True),
    "bnb-fp4-double": lambda out: bnb4(out, "fp4", 128, True),
    "bnb-int8": bnb8,
    "fp8-block": lambda out: fp8(out, (48, 32)),
    "fp8-tensor": lambda out: fp8(out, None),
    "gptq-4": lambda out: gptq(out, 4, 32, False, False, False),
    "gptq-4-order": lambda out: gptq(out, 4, 32, True, True, False),
    "gptq-8-v2": lambda out: gptq(out, 8, -1, False, False, True),
    "awq": awq,
    "ct-packed-4": lambda out: compressed(out, PackedQuantizationCompressor, "pack-quantized", dict(
        num_bits=4, type="int", symmetric=True, strategy="group", group_size=32)),
    "ct-packed-4-zero": lambda out: compressed(out, PackedQuantizationCompressor, "pack-quantized", dict(
        num_bits=4, type="int", symmetric=False, strategy="group", group_size=32)),
    "ct-packed-8": lambda out: compressed(out, PackedQuantizationCompressor, "pack-quantized", dict(
        num_bits=8, type="int", symmetric=True, strategy="channel")),
    "ct-float": lambda out: compressed(out, FloatQuantizationCompressor, "float-quantized", dict(
        num_bits=8, type="float", symmetric=True, strategy="channel")),
    "ct-int": lambda out: compressed(out, IntQuantizationCompressor, "int-quantized", dict(
        num_bits=8, type="int", symmetric=False, strategy="channel")),
}


def main():
    root = Path(sys.argv[1])
    for name in sys.argv[2:] or CASES:
        out = root / name
        out.mkdir(parents=True, exist_ok=True)
        logits = CASES[name](out)
        save_file({"ids": IDS.int(), "logits": logits}, out / "golden.safetensors")
        print(name, "largest logit", float(logits.abs().max()), "distance from the base",
              float((logits - logits_of(base_model())).abs().max()))


main()
