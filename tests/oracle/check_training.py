#!/usr/bin/env python3
"""usage: check_training.py LORAC MODEL.gguf HF_DIR DATA.jsonl: 20 AdamW steps of lorac against transformers + PEFT.

Same token ids and labels (through `lorac tokenize`), same initial adapter (made by PEFT, B not zero), one conversation a
step, no shuffling, no packing, constant learning rate, clipping at 1. HF_DIR: gguf_to_hf.py of the same file.
Prints the largest relative difference of a loss (exit 1 above 2e-4), how far the final adapters are apart, and the largest
norm-wise relative difference of a matrix's first gradient (exit 1 above 1e-3).
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

STEPS, RATE = 20, 2e-4
lorac, gguf, hf, data = sys.argv[1:5]
work = pathlib.Path(tempfile.mkdtemp(prefix="lorac-check-"))

rows = []
for line in open(data, encoding="utf-8"):
    (work / "messages.json").write_text(json.dumps(json.loads(line)["messages"]))
    out = subprocess.run([lorac, "tokenize", "--model_name_or_path", gguf, "--messages", work / "messages.json"],
                         capture_output=True, text=True, check=True).stdout
    sample = json.loads(out)
    rows.append((sample["input_ids"], [i if s else -100 for i, s in zip(sample["input_ids"], sample["supervised"])]))
    if len(rows) == STEPS:
        break
with open(work / "rows.jsonl", "w") as f:
    for ids, labels in rows:
        f.write(json.dumps({"input_ids": ids, "labels": labels}) + "\n")

torch.manual_seed(0)
model = AutoModelForCausalLM.from_pretrained(hf, dtype=torch.float32)
model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"]))
params = [p for p in model.parameters() if p.requires_grad]
with torch.no_grad():
    for name, p in model.named_parameters():
        if "lora_B" in name:
            p.normal_(0, 0.02)
model.save_pretrained(work / "start")


def compare_gradients():
    """The first row's gradient of every matrix: after one step without clipping AdamW's m is 0.1 of it."""
    ids, labels = rows[0]
    model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss.backward()
    want = {n.replace(".default", ""): p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    model.zero_grad()
    train("one", "--max_steps", "1", "--max_grad_norm", "0")
    m = load_file(next((work / "one").glob("checkpoint-*")) / "optimizer.safetensors")["m"]
    worst, at = 0.0, 0
    for layer in range(model.config.num_hidden_layers):  # lorac's canonical order: q A, q B, v A, v B of each layer
        for name in ("q_proj.lora_A", "q_proj.lora_B", "v_proj.lora_A", "v_proj.lora_B"):
            g = want[f"base_model.model.model.layers.{layer}.self_attn.{name}.weight"]
            got = m[at:at + g.numel()].reshape(g.shape) / 0.1
            worst = max(worst, float((got - g).norm() / g.norm()))
            at += g.numel()
    assert at == m.numel()
    return worst


def train(out, *more):
    subprocess.run([lorac, "train", "--model_name_or_path", gguf, "--train_file", work / "rows.jsonl", "--output_dir",
                    work / out, "--adapter_name_or_path", work / "start", "--shuffle", "false", "--packing", "false",
                    "--num_train_epochs", "1", "--learning_rate", str(RATE), "--lr_scheduler_type", "constant",
                    "--warmup_ratio", "0", "--report_to", "[]", *more], check=True, stdout=subprocess.DEVNULL)


gradient_difference = compare_gradients()
optimizer = torch.optim.AdamW(params, lr=RATE, weight_decay=0.0)
losses = []
for ids, labels in rows:
    loss = model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.item())
model.save_pretrained(work / "end")

train("run")
ours = [json.loads(line) for line in open(work / "run" / "train_log.jsonl")]
ours = [s["loss"] for s in ours if "loss" in s]
assert len(ours) == STEPS
loss_difference = max(abs(a / b - 1) for a, b in zip(ours, losses))
start, end = (load_file(work / d / "adapter_model.safetensors") for d in ("start", "end"))
got = load_file(work / "run" / "adapter" / "adapter_model.safetensors")
moved = sum((end[k] - start[k]).pow(2).sum() for k in end).sqrt()
apart = sum((end[k] - got[k]).pow(2).sum() for k in end).sqrt()
print(f"{STEPS} steps, losses {losses[0]:.4f} to {losses[-1]:.4f}: largest relative difference {loss_difference:.1e}; "
      f"adapters differ by {apart / moved:.1e} of what training moved; first gradients differ by at most "
      f"{gradient_difference:.1e} of any matrix's norm")
sys.exit(loss_difference > 2e-4 or gradient_difference > 1e-3)
