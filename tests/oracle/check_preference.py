#!/usr/bin/env python3
"""usage: check_preference.py LORAC HF_DIR PAIRS.jsonl [LOSS ...]: 20 steps of lorac's preference training against TRL's.

Losses: the keys of KINDS (default: all). Same pairs of messages in the same order, same initial adapter (made by PEFT, B
not zero), which is the reference too, four pairs a step, no packing, constant learning rate, clipping at 1.
dpo-base: B is zero, and the reference is the base.
Prints for each loss the largest relative difference of a step's loss and the largest difference of a reward, relative to
the largest reward; exit 1 above 1e-4.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer
from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

STEPS, PAIRS, RATE = 20, 4, 2e-4
KINDS = {  # lorac's words; TRL's trainer, config and settings
    "dpo": ([], DPOTrainer, DPOConfig, {}),
    "ipo": (["--preference_loss", "ipo"], DPOTrainer, DPOConfig, {"loss_type": ["ipo"]}),
    "dpo-nll": (["--rpo_alpha", "0.5"], DPOTrainer, DPOConfig,
                {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]}),
    "dpo-base": (["--reference", "base"], DPOTrainer, DPOConfig, {}),
    "orpo": (["--preference_loss", "orpo"], ORPOTrainer, ORPOConfig, {}),
    "simpo": (["--preference_loss", "simpo", "--beta", "2", "--simpo_gamma", "1"], CPOTrainer, CPOConfig,
              {"loss_type": "simpo", "beta": 2.0, "simpo_gamma": 1.0, "cpo_alpha": 0.0}),
    "simpo-smoothed": (["--preference_loss", "simpo", "--label_smoothing", "0.1"], CPOTrainer, CPOConfig,
                       {"loss_type": "simpo", "label_smoothing": 0.1, "cpo_alpha": 0.0}),
}
lorac, hf, data = sys.argv[1:4]
work = pathlib.Path(tempfile.mkdtemp(prefix="lorac-check-"))
lines = open(data, encoding="utf-8").read().splitlines()[:STEPS * PAIRS]
assert len(lines) == STEPS * PAIRS
tokenizer = AutoTokenizer.from_pretrained(hf)
tokenizer.pad_token = tokenizer.eos_token
tokenizer.bos_token = None  # ORPOTrainer and CPOTrainer put it before every prompt


def as_text(pair):
    """Rendered: of messages ORPOTrainer and CPOTrainer learn a second end-of-turn token behind the template's newline."""
    prompt = tokenizer.apply_chat_template(pair["prompt"], tokenize=False, add_generation_prompt=True)
    answer = {k: pair[k][0]["content"] + tokenizer.eos_token for k in ("chosen", "rejected")}
    return {"prompt": prompt, **answer}


messages = [json.loads(line) for line in lines]
texts = [as_text(pair) for pair in messages]
for name, rows in ("messages", messages), ("texts", texts):
    (work / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))


def base():
    return AutoModelForCausalLM.from_pretrained(hf, dtype=torch.float32)


def make_start(name, scale):
    torch.manual_seed(0)
    settings = LoraConfig(r=16, lora_alpha=32, task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"])
    model = get_peft_model(base(), settings)
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "lora_B" in key:
                p.normal_(0, scale)
    model.save_pretrained(work / name)


make_start("start", 0.02)
make_start("zero", 0.0)


def trl(rows, trainer, config, settings, start):
    model = PeftModel.from_pretrained(base(), work / start, is_trainable=True)
    common = dict(output_dir=str(work / "trl"), per_device_train_batch_size=PAIRS, max_steps=STEPS, learning_rate=RATE,
                  lr_scheduler_type="constant", logging_steps=1, report_to=[], save_strategy="no", use_cpu=True,
                  max_grad_norm=1.0, weight_decay=0.0, disable_tqdm=True, gradient_checkpointing=False, bf16=False,
                  max_length=512, train_sampling_strategy="sequential")
    t = trainer(model=model, args=config(**common, **settings), processing_class=tokenizer,
                train_dataset=Dataset.from_list(rows))
    for m in t.model.modules():
        if isinstance(m, torch.nn.Dropout):
            m.p = 0.0
    t.train()
    return [h for h in t.state.log_history if "rewards/chosen" in h]


def ours(name, file, words, start):
    subprocess.run([lorac, "train", "--model_name_or_path", hf, "--task", "preference", "--train_file",
                    work / file, "--output_dir", work / name, "--adapter_name_or_path", work / start,
                    "--shuffle", "false", "--packing", "false", "--per_device_train_batch_size", str(PAIRS),
                    "--gradient_accumulation_steps", "1", "--num_train_epochs", "1", "--learning_rate", str(RATE),
                    "--lr_scheduler_type", "constant", "--warmup_ratio", "0", "--report_to", "[]", *words],
                   check=True, stdout=subprocess.DEVNULL)
    log = [json.loads(line) for line in open(work / name / "train_log.jsonl")]
    return [s for s in log if "rewards/chosen" in s]


failed = False
for name in sys.argv[4:] or KINDS:
    words, trainer, config, settings = KINDS[name]
    start = "zero" if name == "dpo-base" else "start"
    rows, file = (messages, "messages.jsonl") if trainer is DPOTrainer else (texts, "texts.jsonl")
    want = trl(rows, trainer, config, settings, start)
    got = ours(name, file, words, start)
    assert len(got) == len(want) == STEPS
    # TRL logs four or six significant digits of some numbers: losses are compared to 1e-4 of the first one.
    loss = max(abs(g["loss"] - w["loss"]) / abs(want[0]["loss"]) for g, w in zip(got, want))
    keys = ("rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "logps/rejected")
    worst = {k: max(abs(g[k] - w[k]) for g, w in zip(got, want)) / max(abs(w[k]) for w in want) for k in keys}
    same = all(abs(g["rewards/accuracies"] - w["rewards/accuracies"]) < 1e-6 for g, w in zip(got, want))
    print(f"{name}: losses {want[0]['loss']:.4f} to {want[-1]['loss']:.4f} differ by at most {loss:.1e}, rewards and log "
          f"probabilities by {max(worst.values()):.1e}; accuracies {'agree' if same else 'DIFFER'}")
    failed |= loss > 1e-4 or max(worst.values()) > 1e-4 or not same
sys.exit(failed)
