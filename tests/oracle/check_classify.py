#!/usr/bin/env python3
"""Classifiers by hand: trains tiny ones with lorac and loads what it wrote in PEFT.

usage: check_classify.py LORAC [DIR]
Needs torch, transformers, peft, tokenizers. For encoders (WordPiece; BERT with pairs of texts) and Llama: a random model of
transformers, a few optimizer steps of `lorac train --task classification`, then the adapter over
AutoModelForSequenceClassification: its logits against those of `lorac logits`, its accuracy against that of `lorac eval`.
"""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
import transformers
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

WORDS = "good bad fine poor film song book play the a was very not and it is".split()
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + WORDS + ["##" + c for c in "dsy"]
SIZES = dict(vocab_size=len(VOCAB), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
             max_position_embeddings=64)
# class of the configuration, class of the base's model, its arguments, LoRA targets
FAMILIES = {
    "bert": ("BertConfig", "BertModel", SIZES, ["query", "value"]),
    "roberta": ("RobertaConfig", "RobertaModel", dict(SIZES, max_position_embeddings=66, pad_token_id=0),
                ["query", "value"]),
    "distilbert": ("DistilBertConfig", "DistilBertModel",
                   dict(vocab_size=len(VOCAB), dim=32, hidden_dim=48, n_layers=2, n_heads=4,
                        max_position_embeddings=64), ["q_lin", "v_lin"]),
    "modernbert": ("ModernBertConfig", "ModernBertForMaskedLM",
                   dict(SIZES, pad_token_id=0, bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3),
                   ["Wqkv"]),
    "llama": ("LlamaConfig", "LlamaForCausalLM", dict(SIZES, num_key_value_heads=2, pad_token_id=0),
              ["q_proj", "v_proj"]),
}


def random_model(name):
    config, cls, arguments, _ = FAMILIES[name]
    return getattr(transformers, cls)(getattr(transformers, config)(**arguments))


def tokenizer(bert):
    t = Tokenizer(models.WordPiece({w: i for i, w in enumerate(VOCAB)}, unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer()
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if bert:
        t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                                         special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return PreTrainedTokenizerFast(tokenizer_object=t, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]",
                                   sep_token="[SEP]", mask_token="[MASK]", eos_token="[SEP]", bos_token="[CLS]")


def record(i, pair):
    text = f"the {WORDS[4 + i % 4]} was {'very ' if i % 3 else ''}{WORDS[i % 2]}"
    second = f"it is {'not ' if i % 5 == 0 else ''}{WORDS[2 + i % 2]}"
    label = ["negative", "positive", "neutral"][(i % 2 == 0) + (i % 5 == 0)]
    return {"sentence1": text, "sentence2": second, "label": label} if pair else {"text": text, "label": label}


def check(lorac, name, folder):
    bert = name == "bert"
    base, out = folder / name, folder / (name + "-run")
    random_model(name).save_pretrained(base)
    t = tokenizer(name != "llama")
    t.save_pretrained(base)
    records = [record(i, bert) for i in range(40)]
    data = folder / (name + ".jsonl")
    data.write_text("\n".join(map(json.dumps, records)) + "\n")
    run = lambda *a: subprocess.run([lorac, *map(str, a)], check=True, capture_output=True, text=True).stdout
    model_args = ["--model_name_or_path", base]
    targets = json.dumps(FAMILIES[name][3])
    run("train", *model_args, "--task", "classification", "--train_file", data, "--validation_file", data,
        "--output_dir", out, "--max_steps", 30, "--learning_rate", 5e-3, "--max_seq_length", 64,
        "--lora_target_modules", targets, "--eval_strategy", "steps", "--eval_steps", 10)
    result = json.loads(run("eval", *model_args, "--adapter_name_or_path", out / "adapter", "--validation_file", data,
                            "--json"))
    names = json.loads((out / "adapter" / "labels.json").read_text())["id2label"]
    assert result["id2label"] == names
    hf = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    peft = PeftModel.from_pretrained(hf, out / "adapter").eval()
    right, loss = 0, 0
    for r in records:
        x = (t(r["sentence1"], r["sentence2"], return_tensors="pt", return_token_type_ids=True) if bert else
             t(r["text"], return_tensors="pt", return_token_type_ids=False))
        with torch.no_grad():
            z = peft(**x).logits[0]
        label = [i for i in names if names[i] == r["label"]][0]
        right += int(z.argmax()) == int(label)
        loss += float(torch.nn.functional.cross_entropy(z[None], torch.tensor([int(label)]))) / len(records)
    ids = t("the film was very good")["input_ids"]
    file = folder / (name + ".safetensors")
    run("logits", *model_args, "--adapter_name_or_path", out / "adapter", "--input_ids", ",".join(map(str, ids)),
        "--out", file)
    with torch.no_grad():
        want = peft(input_ids=torch.tensor([ids])).logits
    error = float((load_file(file)["logits"] - want).norm() / want.norm())
    print(f"{name}: loss {result['eval_loss']:.6f} (PEFT {loss:.6f}), accuracy {result['eval_accuracy']} "
          f"(PEFT {right / len(records)}), logits differ by {error:.2g}")
    assert abs(result["eval_loss"] - loss) < 1e-4 * loss and result["eval_accuracy"] == right / len(records)
    assert error < 1e-4


if __name__ == "__main__":
    torch.manual_seed(1)
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(sys.argv[2] if len(sys.argv) > 2 else tmp)
        folder.mkdir(parents=True, exist_ok=True)
        for case in FAMILIES:
            check(sys.argv[1], case, folder)
