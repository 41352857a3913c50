#!/usr/bin/env python3
"""Writes lr_schedule.txt: learning rates of transformers' schedulers behind the warm-up, one "kind total warmup
min_ratio step factor" a line, step counted from 1. Needs torch and transformers. Run: make_lr_golden.py > lr_schedule.txt"""
import torch
from transformers import get_scheduler

KINDS = {
    "cosine": lambda total, low: {},
    "linear": lambda total, low: {},
    "constant": lambda total, low: {},
    "constant_with_warmup": lambda total, low: {},
    "cosine_with_min_lr": lambda total, low: {"min_lr_rate": low},
    "wsd": lambda total, low: {"num_decay_steps": (total + 9) // 10, "min_lr_ratio": low},
    "inverse_sqrt": lambda total, low: {},
}
for kind, kwargs in KINDS.items():
    for total, warmup, low in [(1, 0, 0.0), (7, 2, 0.1), (100, 0, 0.0), (100, 10, 0.25), (1234, 37, 0.05)]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        name = "warmup_stable_decay" if kind == "wsd" else kind
        args = {} if kind == "constant" else {"num_warmup_steps": warmup}
        schedule = get_scheduler(name, optimizer, num_training_steps=total, scheduler_specific_kwargs=kwargs(total, low),
                                 **args)
        for step in range(1, total + 1):
            wanted = step in (1, 2, 3, warmup, warmup + 1, warmup + 2, total - 1, total) or step % 97 == 0
            if wanted and (step > warmup or kind == "constant"):
                print(kind, total, warmup, low, step, repr(float(schedule.get_last_lr()[0])))
            optimizer.step()
            schedule.step()
