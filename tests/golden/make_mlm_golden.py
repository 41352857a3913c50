#!/usr/bin/env python3
"""Writes tests/golden/mlm/: tiny models for masked language modelling, made by transformers' own classes, and what
transformers and PEFT compute with them.

usage: make_mlm_golden.py OUT_DIR [NAME ...]
Needs torch, transformers, peft, tokenizers, safetensors. Formula and the layout of tensors.txt are those of
make_families_golden.py.

  tokenizer.json       BERT's WordPiece over 64 tokens
  texts.jsonl          eight texts; texts of the runs below
  NAME/config.json     as transformers saves it
  NAME/tensors.txt     the checkpoint's tensors, then the adapter's under PEFT's saved names
  NAME/golden.safetensors
                       ids, start            samples one behind the other, already masked
                       position, target      hidden places in all of them, and the tokens there
                       logits, logits_adapter    of sample 0, without and with the adapter
                       mean, cls             vectors of the samples with the adapter: of the states of all tokens, of the first
                       loss                  mean loss of samples 0 and 1 with the adapter
                       grad.<tensor>         its gradient by every trained matrix
                       step_loss             of STEPS AdamW steps, each on two samples
  NAME/case.txt        the adapter's target modules
  RUN.txt              the words of lorac's run, then the loss of each of RUN_STEPS steps on two of the texts, whose masks
                       are drawn here as data/dataset/mlm.h says
"""
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from make_families_golden import ADAMW, ALPHA, R, STEPS, V, fill
from peft import LoraConfig, get_peft_model
from safetensors.numpy import load_file, save_file

LENGTHS = [14, 9, 17, 6]
RUN_STEPS, BATCH, RATE, SEED = 20, 2, 5e-3, 42
BERT = dict(vocab_size=V, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=24, type_vocab_size=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            pad_token_id=0)
MODERN = dict(vocab_size=V, hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
              max_position_embeddings=24, pad_token_id=0, bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3)
# name: family, its arguments, LoRA targets
CASES = {
    "bert": ("Bert", BERT, ["query", "value"]),
    "bert-untied": ("Bert", dict(BERT, tie_word_embeddings=False, hidden_act="gelu_new", num_hidden_layers=1),
                    ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]),
    "roberta": ("Roberta", dict(BERT, max_position_embeddings=26, pad_token_id=1, type_vocab_size=1, hidden_act="relu"),
                ["query", "value", "output.dense", "attention.output.dense"]),
    "xlm-roberta": ("XLMRoberta", dict(BERT, max_position_embeddings=26, pad_token_id=1, num_hidden_layers=1),
                    ["query", "value"]),
    "distilbert": ("DistilBert", dict(vocab_size=V, dim=32, hidden_dim=48, n_layers=2, n_heads=4, dropout=0.0,
                                      attention_dropout=0.0, max_position_embeddings=24, pad_token_id=0),
                   ["q_lin", "v_lin", "out_lin", "lin1", "lin2"]),
    "modernbert": ("ModernBert", dict(MODERN, local_attention=8), ["Wqkv", "Wo", "Wi"]),
    "modernbert-bias": ("ModernBert", dict(MODERN, local_attention=5, attention_bias=True, mlp_bias=True, norm_bias=True,
                                           classifier_bias=True, decoder_bias=False, num_hidden_layers=3),
                        ["attn.Wo", "mlp.Wo"]),
}
# name: lorac's words, probability, shares of mask token and random token, whole words
RUNS = {"tokens": ("", 0.15, 0.8, 0.1, False),
        "many": ("--mlm_probability 0.5 --mask_replace_prob 0.4 --random_replace_prob 0.5", 0.5, 0.4, 0.5, False),
        "words": ("--whole_word_mask true --mlm_probability 0.3", 0.3, 1.0, 0.0, True)}
TEXTS = ["the cat sat on the mat", "a dog, a cat: both ran", "no one saw the red hat", "it is so", "The dog ate my hat!",
         "cats and dogs", "we ran and ran to the sea", "q"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "cat", "dog", "ran", "##s", "##n", "##t", "##e", "##o", "##d"]
PUNCTUATION = ["!", ",", ":"]


def write_tokenizer(path):
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    letters = [chr(97 + i) for i in range(26)]
    tokens = SPECIAL + PUNCTUATION + letters + WORDS + ["##" + c for c in letters if "##" + c not in WORDS]
    tokens = tokens[:V]
    assert len(tokens) == V == len(set(tokens))
    t = Tokenizer(models.WordPiece({w: i for i, w in enumerate(tokens)}, unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    t.add_special_tokens(SPECIAL)
    t.save(str(path))
    return t


def make_model(name, out):
    """The base, and under PEFT with its adapter."""
    family, arguments, targets = CASES[name]
    lines = []
    config = getattr(transformers, family + "Config")(**arguments)
    config._attn_implementation = "eager"
    cls = getattr(transformers, family + "ForMaskedLM")
    with tempfile.TemporaryDirectory() as tmp:
        torch.manual_seed(0)
        cls(config).float().save_pretrained(tmp)
        weights = Path(tmp) / "model.safetensors"
        save_file(fill(load_file(weights), name, lines), weights, metadata={"format": "pt"})
        model = cls.from_pretrained(tmp, dtype=torch.float32, attn_implementation="eager").eval()
        if out:
            shutil.copy(Path(tmp) / "config.json", out / "config.json")
    peft = get_peft_model(model, LoraConfig(r=R, lora_alpha=ALPHA, target_modules=targets))
    trained = {n.replace(".default", ""): p for n, p in peft.named_parameters() if p.requires_grad}
    values = fill({n: p.detach().numpy() for n, p in trained.items()}, name, lines)
    for n, p in trained.items():
        p.data.copy_(torch.from_numpy(values[n]))
    if out:
        (out / "tensors.txt").write_text("\n".join(lines) + "\n")
        (out / "case.txt").write_text(" ".join(targets) + "\n")
    return peft, trained


def padded(samples, labels, pad=0):
    """Padded on the right, as the collator does."""
    longest = max(len(s) for s in samples)
    ids, mask = (torch.full((len(samples), longest), n) for n in (pad, 0))
    target = torch.full((len(samples), longest), -100)
    for i, (s, l) in enumerate(zip(samples, labels)):
        ids[i, :len(s)], mask[i, :len(s)], target[i, :len(s)] = torch.tensor(s), 1, torch.tensor(l)
    return dict(input_ids=ids, attention_mask=mask, labels=target)


def golden(name, out):
    out.mkdir(parents=True, exist_ok=True)
    peft, trained = make_model(name, out)
    g = torch.Generator().manual_seed(7)
    samples = [torch.randint(2, V, (n,), generator=g).tolist() for n in LENGTHS]  # 0 or 1 pads
    hidden = [sorted(torch.randperm(n, generator=g)[:max(2, n // 3)].tolist()) for n in LENGTHS]
    labels = [[t if i in h else -100 for i, t in enumerate(s)] for s, h in zip(samples, hidden)]
    masked = [[4 if i in h and i % 4 else t for i, t in enumerate(s)] for s, h in zip(samples, hidden)]
    starts = np.cumsum([0] + LENGTHS)
    result = {"ids": torch.tensor(sum(masked, [])).int(), "start": torch.tensor(starts).int(),
              "position": torch.tensor([int(b) + i for b, h in zip(starts, hidden) for i in h]).int(),
              "target": torch.tensor([s[i] for s, h in zip(samples, hidden) for i in h]).int()}

    def backward(which):
        loss = peft(**padded([masked[i] for i in which], [labels[i] for i in which], peft.config.pad_token_id)).loss
        loss.backward()
        return loss.detach()

    with torch.no_grad():
        ids = torch.tensor([masked[0]])
        result["logits_adapter"] = peft(input_ids=ids).logits[0]
        with peft.disable_adapter():
            result["logits"] = peft(input_ids=ids).logits[0]
        body = peft.get_base_model().base_model  # as sentence-transformers pools it, without padding
        states = [body(input_ids=torch.tensor([s])).last_hidden_state[0] for s in masked]
        result["mean"], result["cls"] = torch.stack([s.mean(0) for s in states]), torch.stack([s[0] for s in states])
    result["loss"] = backward([0, 1]).reshape(1)
    for n, p in trained.items():
        result["grad." + n] = p.grad.clone()
        p.grad = None
    optimizer, losses = torch.optim.AdamW(trained.values(), **ADAMW), []
    for step in range(STEPS):
        losses.append(float(backward([2 * step % 4, (2 * step + 1) % 4])))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    result["step_loss"] = torch.tensor(losses)
    save_file({k: v.detach().numpy() for k, v in result.items()}, out / "golden.safetensors")
    print(name, "loss", float(result["loss"]), "steps", [round(x, 4) for x in losses], flush=True)


# ---- masks ----

def philox(seed, stream, module, row, token, group):
    index = row << 40 | token << 16 | group
    c = [index & 0xFFFFFFFF, index >> 32, stream, module]
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [p1 >> 32 ^ c[1] ^ k0, p1 & 0xFFFFFFFF, p0 >> 32 ^ c[3] ^ k1, p0 & 0xFFFFFFFF]
        k0, k1 = k0 + 0x9E3779B9 & 0xFFFFFFFF, k1 + 0xBB67AE85 & 0xFFFFFFFF
    return c


def fnv32(text):
    h = 0x811C9DC5
    for c in text.encode():
        h = (h ^ c) * 0x01000193 % 2**32
    return h


def unit(word):
    return (word >> 8) / 2**24


def mask(encoding, sample, epoch, probability, replaced, random, words):
    ids, special = encoding.ids, [i < len(SPECIAL) for i in encoding.ids]
    draws = [philox(SEED, epoch, fnv32("masks"), sample & 0xFFFFFF, i, sample >> 24) for i in range(len(ids))]
    begins = [not special[i] and (not words or special[i - 1] or encoding.offsets[i][0] != encoding.offsets[i - 1][1])
              for i in range(len(ids))]
    word = np.cumsum(begins)
    chosen = {word[i] for i in range(len(ids)) if begins[i] and np.float32(unit(draws[i][0])) < np.float32(probability)}
    if not chosen:
        chosen = {word[min((i for i in range(len(ids)) if begins[i]), key=lambda i: (draws[i][0], i))]}
    out, labels = list(ids), [-100] * len(ids)
    for i in range(len(ids)):
        if special[i] or word[i] not in chosen:
            continue
        labels[i] = ids[i]
        u = np.float32(unit(draws[i][1]))
        if words or u < np.float32(replaced):
            out[i] = 4
        elif u < np.float32(replaced) + np.float32(random):
            out[i] = draws[i][2] * V >> 32
    return out, labels


def run(name, out, tokenizer):
    words, *rule = RUNS[name]
    peft, trained = make_model("bert", None)
    encoded = [tokenizer.encode(t) for t in TEXTS]
    optimizer, losses = torch.optim.AdamW(trained.values(), lr=RATE, weight_decay=0.0), []
    for step in range(RUN_STEPS):
        first = step * BATCH
        pairs = [mask(encoded[i % len(TEXTS)], i % len(TEXTS), first // len(TEXTS), *rule)
                 for i in range(first, first + BATCH)]
        loss = peft(**padded([p[0] for p in pairs], [p[1] for p in pairs])).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
        losses.append(loss.item())
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    (out / f"{name}.txt").write_text("\n".join([words] + [f"{x:.9g}" for x in losses]) + "\n")
    print(name, [round(x, 4) for x in losses])


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = write_tokenizer(folder / "tokenizer.json")
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS))
    for case in sys.argv[2:] or [*CASES, *RUNS]:
        if case in CASES:
            golden(case, folder / case)
        else:
            run(case, folder, tokenizer)
