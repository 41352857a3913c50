#!/usr/bin/env python3
"""Writes entities.txt: precision, recall and F1 of random tags as seqeval computes them in its default mode.

usage: make_entities_golden.py > entities.txt; needs seqeval.
A line: precision, recall, F1, then for every token its true and its predicted tag as TRUE/PREDICTED; "|" ends a sample.
"""
import random

from seqeval.metrics import f1_score, precision_score, recall_score

random.seed(3)
for case in range(60):
    letters = "BIES" if case % 3 == 2 else "BI"
    tags = ["O"] + [f"{x}-{t}" for x in letters for t in ("LOC", "PER")]
    true = [[random.choice(tags) for _ in range(random.randint(1, 7))] for _ in range(random.randint(1, 3))]
    pred = [[t if random.random() < 0.7 else random.choice(tags) for t in s] for s in true]
    words = " | ".join(" ".join(f"{a}/{b}" for a, b in zip(x, y)) for x, y in zip(true, pred))
    print(*(f"{f(true, pred, zero_division=0):.9g}" for f in (precision_score, recall_score, f1_score)), words)
