#!/usr/bin/env python3
"""Writes tokenizer_named.json: folders in which tokens are named by tokenizer_config.json, special_tokens_map.json and
added_tokens.json, in random combinations, and the ids that transformers' AutoTokenizer gives a text there.

    python3 make_tokenizer_named_golden.py     # needs transformers (5.24.0, tokenizers 0.23.3)
"""
import json
import os
import random
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
from transformers import AutoTokenizer  # noqa: E402

CHARS = ["<unk>"] + [chr(c) for c in range(33, 127)] + ["\u0120", "\u010a"]
MODEL = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
         "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
         "vocab": {c: i for i, c in enumerate(CHARS)}, "merges": []}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
UNK = {"id": 0, "content": "<unk>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
       "special": True}
NAMES = ["<x>", "<y>", "<z>", "<unk>", "<W>", "\u00e9<q>", "<tj1>", "<tj2>"]
ROLES = ["bos_token", "eos_token", "pad_token", "mask_token", "image_token"]
CASES = 60
SPECIFIC = 12  # further cases, with model_specific_special_tokens


def token(r, content):
    return {"content": content, "lstrip": r.random() < .2, "normalized": r.random() < .3, "rstrip": r.random() < .2,
            "single_word": r.random() < .2, "special": r.random() < .6}


def value(r, typed):
    name = r.choice(NAMES)
    if r.random() >= .3:
        return name
    return dict(token(r, name), **({"__type": "AddedToken"} if typed else {}))


def make_files(r, specific):
    added = [UNK] + [dict(token(r, name), id=97 + i) for i, name in enumerate(["<tj1>", "<tj2>"][:r.randint(0, 2)])]
    tokenizer = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
                 "normalizer": {"type": "Lowercase"} if r.random() < .4 else None, "pre_tokenizer": BYTES,
                 "post_processor": None, "decoder": BYTES, "model": MODEL}
    config = {role: value(r, True) for role in ROLES if r.random() < .3}
    if r.random() < .4:
        config["extra_special_tokens"] = ([value(r, True) for _ in range(r.randint(0, 2))] if r.random() < .7 else
                                          {"a_token": r.choice(NAMES), "b": r.choice(NAMES)})
    if r.random() < .4:
        config["additional_special_tokens"] = [value(r, True) for _ in range(r.randint(0, 2))]
    if r.random() < .4:
        names = r.sample(NAMES, r.randint(0, 3))
        config["added_tokens_decoder"] = {str(i): token(r, c) for i, c in zip(r.sample(range(90, 130), 3), names)}
    if specific:
        config["model_specific_special_tokens"] = {name: r.choice(NAMES) for name in r.sample(["a_token", "c", "d"], 2)}
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    files = {"tokenizer.json": tokenizer, "tokenizer_config.json": config}
    if r.random() < .4:
        files["added_tokens.json"] = dict(zip(r.sample(NAMES, r.randint(1, 3)), r.sample(range(99, 130), 3)))
    if r.random() < .4:
        files["special_tokens_map.json"] = {role: value(r, False) for role in ROLES if r.random() < .4}
        if r.random() < .3:
            files["special_tokens_map.json"]["additional_special_tokens"] = [r.choice(NAMES)]
    return files


def main():
    cases = []
    for seed in range(CASES + SPECIFIC):
        r = random.Random(seed)
        files = make_files(r, seed >= CASES)
        text = "".join(r.choice(NAMES + [" ", "  ", "a", "A", "b"]) for _ in range(16))
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                with open(os.path.join(folder, name), "w") as f:
                    json.dump(content, f)
            ids = AutoTokenizer.from_pretrained(folder)(text, add_special_tokens=False)["input_ids"]
        del files["tokenizer.json"]["model"]
        cases.append({"files": {name: json.dumps(content) for name, content in files.items()}, "text": text, "ids": ids})
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizer_named.json"), "w") as f:
        f.write('{"model": ' + json.dumps(json.dumps(MODEL)) + ',\n "cases": [\n')
        f.write(",\n".join(json.dumps(case) for case in cases) + "\n]}\n")


if __name__ == "__main__":
    main()
