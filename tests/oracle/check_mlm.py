#!/usr/bin/env python3
"""usage: check_mlm.py LORAC TEXTS.txt [FAMILY ...]: masked language modelling of random small encoders with their own
tokenizers, trained by lorac; what PEFT computes with the adapter, and lorac with one that PEFT made.

For each family a tokenizer is trained on the text file, and a model of 256 dimensions made by transformers' ...ForMaskedLM.
lorac trains an adapter, whose logits on a masked text are compared with those of PeftModel.from_pretrained; an adapter that
PEFT saves is loaded by lorac, and its logits are compared, too. Exit 1 above 1e-4 of the largest logit.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

V, SIZE = 2000, dict(hidden_size=256, intermediate_size=512, num_hidden_layers=3, num_attention_heads=4)
FAMILIES = {  # class, its arguments, LoRA targets
    "bert": ("Bert", SIZE, ["query", "value", "output.dense"]),
    "roberta": ("Roberta", dict(SIZE, max_position_embeddings=130, type_vocab_size=1), ["query", "value"]),
    "modernbert": ("ModernBert", dict(SIZE, local_attention=16, max_position_embeddings=200, bos_token_id=2, eos_token_id=3,
                                      cls_token_id=2, sep_token_id=3), ["Wqkv", "mlp.Wo"]),
    "distilbert": ("DistilBert", dict(dim=256, hidden_dim=512, n_layers=3, n_heads=4), ["q_lin", "v_lin", "lin2"]),
}


def make_tokenizer(family, texts, folder):
    if family == "roberta":
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        t = Tokenizer(models.BPE())
        t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=V, special_tokens=special,
                                      initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
        t.train_from_iterator(texts, trainer)
        t.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
        names = dict(bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>", pad_token="<pad>",
                     unk_token="<unk>", mask_token="<mask>")
    else:
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        t.normalizer, t.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
        t.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=V, special_tokens=special))
        t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        names = dict(cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]")
    transformers.PreTrainedTokenizerFast(tokenizer_object=t, **names).save_pretrained(folder)
    return transformers.AutoTokenizer.from_pretrained(folder)


def ours(lorac, base, adapter, ids, out):
    subprocess.run([lorac, "logits", "--model", base, "-a", adapter, "--input_ids", ",".join(map(str, ids)), "--out", out],
                   check=True)
    return load_file(out)["logits"]


def check(lorac, path, family):
    cls, arguments, targets = FAMILIES[family]
    work = pathlib.Path(tempfile.mkdtemp(prefix="lorac-check-"))
    texts = [line for line in open(path, encoding="utf-8").read().splitlines() if line.strip()][:400]
    (work / "texts.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    base = work / "base"
    tokenizer = make_tokenizer(family, texts, base)
    torch.manual_seed(1)
    config = getattr(transformers, cls + "Config")(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id,
                                                   **arguments)
    getattr(transformers, cls + "ForMaskedLM")(config).save_pretrained(base)
    model = lambda: transformers.AutoModelForMaskedLM.from_pretrained(base, attn_implementation="eager").eval()
    subprocess.run([lorac, "train", "--task", "mlm", "--model_name_or_path", base, "--train_file", work / "texts.jsonl",
                    "--output_dir", work / "out", "--max_steps", "30", "--max_seq_length", "100", "--learning_rate", "5e-3",
                    "--lora_target_modules", json.dumps(targets), "--val_set_size", "0.1",
                    "--per_device_train_batch_size", "4"], check=True, stdout=subprocess.DEVNULL)
    log = [json.loads(line) for line in open(work / "out" / "train_log.jsonl")]
    ids = tokenizer(texts[0], truncation=True, max_length=40)["input_ids"]
    for i in range(2, len(ids) - 1, 4):
        ids[i] = tokenizer.mask_token_id
    with torch.no_grad():
        want = PeftModel.from_pretrained(model(), work / "out" / "adapter").eval()(torch.tensor([ids])).logits[0]
    got = ours(lorac, base, work / "out" / "adapter", ids, work / "a.safetensors")
    trained = ((got - want).abs().max() / want.abs().max()).item()
    theirs = get_peft_model(model(), LoraConfig(r=4, lora_alpha=8, target_modules=targets))
    with torch.no_grad():
        for name, p in theirs.named_parameters():
            if "lora_B" in name:
                p.normal_(0, 0.1)
        theirs.eval().save_pretrained(work / "peft")
        want = theirs(torch.tensor([ids])).logits[0]
    got = ours(lorac, base, work / "peft", ids, work / "b.safetensors")
    loaded = ((got - want).abs().max() / want.abs().max()).item()
    losses = [s["loss"] for s in log if "loss" in s]
    print(f"{family}: losses {losses[0]:.4f} to {losses[-1]:.4f}; logits of lorac's adapter in PEFT {trained:.1e}, of PEFT's "
          f"in lorac {loaded:.1e}")
    return trained < 1e-4 and loaded < 1e-4


if __name__ == "__main__":
    sys.exit(not all([check(sys.argv[1], sys.argv[2], family) for family in sys.argv[3:] or FAMILIES]))
