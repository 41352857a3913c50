#!/usr/bin/env python3
"""Writes tests/golden/distill/: what PyTorch computes in knowledge distillation of the tiny models of golden/families.

usage: make_distill_golden.py OUT_DIR [KIND ...]
Needs torch, transformers, peft, trl. Models and the adapters that runs start from are those of ../families
(make_families_golden.py); the teachers have no adapter, or that one.

  tokens.jsonl  16 samples of tokens with labels
  KIND.txt      the words of lorac's run, then for each of STEPS steps of two samples, in their order: loss, cross
                entropy, T^2 times the divergence from the teacher
The loss of a token is CE * cross entropy + KD * T^2 * KL(q || p), q the teacher's softmax(logits / T) over its TOP most
probable tokens, p the student's over all, as in Axolotl's plugin kd (topk_logprob/forward_kl.py); of gkd it is TRL's
GKDTrainer.generalized_jsd_loss with beta 0.
"""
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
import torch
from make_families_golden import ALPHA, R, formula
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM
from trl.experimental.gkd import GKDTrainer

STEPS, BATCH, RATE, VOCAB = 20, 2, 5e-3, 64
# student, teacher, whether it has its adapter, TOP, T, CE, KD
KINDS = {
    "base": ("llama3", "llama3", False, 64, 1.0, 0.5, 0.5),
    "adapter": ("gemma2", "gemma2", True, 8, 0.5, 0.5, 0.5),
    "top": ("llama3", "gemma2", False, 5, 2.0, 0.25, 0.75),
    "capped": ("gemma2", "llama3", False, 7, 3.0, 0.0, 1.0),
    "gkd": ("llama3", "gemma2", False, 64, 1.0, 0.0, 1.0),
}
families = Path(__file__).parent / "families"


def model_of(name, adapter):
    config = AutoConfig.from_pretrained(families / name)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config).float()
    peft = get_peft_model(model, LoraConfig(r=R, lora_alpha=ALPHA, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    values = {}
    for line in open(families / name / "tensors.txt"):
        key, base, amplitude, *shape = line.split()
        shape = [int(d) for d in shape]
        values[key] = torch.from_numpy(float(base) + float(amplitude) * formula(key, int(torch.tensor(shape).prod()))).float().reshape(shape)
    with torch.no_grad():
        for key, p in peft.named_parameters():
            short = key.replace(".base_layer", "").replace(".default", "")
            p.copy_(values[short if "lora_" in short else short.removeprefix("base_model.model.")])
            if "lora_B" in key and not adapter:
                p.zero_()
    return peft


def samples():
    g = torch.Generator().manual_seed(7)
    out = []
    for i in range(16):
        n = 8 + i % 5 * 3
        ids = torch.randint(3, VOCAB, (n,), generator=g).tolist()
        out.append({"input_ids": ids, "labels": [-100] * (n // 3) + ids[n // 3:]})
    return out


def divergence(student, teacher, top, t):
    values, ids = torch.topk(teacher, top, dim=-1)
    log_q = torch.log_softmax(values / t, -1)
    log_p = torch.log_softmax(student / t, -1).gather(-1, ids)
    return t * t * (log_q.exp() * (log_q - log_p)).sum(-1)


def losses(student, teacher, batch, kind):
    _, _, _, top, t, _, _ = KINDS[kind]
    hard = soft = 0
    n = 0
    for s in batch:
        ids, labels = torch.tensor([s["input_ids"]]), torch.tensor([s["labels"]])[:, 1:]
        mine = student(input_ids=ids).logits.float()[:, :-1]
        with torch.no_grad():
            other = teacher(input_ids=ids).logits.float()[:, :-1]
        seen = labels != -100
        n += int(seen.sum())
        hard = hard + torch.nn.functional.cross_entropy(mine[seen], labels[seen], reduction="sum")
        if kind == "gkd":
            soft = soft + GKDTrainer.generalized_jsd_loss(mine, other, labels, beta=0, temperature=t) * int(seen.sum())
        else:
            soft = soft + divergence(mine[seen], other[seen], top, t).sum()
    return hard / n, soft / n


def run(out, kind):
    base, other, adapter, top, t, ce, kd = KINDS[kind]
    student, teacher = model_of(base, True), model_of(other, adapter).eval()
    words = [f"--kd_top_k {top} --kd_temperature {t:g} --kd_ce_alpha {ce:g} --kd_alpha {kd:g}", f"--teacher_model {other}-0"]
    words += [f"--teacher_adapter {other}-start"] if adapter else []
    trained = [p for n, p in student.named_parameters() if "lora_" in n]
    for n, p in student.named_parameters():
        p.requires_grad_("lora_" in n)
    optimizer = torch.optim.AdamW(trained, lr=RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    data, lines = samples(), [" ".join([base] + words)]
    for step in range(STEPS):
        at = step * BATCH % len(data)
        hard, soft = losses(student, teacher, data[at:at + BATCH], kind)
        loss = ce * hard + kd * soft
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        lines.append(f"{loss.item():.9g} {hard.item():.9g} {soft.item():.9g}")
    (out / f"{kind}.txt").write_text("\n".join(lines) + "\n")


out = Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
(out / "tokens.jsonl").write_text("".join(json.dumps(s) + "\n" for s in samples()))
for kind in sys.argv[2:] or KINDS:
    run(out, kind)
