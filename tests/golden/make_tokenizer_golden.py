#!/usr/bin/env python3
"""Writes tests/golden/tokenizer/*: what Hugging Face `tokenizers` (written with 0.23.3) makes of a corpus.

usage: make_tokenizer_golden.py SMOLLM2_TOKENIZER_JSON
SMOLLM2_TOKENIZER_JSON: SmolLM2-135M-Instruct's tokenizer.json, with its own pre-tokenizer (digits one by one, then
ByteLevel). The other four tokenizers are trained here, small, one for each pre-tokenizer.

  corpus.txt      one text a line; backslash, LF, CR and NUL are written \\\\ \\n \\r \\0
  NAME.vocab      pre-tokenizer, then "type token" lines, then the merges
  hashes.txt      per corpus line: 24 bits of a hash of the ids, 6 hex digits each for smollm2 and the four NAMEs
  ids.txt         "line name: ids" in full for the first lines
  characters.txt  hashes of the ids of every character of Unicode in context, per 1024 characters: see character_text
  decode.txt      "ids | hash": random ids of gpt-2.vocab, hash of the text's code points (broken characters are U+FFFD,
                  control tokens left out)
  splits.txt      hashes of the pre-tokens' ends for the same texts, NAMEs only
"""
import json
import os
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tokenizer_corpus import Lcg, character_text, corpus, fnv

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizer")
FULL_LINES = 60
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
USER_DEFINED = ["<think>", "</think>", "@@", "@@@@"]
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def split_then_bytes(numbers):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLIT % numbers), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


PRE = {
    "gpt-2": pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                       pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]),
    "llama-bpe": split_then_bytes(r"\p{N}{1,3}"),
    "qwen2": split_then_bytes(r"\p{N}"),
}


def train(name, lines):
    """A BPE vocabulary of 2000 tokens; llama-bpe also gets words that no merge makes (taken whole: ignore_merges)."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = PRE[name]
    t.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=2000, show_progress=False,
                                                     initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    model = json.loads(t.to_str())["model"]
    vocab, merges = model["vocab"], [tuple(m) for m in model["merges"]]
    whole = name == "llama-bpe"
    for word in ["Ġpneumonoultramicroscopicsilicovolcanoconiosis", "Ġantidisestablishmentarianism", "123"] if whole else []:
        vocab.setdefault(word, len(vocab))
    t = Tokenizer(models.BPE(vocab, merges, ignore_merges=whole))
    t.pre_tokenizer, t.decoder = PRE[name], decoders.ByteLevel()
    if name == "qwen2":
        t.normalizer = normalizers.NFC()
    t.add_special_tokens([AddedToken(x, normalized=False, special=True) for x in CONTROL])
    t.add_tokens([AddedToken(x, normalized=False, special=False) for x in USER_DEFINED])
    return t, merges


def write_vocab(name, t, merges):
    tokens = sorted(t.get_vocab().items(), key=lambda item: item[1])
    with open(f"{OUT}/{name}.vocab", "w", encoding="utf-8", newline="\n") as f:
        f.write(f"pre {name}\ntokens {len(tokens)}\n")
        f.writelines(f"{3 if x in CONTROL else 4 if x in USER_DEFINED else 1} {x}\n" for x, _ in tokens)
        f.write(f"merges {len(merges)}\n")
        f.writelines(f"{a} {b}\n" for a, b in merges)


def decode_lines(t):
    """Ids of single bytes, of words and of control tokens by turns, so that many characters break."""
    rng = Lcg(7)
    size = t.get_vocab_size()
    for _ in range(400):
        ids = [rng.below(256 if rng.below(4) else size) for _ in range(1 + rng.below(16))]
        text = t.decode(ids, skip_special_tokens=True)
        yield " ".join(map(str, ids)) + " | " + fnv(map(ord, text))


def split_ends(pre, text):
    ends, prefix = [], [0]
    for c in text:
        prefix.append(prefix[-1] + len(c.encode()))
    for _, (_, end) in pre.pre_tokenize_str(text):
        ends.append(prefix[end])
    return ends


def escape(s):
    return s.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\0", "\\0")


def write_lines(name, lines):
    with open(f"{OUT}/{name}", "w", encoding="utf-8", newline="\n") as f:
        f.writelines(line + "\n" for line in lines)


def main():
    lines = corpus()
    tokenizers = {"smollm2": Tokenizer.from_file(sys.argv[1])}
    for name in PRE:
        tokenizers[name], merges = train(name, lines)
        write_vocab(name, tokenizers[name], merges)
    ids = {name: [t.encode(line, add_special_tokens=False).ids for line in lines] for name, t in tokenizers.items()}
    blocks = [character_text(b) for b in range(0x110000 // 1024)]
    write_lines("decode.txt", decode_lines(tokenizers["gpt-2"]))
    write_lines("corpus.txt", map(escape, lines))
    write_lines("hashes.txt", (" ".join(fnv(ids[n][i]) for n in tokenizers) for i in range(len(lines))))
    write_lines("ids.txt", (f"{i} {n}: " + " ".join(map(str, ids[n][i])) for n in tokenizers for i in range(FULL_LINES)))
    write_lines("characters.txt", (" ".join(fnv(t.encode(b, add_special_tokens=False).ids) for t in tokenizers.values())
                                   for b in blocks))
    write_lines("splits.txt", (" ".join(fnv(split_ends(PRE[n], b)) for n in PRE) for b in blocks))


main()
