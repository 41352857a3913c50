#!/usr/bin/env python3
"""Unigram by hand: trains a small SentencePiece model with a precompiled charsmap (nmt_nfkc), as XLM-RoBERTa's tokenizer
has it, and compares `lorac tokenize` with Hugging Face tokenizers on odd strings.

usage: check_unigram.py LORAC [STRINGS]
Needs sentencepiece and tokenizers. Strings are random mixes of words, marks, ligatures, widths, white space, emoji,
scripts and any characters; then each character of Unicode after one that the table maps.
"""
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "golden"))
import make_tokenizer_hf_golden as golden
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

PARTS = ["the", "and", " ", "  ", "\u2581", "\ufb01", "\u00b2", "\u00bd", "\u0301", "\u0308", "\u200d", "\u200b", "\u00ad", "\r\n", "\n", "\t",
         "\u3000", "\uff21", "\uff76", "\uff9e", "\u1100", "\u1161", "\u11a8", "\uac00", "\U0001f468", "\U0001f3fd", "\U0001f1e9", "e\u0301",
         "\u0915\u094d", "\u0e33", "\u2460", "\u32ff", "\U0001d54b", "1\u20442", "<s>", "</s>", "<unk>", "\u0600", "\u0897", "\u0130", "\x01", "\ufeff"]


def kinds(pieces, table):
    words = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    for name, normalizer, pre, fallback in (
            ("xlmr", normalizers.Precompiled(table), words, False),
            ("albert", normalizers.Sequence([normalizers.NFKD(), normalizers.Lowercase(), normalizers.Precompiled(table)]),
             pre_tokenizers.Metaspace(), True),
            ("first", normalizers.Sequence([normalizers.Precompiled(table), normalizers.Strip(False, True)]),
             pre_tokenizers.Metaspace("\u2581", "first", False), False)):
        t = Tokenizer(models.Unigram(pieces, 3, fallback))
        t.normalizer, t.pre_tokenizer, t.decoder = normalizer, pre, decoders.Metaspace()
        t.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
        yield name, t


def strings(n):
    r = random.Random(5)
    words = " ".join(golden.corpus()).split(" ")[:4000]
    for _ in range(n):
        yield "".join(r.choice(PARTS) if r.random() < 0.5 else r.choice(words) if r.random() < 0.6 else
                      chr(r.choice([r.randrange(32, 0x3000), r.randrange(0xe000, 0x1f000)])) for _ in range(r.randrange(1, 12)))
    for first in range(1, 0x110000, 4096):
        yield "".join("\u00b2" + chr(c) for c in range(first, min(first + 4096, 0x110000)) if not 0xd800 <= c < 0xe000)


def check(lorac, name, t, texts, folder):
    t.save(str(folder / "tokenizer.json"))
    differ = 0
    for text in texts:
        (folder / "text").write_bytes(text.encode())
        out = subprocess.run([lorac, "tokenize", "-m", folder, "--file", folder / "text"], capture_output=True, text=True)
        assert out.returncode == 0, out.stderr
        got, want = json.loads(out.stdout)["input_ids"], t.encode(text, add_special_tokens=False).ids
        if got != want:
            differ += 1
            i = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), 0)
            print(name, ascii(text[:40]), [t.id_to_token(x) for x in got[i:i + 4]], [t.id_to_token(x) for x in want[i:i + 4]])
    print(f"{name}: {differ} of {len(texts)} differ", flush=True)
    return differ


if __name__ == "__main__":
    pieces, table = golden.trained_unigram(list(golden.corpus()), rules=False)
    texts = list(strings(int(sys.argv[2]) if len(sys.argv) > 2 else 1000))
    with tempfile.TemporaryDirectory() as tmp:
        sys.exit(sum(check(sys.argv[1], n, t, texts, Path(tmp)) for n, t in kinds(pieces, table)) > 0)
