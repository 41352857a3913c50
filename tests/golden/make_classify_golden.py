#!/usr/bin/env python3
"""Writes tests/golden/classify/NAME/: tiny models for sequence and token classification, made by transformers' own
classes, and what transformers and PEFT (task types SEQ_CLS, TOKEN_CLS) compute with them.

usage: make_classify_golden.py OUT_DIR [NAME ...]
Needs torch, transformers, peft, safetensors. Formula, tokenizer.json and the layout of tensors.txt are those of
make_families_golden.py; the adapter's tensors include the head.

  config.json          as transformers saves it (of the model without a head of its own)
  tensors.txt          the base's tensors, then the adapter's and the head's under PEFT's saved names
  golden.safetensors   ids, types, start     samples one behind the other; types: 1 in a second text (BERT)
                       labels                their classes; of tokens [tokens], -100: none
                       values                instead of labels, [samples, classes]: multi-label 0 or 1, regression
                       logits                [samples or labelled tokens, classes] with the adapter
                       loss                  transformers' loss of samples 0 to 2 with the adapter
                       grad.<tensor>         its gradient by every trained tensor
                       step_loss             of STEPS AdamW steps on three samples each; 20 where the name has a problem
  case.txt             the adapter's target modules
"""
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from make_families_golden import ADAMW, ALPHA, R, SMALL, STEPS, V, fill
from peft import LoraConfig, get_peft_model
from safetensors.numpy import load_file, save_file

CLASSES = 3
LENGTHS, SECOND = [11, 6, 14, 1, 9, 7], [5, 6, 8, 1, 9, 3]  # where the second text begins; the length: no second
LABELS = [2, 0, 1, 1, 0, 2]
BATCH = 3
BERT = dict(vocab_size=V, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=24, type_vocab_size=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
ROBERTA = dict(BERT, max_position_embeddings=26, type_vocab_size=1, pad_token_id=1)
DISTIL = dict(vocab_size=V, dim=32, hidden_dim=48, n_layers=2, n_heads=4, max_position_embeddings=24, dropout=0.0,
              attention_dropout=0.0, seq_classif_dropout=0.0)
MODERN = dict(vocab_size=V, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
              max_position_embeddings=24, local_attention=8, bos_token_id=2, eos_token_id=3, cls_token_id=2,
              sep_token_id=3)
# name: family, its arguments, LoRA targets, class of the body whose checkpoint is the base
CASES = {
    "bert": ("Bert", BERT, ["query", "value"], "BertModel"),
    "bert-all": ("Bert", dict(BERT, hidden_act="gelu_new", num_hidden_layers=1),
                 ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"],
                 "BertForSequenceClassification"),
    "llama": ("Llama", SMALL, ["q_proj", "v_proj"], "LlamaForCausalLM"),
    "modernbert": ("ModernBert", MODERN, ["Wqkv", "mlp.Wo"], "ModernBertForMaskedLM"),
    "roberta": ("Roberta", ROBERTA, ["query", "value"], "RobertaForMaskedLM"),
    "roberta-multi": ("Roberta", ROBERTA, ["query", "value"], "RobertaForSequenceClassification"),
    "roberta-tokens": ("Roberta", ROBERTA, ["query", "value"], "RobertaModel"),
    "distilbert": ("DistilBert", DISTIL, ["q_lin", "v_lin"], "DistilBertForSequenceClassification"),
    "distilbert-number": ("DistilBert", DISTIL, ["q_lin", "v_lin"], "DistilBertModel"),
    "distilbert-tokens": ("DistilBert", DISTIL, ["q_lin", "v_lin"], "DistilBertForTokenClassification"),
    "modernbert-tokens": ("ModernBert", MODERN, ["Wqkv", "mlp.Wo"], "ModernBertForMaskedLM"),
    "bert-multi": ("Bert", BERT, ["query", "value"], "BertModel"),
    "llama-multi": ("Llama", SMALL, ["q_proj", "v_proj"], "LlamaForCausalLM"),
    "bert-number": ("Bert", BERT, ["query", "value"], "BertModel"),
    "llama-numbers": ("Llama", SMALL, ["q_proj", "v_proj"], "LlamaForCausalLM"),
    "bert-tokens": ("Bert", BERT, ["query", "value"], "BertForTokenClassification"),
    "llama-tokens": ("Llama", SMALL, ["q_proj", "v_proj"], "LlamaForCausalLM"),
    "qwen2": ("Qwen2", dict(SMALL, tie_word_embeddings=True), ["q_proj", "v_proj", "down_proj"], "Qwen2ForCausalLM"),
}


def problem_of(name):
    """problem_type, "tokens", or None: one class of several, without a name."""
    return {"multi": "multi_label_classification", "number": "regression", "numbers": "regression",
            "tokens": "tokens"}.get(name.split("-")[-1])


def targets_of(problem, classes):
    """What each sample is trained to give: a class, a list of values, or a class or -100 for each token."""
    g = torch.Generator().manual_seed(11)
    if problem == "multi_label_classification":
        return [(torch.rand(classes, generator=g) > 0.5).float() for _ in LENGTHS]
    if problem == "regression":
        return [torch.randn(classes, generator=g) for _ in LENGTHS]
    if problem == "tokens":
        tags = [torch.randint(0, classes, (n,), generator=g) for n in LENGTHS]
        return [torch.where(torch.rand(len(t), generator=g) > 0.3, t, -100).index_fill(0, torch.tensor([0]), 1)
                for t in tags]
    return [torch.tensor(x) for x in LABELS]


def saved_modules(family, tokens):
    if family == "DistilBert" and not tokens:
        return ["classifier", "pre_classifier"]
    return ["classifier" if "ert" in family else "score"]


def inputs(samples, types, bert, pad):
    """Padded on the right, as the tutorials do."""
    longest = max(len(s) for s in samples)
    ids, mask, second = (torch.zeros(len(samples), longest, dtype=torch.long) for _ in range(3))
    ids += pad
    for i, (s, t) in enumerate(zip(samples, types)):
        ids[i, :len(s)], mask[i, :len(s)], second[i, :len(s)] = s, 1, t
    return dict(input_ids=ids, attention_mask=mask, **(dict(token_type_ids=second) if bert else {}))


def golden(name, out):
    family, arguments, targets, body = CASES[name]
    bert = family == "Bert"
    out.mkdir(parents=True, exist_ok=True)
    lines = []
    problem, classes = problem_of(name), 1 if name.endswith("-number") else CLASSES
    tokens = problem == "tokens"
    config = getattr(transformers, family + "Config")(**{"pad_token_id": 0, **arguments}, num_labels=classes)
    config._attn_implementation = "eager"
    with tempfile.TemporaryDirectory() as tmp:
        torch.manual_seed(0)
        getattr(transformers, body)(config).float().save_pretrained(tmp)
        weights = Path(tmp) / "model.safetensors"
        save_file(fill(load_file(weights), name, lines), weights, metadata={"format": "pt"})
        cls = getattr(transformers, family + ("ForTokenClassification" if tokens else "ForSequenceClassification"))
        model = cls.from_pretrained(tmp, num_labels=classes, dtype=torch.float32, attn_implementation="eager",
                                    problem_type=None if tokens else problem).eval()
        shutil.copy(Path(tmp) / "config.json", out / "config.json")
    g = torch.Generator().manual_seed(5)
    samples = [torch.randint(config.pad_token_id + 1, V, (n,), generator=g) for n in LENGTHS]
    types = [(torch.arange(n) >= s).long() * bert for n, s in zip(LENGTHS, SECOND)]
    targets_by_sample = targets_of(problem, classes)
    peft = get_peft_model(model, LoraConfig(r=R, lora_alpha=ALPHA, target_modules=targets,
                                            task_type="TOKEN_CLS" if tokens else "SEQ_CLS",
                                            modules_to_save=saved_modules(family, tokens)))
    trained = {n.replace(".modules_to_save.default", "").replace(".default", ""): p
               for n, p in peft.named_parameters() if p.requires_grad}
    values = fill({n: p.detach().numpy() for n, p in trained.items()}, name, lines)
    for n, p in trained.items():
        p.data.copy_(torch.from_numpy(values[n]))
    result = {"ids": torch.cat(samples).int(), "types": torch.cat(types).int(),
              "start": torch.tensor(np.cumsum([0] + LENGTHS)).int()}

    if problem in ("regression", "multi_label_classification"):
        result["values"] = torch.stack(targets_by_sample)
    else:
        result["labels"] = (torch.cat if tokens else torch.stack)(targets_by_sample).int()

    def run(which):
        x = inputs([samples[i] for i in which], [types[i] for i in which], bert, config.pad_token_id)
        y = [targets_by_sample[i] for i in which]
        y = torch.nn.utils.rnn.pad_sequence(y, True, -100) if tokens else torch.stack(y)
        return peft(**x, labels=y), y

    def backward(which):
        loss = run(which)[0].loss
        loss.backward()
        return loss.detach()

    with torch.no_grad():
        out_all, y = run(list(range(len(samples))))
        result["logits"] = out_all.logits[y >= 0] if tokens else out_all.logits
    result["loss"] = backward(list(range(BATCH))).reshape(1)
    for n, p in trained.items():
        result["grad." + n] = p.grad.clone()
        p.grad = None
    optimizer, losses = torch.optim.AdamW(trained.values(), **ADAMW), []
    for step in range(20 if problem else STEPS):
        losses.append(float(backward([(BATCH * step + i) % len(samples) for i in range(BATCH)])))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    result["step_loss"] = torch.tensor(losses)
    save_file({k: v.detach().numpy() for k, v in result.items()}, out / "golden.safetensors")
    (out / "tensors.txt").write_text("\n".join(lines) + "\n")
    (out / "case.txt").write_text(" ".join(targets) + "\n")
    print(name, "loss", float(result["loss"]), "steps", [round(x, 4) for x in losses], flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for case in sys.argv[2:] or CASES:
        golden(case, Path(sys.argv[1]) / case)
