#!/usr/bin/env python3
"""The rival in `make bench`: transformers + PEFT LoRA training on the CPU, on the very rows that lorac trains.

usage: peft_train.py MODEL_DIR ROWS.jsonl [--checkpoint] [--threads N]
ROWS.jsonl: {"input_ids": [...], "labels": [...]} a line, one row a step. r=16, alpha=32 on q_proj and v_proj, float32,
AdamW, learning rate 2e-4. Prints one JSON line: tokens per second (median after two steps), peak memory, losses.
MODEL_DIR is a Hugging Face folder of the same weights: tests/oracle/gguf_to_hf.py makes it from the GGUF file.
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
args = parser.parse_args()

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

torch.set_num_threads(args.threads)
torch.manual_seed(0)
model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"]))
model.config.use_cache = False
if args.checkpoint:
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.enable_input_require_grads()
model.train()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4, weight_decay=0.0)
ready = time.time() - start

seconds, losses, tokens = [], [], []
for line in open(args.rows, encoding="utf-8"):
    row = json.loads(line)
    begin = time.time()
    loss = model(input_ids=torch.tensor([row["input_ids"]]), labels=torch.tensor([row["labels"]])).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    losses.append(loss.item())
    tokens.append(len(row["input_ids"]))
    seconds.append(time.time() - begin)
print(json.dumps({
    "tokens_per_second": statistics.median(n / s for n, s in list(zip(tokens, seconds))[2:]),
    "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "first_step_done_seconds": ready + seconds[0],
    "losses": losses,
    "torch": torch.__version__,
}))
