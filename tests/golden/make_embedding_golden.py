#!/usr/bin/env python3
"""Writes tests/golden/embedding/: what sentence-transformers computes in training of the tiny models of
golden/classify/bert and golden/families/llama3 to sentence embeddings.

usage: make_embedding_golden.py OUT_DIR [KIND ...]
Needs torch, transformers, peft, safetensors, sentence-transformers 6. The weights are those of the models' tensors.txt
(make_classify_golden.py, make_families_golden.py); so is the adapter that the run of llama3 starts from.

  triplets.jsonl, scored.jsonl    six records each, in steps of three
  bert-start/                     the adapter that the runs of bert start from, as PEFT saves it
  KIND.txt                        the model, the data, the words of lorac's run; the losses of STEPS steps; then, for each of the first four
                                  texts, the vector of the trained model
"""
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from make_families_golden import ALPHA, R, formula
from peft import LoraConfig, get_peft_model
from sentence_transformers import SentenceTransformer, losses, util
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

STEPS, BATCH, RATE = 20, 3, 5e-3
HERE = Path(__file__).parent
MODELS = {"bert": HERE / "classify/bert", "llama3": HERE / "families/llama3"}
TRIPLETS = [("ASK:NAME", "ADA", ["OSLO"]), ("TOWN", "ROME,OSLO", ["ADA,EVE", "4"]), ("2+2", "4", []), ("DAY", "MAY,1", ["!"]),
            ("HI", "HELLO", ["NO,NEVER"]), ("SUM:1+2", "3", ["MAY"])]
SCORED = [("ASK:NAME", "NAME:ASK", 0.9), ("TOWN", "ROME", 0.6), ("2+2", "FIVE", 0.1), ("DAY", "DAY:1", 0.9), ("HI", "ADA", 0),
          ("SUM:1+2", "3", 0.6)]
RANKED, PAIRS = "triplets", "scored"
ranking = losses.MultipleNegativesRankingLoss
# model, pooling, normalised, words of lorac, loss
KINDS = {
    "ranking": ("bert", "mean", False, RANKED, ranking),
    "dot": ("bert", "cls", False, RANKED + " --pooling cls --similarity_fct dot_score --scale 0.5",
            lambda m: ranking(m, scale=0.5, similarity_fct=util.dot_score)),
    "cosine": ("bert", "mean", False, PAIRS + " --embedding_loss cosine_similarity", losses.CosineSimilarityLoss),
    "cosent": ("bert", "mean", True, PAIRS + " --embedding_loss cosent --normalize_embeddings true --scale 10",
               lambda m: losses.CoSENTLoss(m, scale=10.0)),
    "matryoshka": ("bert", "mean", False, RANKED + " --matryoshka_dims 32,8 --matryoshka_weights 1,0.5",
                   lambda m: losses.MatryoshkaLoss(m, ranking(m), [32, 8], [1, 0.5])),
    "last": ("llama3", "lasttoken", False, RANKED, ranking),
    "decoder-mean": ("llama3", "mean", False, RANKED + " --pooling mean --scale 5", lambda m: ranking(m, scale=5.0)),
}


def adapter_of(name, base):
    """A PEFT model over the body, with the values of tensors.txt, or of the same formula where that has none."""
    targets = ["query", "value"] if name == "bert" else ["q_proj", "v_proj"]
    peft = get_peft_model(base, LoraConfig(r=R, lora_alpha=ALPHA, target_modules=targets, task_type="FEATURE_EXTRACTION"))
    values = {}
    for line in open(MODELS[name] / "tensors.txt"):
        tensor, start, amplitude, *shape = line.split()
        shape = [int(d) for d in shape]
        n = int(torch.tensor(shape).prod())
        values[tensor] = torch.from_numpy(float(start) + float(amplitude) * formula(tensor, n)).float().reshape(shape)
    with torch.no_grad():
        for tensor, p in peft.named_parameters():
            short = tensor.replace(".base_layer", "").replace(".default", "")
            body = short.removeprefix("base_model.model.")
            owner = ("bert." if name == "bert" else "model.") + body
            for known in (short, body, owner, "base_model.model." + owner):
                if known in values:
                    p.copy_(values[known])
                    break
            else:
                assert "pooler" in tensor, tensor
    return peft


def model_of(name, pooling, normalised, tmp, out):
    shutil.copy(MODELS[name] / "config.json", tmp)
    PreTrainedTokenizerFast(tokenizer_file=str(HERE / "families/tokenizer.json"), eos_token="</s>",
                            pad_token="</s>").save_pretrained(tmp)
    config = AutoConfig.from_pretrained(tmp)
    config._attn_implementation = "eager"
    peft = adapter_of(name, AutoModel.from_config(config).float())
    if name == "bert":
        peft.save_pretrained(out / "bert-start")
        (out / "bert-start/README.md").unlink(missing_ok=True)
        adapter = json.loads((out / "bert-start/adapter_config.json").read_text())
        kept = {k: v for k, v in adapter.items() if v not in (None, False, {}, []) or k == "bias"}
        (out / "bert-start/adapter_config.json").write_text(
            json.dumps(dict(kept, base_model_name_or_path="bert", target_modules=sorted(kept["target_modules"])), indent=1, sort_keys=True) + "\n")
    AutoModel.from_config(config).save_pretrained(tmp)
    first = Transformer(tmp, config_kwargs={"attn_implementation": "eager"})
    first.model = peft
    modules = [first, Pooling(config.hidden_size, pooling)] + [Normalize()] * normalised
    return SentenceTransformer(modules=modules, device="cpu")


def run(out, kind):
    name, pooling, normalised, words, make = KINDS[kind]
    scored = PAIRS in words
    with tempfile.TemporaryDirectory() as tmp:
        model = model_of(name, pooling, normalised, tmp, out)
        loss = make(model)
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0)
        model.train()
        seen = []
        for step in range(STEPS):
            batch = [(SCORED if scored else TRIPLETS)[(step * BATCH + i) % 6] for i in range(BATCH)]
            value = step_loss(model, loss, batch, scored)
            value.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            seen.append(value.item())
        model.eval()
        vectors = model.encode([r[0] for r in TRIPLETS[:4]])
    lines = [f"{name} {words}"] + [f"{x:.9g}" for x in seen]
    lines += [" ".join(f"{x:.9g}" for x in v) for v in vectors]
    (out / f"{kind}.txt").write_text("\n".join(lines) + "\n")
    print(kind, [round(x, 4) for x in seen[:4]], flush=True)


def step_loss(model, loss, batch, scored):
    """The loss of a batch, a dictionary of features for each column of texts. Each negative is a column of its own: records
    differ in how many they have, and the loss takes all columns after the second one behind the other."""
    texts = [[r[0] for r in batch], [r[1] for r in batch]]
    if not scored:
        texts += [[t] for r in batch for t in r[2]]
    features = [model.preprocess(column) for column in texts]
    labels = torch.tensor([r[2] for r in batch], dtype=torch.float) if scored else None
    return loss(features, labels)


if __name__ == "__main__":
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    ranked = [dict(anchor=a, positive=p, **({"negatives": n} if n else {})) for a, p, n in TRIPLETS]
    pairs = [dict(sentence1=a, sentence2=b, score=s) for a, b, s in SCORED]
    for file, rows in ("triplets", ranked), ("scored", pairs):
        (out / f"{file}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    for kind in sys.argv[2:] or KINDS:
        run(out, kind)
