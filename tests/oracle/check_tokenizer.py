#!/usr/bin/env python3
"""Does lorac cut text as Hugging Face tokenizers and llama.cpp do? Run by hand, never by `make test`.

usage: check_tokenizer.py LORAC MODEL [--hf DIR] [--conversion] [--server] [--vectors]
MODEL: a GGUF file or a Hugging Face folder. Compared on tests/golden/tokenizer/corpus.txt (10,400 lines):
  --hf DIR      with the tokenizer.json of a Hugging Face folder
  --conversion  with what transformers makes of the GGUF file's vocabulary
  --server      with a llama.cpp server over MODEL (needs weights)
  --vectors     with llama.cpp's own conformance set beside MODEL: MODEL.inp, MODEL.out (not the corpus)
Every line that differs is printed up to ten; the exit status is 1 then.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request

os.environ.setdefault("HF_HUB_OFFLINE", "1")
HERE = os.path.dirname(os.path.abspath(__file__))

ap = argparse.ArgumentParser()
ap.add_argument("lorac")
ap.add_argument("model")
ap.add_argument("--hf")
for flag in ("conversion", "server", "vectors"):
    ap.add_argument("--" + flag, action="store_true")
a = ap.parse_args()


def corpus():
    with open(os.path.join(HERE, "../golden/tokenizer/corpus.txt"), encoding="utf-8", newline="\n") as f:
        for line in f.read().split("\n")[:-1]:
            yield re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r", "0": "\0"}.get(m[1], m[1]), line)


def lorac_ids(text):
    with tempfile.NamedTemporaryFile("wb") as f:
        f.write(text.encode())
        f.flush()
        out = subprocess.run([a.lorac, "tokenize", "--model_name_or_path", a.model, "--file", f.name], check=True,
                             stdout=subprocess.PIPE).stdout
    return json.loads(out)["input_ids"]


def lorac_lines(texts, separators=("<s>", "<bos>", "<|endoftext|>", "<|begin_of_text|>", "[SEP]")):
    """One run for all texts: between control tokens every text stands on its own."""
    separator = next(s for s in separators if len(lorac_ids(s)) == 1)
    mark = lorac_ids(separator)[0]
    texts = [t.replace(separator, "?").replace("\0", "?") for t in texts]  # NUL is refused in text files
    ids, rows = lorac_ids(separator.join(texts)), [[]]
    for i in ids:
        if i == mark:
            rows.append([])
        else:
            rows[-1].append(i)
    assert len(rows) == len(texts), (len(rows), len(texts))
    return texts, rows


def compare(name, texts, got, want):
    differ = [i for i, (g, w) in enumerate(zip(got, want)) if g != w]
    word = "FAIL" if differ else "ok  "
    print(f"{word} {os.path.basename(a.model)} against {name}: {len(differ)} of {len(texts)} differ")
    for i in differ[:10]:
        at = next((k for k, (g, w) in enumerate(zip(got[i], want[i])) if g != w), min(len(got[i]), len(want[i])))
        print("    ", ascii(texts[i])[:100], "at token", at, "got", got[i][at:at + 6], "want", want[i][at:at + 6])
    return bool(differ)


def vectors():
    with open(a.model + ".inp", encoding="utf-8", newline="") as f:
        texts = f.read().split("\n__ggml_vocab_test__\n")
    with open(a.model + ".out", encoding="utf-8") as f:
        want = [list(map(int, line.split())) for line in f.read().split("\n")]
    got = [lorac_ids(t) if t else [] for t in texts]  # the file ends without a text
    return compare("llama.cpp's vectors", texts, got, want[:len(texts)])


def server_ids(texts):
    import xllamacpp
    p = xllamacpp.CommonParams()
    p.model.path, p.n_ctx, p.n_parallel, p.port = a.model, 64, 1, 0
    server = xllamacpp.Server(p)
    for text in texts:
        body = json.dumps(dict(content=text, add_special=False, parse_special=True)).encode()
        r = urllib.request.Request(server.listening_address + "/tokenize", data=body,
                                   headers={"Content-Type": "application/json"})
        yield json.loads(urllib.request.urlopen(r, timeout=60).read())["tokens"]


def main():
    bad = vectors() if a.vectors else False
    if not (a.hf or a.conversion or a.server):
        return bad
    from tokenizers import Tokenizer
    texts, got = lorac_lines([t for t in corpus() if t])
    if a.hf:
        t = Tokenizer.from_file(os.path.join(a.hf, "tokenizer.json"))
        bad |= compare(a.hf, texts, got, [t.encode(x, add_special_tokens=False).ids for x in texts])
    if a.conversion:
        from transformers.integrations.gguf import convert_gguf_tokenizer, get_gguf_tokenizer
        architecture, parts, _ = get_gguf_tokenizer(a.model)
        t = convert_gguf_tokenizer(architecture, parts)[0]
        want = [t.encode(x, add_special_tokens=False).ids for x in texts]
        bad |= compare("transformers' conversion", texts, got, want)
    if a.server:
        bad |= compare("llama.cpp", texts, got, list(server_ids(texts)))
    return bad


sys.exit(main())
