#!/usr/bin/env python3
"""The rival in `make bench` and gpu.sh: transformers + PEFT LoRA training on the very rows that lorac trains.

usage: peft_train.py MODEL_DIR ROWS.jsonl [--checkpoint] [--threads N] [--dtype bf16] [--device cuda] [--batch N]
                     [--all-linear] [--liger]
ROWS.jsonl: {"input_ids": [...], "labels": [...]} a line, all of one length, `batch` rows a step. r=16, alpha=32 on q_proj
and v_proj, or on every linear layer, AdamW, learning rate 2e-4; --dtype of the base model, by default fp32 on the CPU,
bf16 on a GPU (the adapter stays float32, as PEFT has it). Prints one JSON line: tokens per second (median after two
steps), peak memory, losses. MODEL_DIR is a Hugging Face folder of the same weights: tests/oracle/gguf_to_hf.py makes it
from the GGUF file. --liger: with Liger's kernels.
"""
import argparse
import json
import resource
import statistics
import time

start = time.time()
parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("rows")
parser.add_argument("--checkpoint", action="store_true")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--device", default="cpu")
parser.add_argument("--dtype", choices=["fp32", "bf16"])
parser.add_argument("--batch", type=int, default=1)
parser.add_argument("--all-linear", action="store_true")
parser.add_argument("--liger", action="store_true")
args = parser.parse_args()

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

torch.set_num_threads(args.threads)
torch.manual_seed(0)
gpu = args.device != "cpu"
bf16 = args.dtype == "bf16" or (gpu and not args.dtype)
Loader = AutoModelForCausalLM
if args.liger:
    from liger_kernel.transformers import AutoLigerKernelForCausalLM as Loader
model = Loader.from_pretrained(args.model, dtype=torch.bfloat16 if bf16 else torch.float32).to(args.device)
targets = "all-linear" if args.all_linear else ["q_proj", "v_proj"]
model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, task_type="CAUSAL_LM", target_modules=targets))
model.config.use_cache = False
if args.checkpoint:
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.enable_input_require_grads()
model.train()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4, weight_decay=0.0)
ready = time.time() - start


def step(rows):
    ids, labels = (torch.tensor([row[key] for row in rows], device=args.device) for key in ("input_ids", "labels"))
    with torch.autocast(args.device, torch.bfloat16, enabled=gpu):
        loss = model(input_ids=ids, labels=labels).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.item(), ids.numel()


rows = [json.loads(line) for line in open(args.rows, encoding="utf-8")]
seconds, losses, tokens = [], [], []
for first in range(0, len(rows) - args.batch + 1, args.batch):
    begin = time.time()
    loss, count = step(rows[first:first + args.batch])
    losses.append(loss)
    tokens.append(count)
    seconds.append(time.time() - begin)
peak = torch.cuda.max_memory_allocated() / 1e6 if gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
print(json.dumps({
    "tokens_per_second": statistics.median(n / s for n, s in list(zip(tokens, seconds))[min(2, len(seconds) - 1):]),
    "peak_memory_mb": peak,
    "first_step_done_seconds": ready + seconds[0],
    "losses": losses,
    "torch": torch.__version__,
}))
