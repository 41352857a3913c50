#!/usr/bin/env python3
"""Classifiers of several labels, regression and token classification by hand: trains tiny ones with lorac and loads what
it wrote in PEFT.

usage: check_heads.py LORAC [DIR]
Needs torch, transformers, peft, tokenizers; with seqeval the entities are counted by it, too. For encoders and Llama: a random
model of transformers, a few optimizer steps of `lorac train`, then the adapter over transformers' class: its loss on the
data against that of `lorac eval`, the scores of transformers' pipelines against those of `lorac predict`.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    from seqeval.metrics import f1_score, precision_score, recall_score
except ImportError:
    f1_score = None
import torch
from check_classify import FAMILIES, WORDS, random_model, tokenizer
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, pipeline

TEXTS = [f"the {WORDS[4 + i % 4]} was {'very ' if i % 3 else ''}{WORDS[i % 2]}" for i in range(24)]
NAMES = {"multi": ["film", "good", "very"], "number": ["LABEL_0"]}


def labels_of(text):
    return [w for w in ("good", "very", "film") if w in text.split()]


def tags_of(words):
    return ["B-THING" if w in WORDS[4:8] else "I-THING" if w == "was" else "B-VERDICT" if w in WORDS[:4] else "O"
            for w in words]


def record(kind, text):
    if kind == "tokens":
        return {"tokens": text.split(), "ner_tags": tags_of(text.split())}
    return {"text": text, "labels": labels_of(text)} if kind == "multi" else {"text": text, "label": len(text) / 7 - 2.5}


def losses(kind, model, t, names):
    """transformers' mean loss over the data, and the predicted and true tags."""
    total, n, seen = 0.0, 0, []
    for text in TEXTS:
        words = text.split()
        x = t(words, is_split_into_words=True, return_tensors="pt", return_token_type_ids=False)
        if kind == "tokens":
            ids = x.word_ids(0)
            first = [i is not None and i not in ids[:k] for k, i in enumerate(ids)]
            y = torch.tensor([[names.index(tags_of(words)[i]) if f else -100 for f, i in zip(first, ids)]])
        elif kind == "multi":
            y = torch.tensor([[float(n in labels_of(text)) for n in names]])
        else:
            y = torch.tensor([len(text) / 7 - 2.5])
        with torch.no_grad():
            out = model(**x, labels=y)
        count = len(words) if kind == "tokens" else 1
        total, n = total + float(out.loss) * count, n + count
        if kind == "tokens":
            best = out.logits[0].argmax(-1)
            seen.append(([names[int(b)] for b, f in zip(best, first) if f], tags_of(words)))
    return total / n, seen


def same_scores(kind, pipe, line, text, names):
    want, worst = pipe(text), 0.0
    want = want[0] if want and isinstance(want[0], list) else want
    if kind == "tokens":
        got = line["entities"]
        assert len(got) == len(want), (got, want)
        for g, w in zip(got, want):
            assert (g["entity_group"], g["word"], g["start"], g["end"]) == (w["entity_group"], w["word"], w["start"],
                                                                            w["end"]), (g, w)
            worst = max(worst, abs(g["score"] - float(w["score"])))
    elif kind == "multi":
        got = {s["label"]: s["score"] for s in line["scores"]}
        worst = max(abs(got[names[int(w["label"].split("_")[1])]] - w["score"]) for w in want)
        assert [s["label"] for s in line["labels"]] == [s["label"] for s in line["scores"] if s["score"] > 0.5]
    else:
        worst = abs(line["value"] - want[0]["score"])
    return worst


def check_entities(result, seen):
    if not f1_score:
        return "without seqeval"
    got, true = [p for p, _ in seen], [t for _, t in seen]
    for key, score in (("eval_precision", precision_score), ("eval_recall", recall_score), ("eval_f1", f1_score)):
        assert abs(result[key] - score(true, got)) < 1e-12, (key, result[key], score(true, got))
    return f"precision {result['eval_precision']:.3f} recall {result['eval_recall']:.3f} F1 {result['eval_f1']:.3f}"


def check(lorac, family, kind, folder):
    base, out, data = folder / family, folder / f"{family}-{kind}", folder / f"{kind}.jsonl"
    t = tokenizer(family != "llama")
    if not base.exists():
        random_model(family).save_pretrained(base)
        t.save_pretrained(base)
    data.write_text("\n".join(json.dumps(record(kind, x)) for x in TEXTS) + "\n")
    run = lambda *a: subprocess.run([lorac, *map(str, a)], check=True, capture_output=True, text=True).stdout
    task = "token_classification" if kind == "tokens" else "classification"
    targets = json.dumps(FAMILIES[family][3])
    run("train", "--model_name_or_path", base, "--task", task, "--train_file", data, "--validation_file", data,
        "--output_dir", out, "--max_steps", 25, "--learning_rate", 5e-3, "--max_seq_length", 64,
        "--lora_target_modules", targets)
    result = json.loads(run("eval", out, "--json"))
    names = list(json.loads((out / "adapter" / "labels.json").read_text())["id2label"].values())
    assert names == list(result["id2label"].values())
    more = {} if kind == "tokens" else {"problem_type": "multi_label_classification" if kind == "multi" else "regression"}
    cls = AutoModelForTokenClassification if kind == "tokens" else AutoModelForSequenceClassification
    hf = cls.from_pretrained(base, num_labels=len(names), **more)
    if kind == "tokens":
        hf.config.id2label = dict(enumerate(names))
    model = PeftModel.from_pretrained(hf, out / "adapter").eval()
    loss, seen = losses(kind, model, t, names)
    entities = check_entities(result, seen) if kind == "tokens" else ""
    pipe = (pipeline("token-classification", model=model, tokenizer=t, aggregation_strategy="simple")
            if kind == "tokens" else pipeline("text-classification", model=model, tokenizer=t, top_k=None))
    lines = [json.loads(x) for x in run("predict", out, *(["--all"] if kind == "multi" else []), *TEXTS).splitlines()]
    worst = max(same_scores(kind, pipe, line, text, names) for line, text in zip(lines, TEXTS))
    print(f"{family} {kind}: loss {result['eval_loss']:.6f} (PEFT {loss:.6f}), scores differ by {worst:.2g} {entities}")
    assert abs(result["eval_loss"] - loss) < 1e-4 * loss and worst < 1e-5


if __name__ == "__main__":
    torch.manual_seed(1)
    with tempfile.TemporaryDirectory() as tmp:
        where = Path(sys.argv[2] if len(sys.argv) > 2 else tmp)
        where.mkdir(parents=True, exist_ok=True)
        for name in FAMILIES:
            for problem in ("multi", "number", "tokens"):
                check(sys.argv[1], name, problem, where)
