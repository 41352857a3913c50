#!/usr/bin/env python3
"""Writes tests/golden/adapters: what PEFT makes of patterns in adapter_config.json.

usage: make_adapters_golden.py OUT_DIR
Needs torch, transformers, peft, safetensors. Bases are those of make_families_golden.py and make_classify_golden.py.

  targets.txt          for each config ("= JSON") every module of some models, with the r and lora_alpha that PEFT gives it,
                       or "-" where it is no target (check_target_module_exists, get_pattern_key)
  NAME/adapter_config.json, NAME/adapter_model.safetensors
                       an adapter with random values as PEFT saves it, its tensors renamed or rounded as CASES says
  NAME/case.txt        the base's family, "classify" where it is one of ../classify
  NAME/logits.safetensors   ids, logits: of the base with the adapter as PEFT loads it
"""
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
import transformers
from make_families_golden import FAMILIES, V, fill
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.other import get_pattern_key
from safetensors.numpy import load_file as load_numpy
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

LLAMA = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
         "mlp.down_proj"]
KEYS = {
    "llama": [f"model.layers.{i}.{m}" for i in (0, 1, 11) for m in LLAMA] + ["lm_head", "model.embed_tokens"],
    "gpt2": [f"transformer.h.{i}.{m}" for i in (0, 1, 10) for m in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")],
    "phi3": [f"model.layers.{i}.{m}" for i in (0, 2)
             for m in ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")],
    "bert": [f"bert.encoder.layer.{i}.{m}" for i in (0, 1)
             for m in ("attention.self.query", "attention.self.value", "attention.output.dense", "intermediate.dense",
                       "output.dense")] + ["bert.pooler.dense", "classifier"],
    "mixtral": ["model.layers.0.self_attn.q_proj", "model.layers.0.block_sparse_moe.gate",
                "model.layers.1.block_sparse_moe.experts.0.w1"],
    "gemma3": ["model.language_model.layers.0.self_attn.q_proj", "model.vision_tower.encoder.layers.0.self_attn.q_proj"],
}
TARGETS = [
    dict(target_modules=["q_proj", "v_proj"]),
    dict(target_modules=["proj", "_proj", "c_attn", ""]),
    dict(target_modules=["model.layers.1.self_attn.q_proj", "layers.0.mlp.up_proj", "h.1.mlp.c_proj", "output.dense"]),
    dict(target_modules=["q_proj", "c_proj", "dense"], exclude_modules=["layers.1.self_attn.q_proj", "mlp.c_proj", "pooler.dense"]),
    dict(target_modules=["q_proj", "c_attn", "query"], exclude_modules=r".*\.(0|10)\..*"),
    dict(target_modules=["q_proj", "c_attn"], exclude_modules="q_proj"),  # a pattern for the whole key: excludes none
    dict(target_modules=r".*\.(q|v)_proj"),
    dict(target_modules=r"model\.layers\.(0|11)\.(self_attn\.(?:q|k)_proj|mlp\.\w+_proj)"),
    dict(target_modules=r"(?!.*\.0\.).*(c_attn|qkv_proj|query)$"),
    dict(target_modules=r"model.layers.1"),
    dict(target_modules=r".*layers\.\d{,1}\..*q_proj"),
    dict(target_modules=r"(?P<a>model)\.layers\.[^.]+\.self_attn\.[]qv]_proj"),
    dict(target_modules=["q_proj", "c_fc", "model.layers.11.mlp.up_proj", "query"], layers_to_transform=[1]),
    dict(target_modules=["q_proj", "c_fc", "query"], layers_to_transform=11),
    dict(target_modules=["q_proj", "c_fc", "query"], layers_to_transform=[0, 1], layers_pattern="layers"),
    dict(target_modules=["q_proj", "c_fc", "query"], layers_to_transform=[0, 10], layers_pattern=["h", "layer"]),
    dict(target_modules=["q_proj", "c_fc"], layers_to_transform=[]),
    dict(target_modules=["q_proj", "v_proj", "c_attn"], rank_pattern={"v_proj": 2, "q_proj": 16}, alpha_pattern={"c_attn": 1.5}),
    dict(target_modules=LLAMA + ["o_proj"], rank_pattern={"layers.1.self_attn.q_proj": 2, "self_attn.q_proj": 3, r".*\.mlp\..*": 5,
                                                          "mlp.up_proj": 7}),
    dict(target_modules=["q_proj", "down_proj"], rank_pattern={"^model.layers.0.self_attn.q_proj": 2, "model.layers.1.*": 3,
                                                               "proj": 9, "own_proj": 11}),
    dict(target_modules=["q_proj", "up_proj"], rank_pattern={r"layers\.(0|1)\.self_attn": 2, r"layers\.(0|1)\.self_attn.*": 3},
         alpha_pattern={"q_proj|up_proj": 5, "up_proj": 6}),
    dict(target_modules=["dense", "query"], rank_pattern={"output.dense": 2, "attention.output.dense": 3, "bert.pooler.dense": 4},
         alpha_pattern={"encoder.layer.1.attention.self.query": 0.25, r"layer\.\d\.output\.dense": 64}),
    dict(target_modules=["c_proj", "c_attn"], rank_pattern={"attn.c_proj": 2, "c_proj": 3, "h.1.attn.c_attn": 4, "1.attn.c_attn": 5}),
]


def write_targets(path):
    lines = []
    for case in TARGETS:
        config = LoraConfig(r=8, lora_alpha=16, **case)
        lines.append("= " + json.dumps(dict(case, r=8, lora_alpha=16)))
        for key in sum(KEYS.values(), []):
            rank = config.rank_pattern.get(get_pattern_key(config.rank_pattern.keys(), key), config.r)
            alpha = config.alpha_pattern.get(get_pattern_key(config.alpha_pattern.keys(), key), config.lora_alpha)
            found = bool(check_target_module_exists(config, key))
            lines.append(f"{key} {rank} {alpha}" if found else f"{key} -")
    path.write_text("\n".join(lines) + "\n")


def named(k):
    return k.replace(".weight", ".default.weight")


def state_dict_names(k):
    """As torch.save(model.state_dict()) has them."""
    if "lora_" in k:
        return named(k)
    return k.replace("classifier.", "classifier.modules_to_save.default.")


# name: family, arguments of LoraConfig, dtype, new names of tensors
CASES = {
    "patterns": ("llama3", dict(target_modules=LLAMA, exclude_modules=r".*\.0\.mlp\.(gate|down)_proj", r=2,
                                rank_pattern={"v_proj": 1, r"layers\.1\.mlp\..*": 3}, use_rslora=True,
                                alpha_pattern={"mlp.up_proj": 3, "model.layers.1.self_attn.k_proj": 2.5}), torch.float32, None),
    "full-names": ("llama3", dict(target_modules=["model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj"], r=3),
                   torch.float16, lambda k: k.replace("base_model.model.", "base_model.model._orig_mod.")),
    "above-the-side": ("llama3", dict(target_modules=["k_proj", "v_proj"], r=40, rank_pattern={"v_proj": 36}), torch.bfloat16,
                       named),
    "layers": ("llama3", dict(target_modules=["q_proj", "model.layers.0.mlp.down_proj"], layers_to_transform=[1],
                              layers_pattern="layers", r=2), torch.float32, lambda k: "module." + k),
    "regex": ("qwen3", dict(target_modules=r"model\.layers\.\d\.(self_attn\.[qk]|mlp\.gate)_proj", r=2,
                            rank_pattern={r"0\.self_attn\.[qk]_proj": 4}), torch.float32,
              lambda k: k.replace("base_model.model.", "")),
    "gpt2": ("gpt2-all", dict(target_modules=["c_attn", "c_proj"], r=2, rank_pattern={"c_attn": 3, "h.1.mlp.c_proj": 1},
                              alpha_pattern={"attn.c_proj": 5}), torch.float32, None),
    "phi3": ("phi3-all", dict(target_modules=["qkv_proj", "gate_up_proj"], r=2, rank_pattern={"layers.1.mlp.gate_up_proj": 5},
                              alpha_pattern={"qkv_proj": 4}, exclude_modules=["layers.0.self_attn.qkv_proj"]), torch.float32,
             named),
    "mixtral": ("mixtral-top1", dict(target_modules=["q_proj", "o_proj"], r=2, rank_pattern={"o_proj": 1}), torch.float32, None),
    "bert": ("bert", dict(target_modules=["query", "dense"], exclude_modules=["pooler.dense"], r=2,
                          rank_pattern={"attention.output.dense": 3, "bert.encoder.layer.1.output.dense": 1}), torch.float32,
             state_dict_names),
    "dora": ("qwen2", dict(target_modules=LLAMA, r=2, use_dora=True, rank_pattern={"up_proj": 3}), torch.float32, None),
    "dora-gpt2": ("gpt2-all", dict(target_modules=["c_attn", "c_proj"], r=2, use_dora=True), torch.float32,
                  lambda k: named(k) if k.endswith(".weight") else k + ".default.weight"),
}


def open_base(family, folder, classify):
    """The base in `folder`, its weights by the formula of make_families_golden.py."""
    if classify:
        from make_classify_golden import CASES as CLASSIFY
        kind, arguments, _, _ = CLASSIFY[family]
        config = getattr(transformers, kind + "Config")(**arguments)
        model = getattr(transformers, kind + "Model")(config)
    else:
        cls, arguments, _, _ = FAMILIES[family]
        model = AutoModelForCausalLM.from_config(getattr(transformers, cls)(**arguments))
    model.float().save_pretrained(folder)
    weights = Path(folder) / "model.safetensors"
    save_numpy(fill(load_numpy(weights), family, []), weights, metadata={"format": "pt"})


def load_base(folder, classify):
    auto = AutoModelForSequenceClassification if classify else AutoModelForCausalLM
    labels = dict(num_labels=3) if classify else {}
    return auto.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", **labels).eval()


def write_adapter(name, out):
    family, arguments, dtype, rename = CASES[name]
    classify = family == "bert"
    out.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(0, V, (1, 10), generator=generator)
    with tempfile.TemporaryDirectory() as tmp:
        open_base(family, tmp, classify)
        config = LoraConfig(task_type="SEQ_CLS" if classify else "CAUSAL_LM", **dict(dict(lora_alpha=6), **arguments))
        peft = get_peft_model(load_base(tmp, classify), config)
        for n, p in peft.named_parameters():
            if p.requires_grad:
                x = torch.randn(p.shape, generator=generator) * 0.1
                p.data.copy_((p * (1 + 3 * x) if "magnitude" in n else x).to(dtype))
        peft.save_pretrained(tmp + "/adapter")
        with torch.no_grad():
            loaded = PeftModel.from_pretrained(load_base(tmp, classify), tmp + "/adapter").eval()
            logits = loaded(input_ids=ids).logits[0]
        tensors = load_file(tmp + "/adapter/adapter_model.safetensors")
        tensors = {(rename(k) if rename else k): v.to(dtype).contiguous() for k, v in tensors.items()}
        if name == "bert":
            tensors["base_model.model.classifier.original_module.weight"] = torch.zeros(3, 32)
        save_file(tensors, out / "adapter_model.safetensors", metadata={"format": "pt"})
        text = json.loads(Path(tmp + "/adapter/adapter_config.json").read_text())
        text["base_model_name_or_path"] = "base"
        if isinstance(text["target_modules"], list):
            text["target_modules"].sort()
        (out / "adapter_config.json").write_text(json.dumps(text, indent=2, sort_keys=True))
    save_file({"ids": ids[0].int(), "logits": logits.contiguous()}, out / "logits.safetensors")
    (out / "case.txt").write_text(("../classify/" if classify else "") + family + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    root = Path(sys.argv[1])
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    write_targets(root / "targets.txt")
    for case in CASES:
        write_adapter(case, root / case)
