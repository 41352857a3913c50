#!/usr/bin/env python3
"""Writes tests/golden/preference/: what TRL computes in preference training of the tiny model of golden/families/llama3.

usage: make_preference_golden.py OUT_DIR [KIND ...]
Needs torch, transformers, peft, trl, datasets. The model and the adapter that the run starts from, which is its reference
too, are those of ../families/llama3 (make_families_golden.py).

  pairs.jsonl   eight pairs of texts
  labels.jsonl  24 texts with labels, for kto: steps of 16 and 8, as TRL exchanges completions within a batch and lorac
                within 16 records
  KIND.txt      the words of lorac's run, then for each of STEPS steps of two pairs, in their order: loss, mean rewards of
                the chosen and of the rejected completions
"""
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
import torch
from datasets import Dataset
from make_families_golden import ALPHA, R, formula
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

STEPS, PAIRS, RATE = 20, 2, 5e-3
TEXTS = [("ASK:NAME>", "ADA", "I"), ("ASK:TOWN>", "OSLO", "TOWN"), ("ASK:2+2>", "4", "FIVE"), ("ASK:DAY>", "MAY,1", "!"),
         ("SAY>", "HI", "NO,NEVER"), ("ASK:SUM>", "1+2=3", "3"), ("SAY:MORE>", "MORE", "LESS"), ("ASK:AGE>", "42", "OLD")]
KINDS = {
    "dpo": ("", DPOTrainer, DPOConfig, {}),
    "ipo": ("--preference_loss ipo --beta 0.5", DPOTrainer, DPOConfig, {"loss_type": ["ipo"], "beta": 0.5}),
    "dpo-nll": ("--beta 0.3 --rpo_alpha 0.5", DPOTrainer, DPOConfig,
                {"beta": 0.3, "loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]}),
    "orpo": ("--preference_loss orpo", ORPOTrainer, ORPOConfig, {}),
    "simpo": ("--preference_loss simpo --beta 2 --label_smoothing 0.1", CPOTrainer, CPOConfig,
              {"loss_type": "simpo", "beta": 2.0, "label_smoothing": 0.1, "cpo_alpha": 0.0}),
    "kto": ("--preference_loss kto --beta 0.5 --desirable_weight 1.5 --per_device_train_batch_size 16", KTOTrainer,
            KTOConfig, {"beta": 0.5, "desirable_weight": 1.5, "per_device_train_batch_size": 16}),
    "simpo-nll": ("--preference_loss simpo --simpo_gamma 0.2 --rpo_alpha 1", CPOTrainer, CPOConfig,
                  {"loss_type": "simpo", "simpo_gamma": 0.2, "cpo_alpha": 1.0}),
}
PAIRED = [dict(zip(("prompt", "chosen", "rejected"), t)) for t in TEXTS]
LABELLED = [dict(prompt=p, completion=t, label=label) for i, (p, c, r) in enumerate(TEXTS)
            for t, label in ((c, True), (r, i % 2 == 0), (r + c, i % 4 > 0))]
families = Path(__file__).parent / "families"


def model_and_adapter():
    config = AutoConfig.from_pretrained(families / "llama3")
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config).float()
    peft = get_peft_model(model, LoraConfig(r=R, lora_alpha=ALPHA, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    values = {}
    for line in open(families / "llama3" / "tensors.txt"):
        name, base, amplitude, *shape = line.split()
        shape = [int(d) for d in shape]
        n = int(torch.tensor(shape).prod())
        values[name] = torch.from_numpy(float(base) + float(amplitude) * formula(name, n)).float().reshape(shape)
    with torch.no_grad():
        for name, p in peft.named_parameters():
            short = name.replace(".base_layer", "").replace(".default", "")
            p.copy_(values[short if "lora_" in short else short.removeprefix("base_model.model.")])
    return peft


def tokenizer():
    return PreTrainedTokenizerFast(tokenizer_file=str(families / "tokenizer.json"), eos_token="</s>", pad_token="</s>")


def run(out, kind):
    words, trainer, config, settings = KINDS[kind]
    seen = []

    class Recorded(trainer):
        def compute_loss(self, *arguments, **named):
            loss = super().compute_loss(*arguments, **named)
            metrics = getattr(self, "_stored_metrics", None) or self._metrics
            seen.append([loss.item()] + [metrics["train"][f"rewards/{k}"][-1] for k in ("chosen", "rejected")])
            return loss

    with tempfile.TemporaryDirectory() as tmp:
        settings = {"per_device_train_batch_size": PAIRS, **settings}
        arguments = config(output_dir=tmp, max_steps=STEPS, learning_rate=RATE, lr_scheduler_type="constant",
                           report_to=[], save_strategy="no", use_cpu=True, weight_decay=0.0, disable_tqdm=True,
                           gradient_checkpointing=False, bf16=False, max_length=60,
                           train_sampling_strategy="sequential", **settings)
        data = Dataset.from_list(LABELLED if kind == "kto" else PAIRED)
        Recorded(model=model_and_adapter(), args=arguments, processing_class=tokenizer(), train_dataset=data).train()
    assert len(seen) == STEPS
    lines = [words] + [" ".join(f"{float(x):.9g}" for x in step) for step in seen]
    (out / f"{kind}.txt").write_text("\n".join(lines) + "\n")


out = Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
for name, rows in ("pairs", PAIRED), ("labels", LABELLED):
    (out / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
for kind in sys.argv[2:] or KINDS:
    run(out, kind)
