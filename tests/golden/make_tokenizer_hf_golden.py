#!/usr/bin/env python3
"""Writes tests/golden/tokenizer_hf/*: what Hugging Face `tokenizers` (written with 0.23.3) makes of the corpus of
make_tokenizer_golden.py with tokenizer.json files in the shapes that the families publish.

usage: make_tokenizer_hf_golden.py   (tests/golden/tokenizer/corpus.txt must be there; needs sentencepiece for the
charsmap of a Unigram model, which is one of a few rules, as that of nmt_nfkc has 240 kB)

  bytes.model, chars.model  vocabulary entries, then merges, each as the inside of a JSON object or array
  NAME.json    of Unigram whole, else tokenizer.json with "@bytes": 0 (or "@chars") for the entries of the vocabulary and ["@bytes"] for merges
  hashes.txt   first line: the NAMEs; then per 64 corpus lines and NAME: hashes of their ids, of the code points of
               their decoded texts, and of those without special tokens
  cases.txt    a JSON object a line: kind, text, ids, start (bytes of the characters in which the tokens begin; absent
               where the reference moves them), with, without (decoded), framed (with the tokens around a text)
  pairs.txt    likewise: kind, ids of the pair PAIR, second (index of the first token of type 1)
"""
import io
import json
import os
import re
import tempfile

import sentencepiece
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

from tokenizer_corpus import fnv

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "tokenizer_hf")
GROUP = 64
PAIR = ("Hello wörld", "two words")
CASES = ["", " ", "   ", "Hello world", " <s> a", "a <s>b </s>  c", "<|im_start|>user\n hi <|im_end|> \n there",
         "\n\n\n x", " [INST] a [/INST]b", "the theory the. END  x", "e\u0301 \u0130 1\u00b2\u00b3", "a<mask>  <mask> b",
         "\u2581a \u2581\u2581", "中文字符🤗 ok\u0378", "<0x41><0xE4>", "tab\there 12345", "@@@@ @@", "x        y", "ſ's IT'S don't"]
OWN_CASES = {"gptoss": ["<|start|>assistant<|channel|>final<|message|>camelCaseWords HTTPServer's a/b//\n<|return|><|end|>"]}
A = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)"
          r"|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SUFFIX}|\p{{N}}{{1,3}}"
         r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEKKEN = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def corpus():
    with open(os.path.join(HERE, "tokenizer/corpus.txt"), encoding="utf-8", newline="\n") as f:
        for line in f.read().split("\n")[:-1]:
            yield re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r", "0": "\0"}.get(m[1], m[1]), line)


def learned(lines, pre, **options):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre
    t.train_from_iterator(lines, trainers.BpeTrainer(show_progress=False, **options))
    model = json.loads(t.to_str())["model"]
    return model["vocab"], [tuple(m) for m in model["merges"]]


def byte_model(lines):
    vocab, merges = learned(lines, byte_level(True), vocab_size=1000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    vocab["Ġpneumonoultramicroscopicsilicovolcanoconiosis"] = len(vocab)  # no merge makes it: ignore_merges
    return vocab, merges


def char_model(lines):
    """In Llama 2's order: unknown, control, bytes, pieces; and runs of spaces as Llama 2 and Gemma have them."""
    pieces, merges = learned(lines, pre_tokenizers.Metaspace(), vocab_size=900, limit_alphabet=300)
    vocab = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)] + ["▁" * n for n in range(2, 9)]
    runs = [("▁" * n, "▁" * n) for n in (1, 2, 4)] + [("▁" * (n - 1), "▁") for n in (3, 5, 6, 7)]
    vocab += [p for p in sorted(pieces, key=pieces.get) if p not in vocab]
    return {p: i for i, p in enumerate(vocab)}, [m for m in runs if m not in merges] + merges


def stored(name):
    """Training is not the same in each run, so a model that is there stays."""
    path = os.path.join(OUT, name)
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8", newline="\n") as f:
        vocab, merges = f.read().split("\n")[:2]
    return json.loads("{" + vocab + "}"), [tuple(m) for m in json.loads("[" + merges + "]")]


def byte_level(regex, prefix=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)


def cut(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), behavior, invert), byte_level(False)])


def special(*texts, **flags):
    return [AddedToken(x, special=True, **{"normalized": False, **flags}) for x in texts]


def plain(*texts, **flags):
    return [AddedToken(x, special=False, **{"normalized": False, **flags}) for x in texts]


CHAT = special("<|endoftext|>", "<|im_start|>", "<|im_end|>")
STRIPPED = special("<|endoftext|>", "<|im_start|>", "<|im_end|>", lstrip=True, rstrip=True)
# o200k_harmony: the number of each after the last merge; those between them are reserved
HARMONY = {"<|startoftext|>": 0, "<|endoftext|>": 1, "<|return|>": 4, "<|constrain|>": 5, "<|channel|>": 7,
           "<|start|>": 8, "<|end|>": 9, "<|message|>": 10, "<|call|>": 14}
LLAMA = special("<unk>", "<s>", "</s>")
TO_TEXT = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
UNDERSCORES = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])


class Kinds(dict):
    def __init__(self, lines):
        self.pieces, self.charsmap = trained_unigram(lines)
        self.bytes = stored("bytes.model") or byte_model(lines)
        self.chars = stored("chars.model") or char_model(lines)
        self.source = {}

    def add(self, name, source, added, pre=None, normalizer=None, decoder=None, post=None, vocab=None, **options):
        base, merges = self.bytes if source == "bytes" else self.chars
        t = Tokenizer(models.BPE({**base, **(vocab or {})}, merges, **options))
        if pre:
            t.pre_tokenizer = pre
        if normalizer:
            t.normalizer = normalizer
        t.decoder = decoder or decoders.ByteLevel()
        for token in added:
            (t.add_special_tokens if token.special else t.add_tokens)([token])
        if post:
            t.post_processor = post(t)
        self[name] = t
        self.source[name] = source

    def unigram(self, name, normalizer, pre, byte_fallback=False, extra=()):
        t = Tokenizer(models.Unigram(self.pieces + list(extra), 3, byte_fallback))
        t.normalizer, t.pre_tokenizer, t.decoder = normalizer, pre, decoders.Metaspace()
        t.add_special_tokens(special("<s>", "<pad>", "</s>", "<unk>") + special("<mask>", lstrip=True))
        t.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
        self[name], self.source[name] = t, None

    def chars_like_llama(self, name, added, **parts):
        self.add(name, "chars", added, **{"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True,
                                          "decoder": decoders.Sequence(TO_TEXT + [decoders.Strip(" ", 1, 0)]), **parts})


def begin(token, trim=None):
    def make(t):
        template = processors.TemplateProcessing(single=f"{token} $A", pair=f"{token} $A {token}:1 $B:1",
                                                 special_tokens=[(token, t.token_to_id(token))])
        return processors.Sequence([processors.ByteLevel(trim_offsets=False), template]) if trim else template
    return make


def roberta(t):
    end = ("<|endoftext|>", t.token_to_id("<|endoftext|>"))
    return processors.RobertaProcessing(end, end)


def make_kinds(lines):
    k = Kinds(lines)
    n = len(k.bytes[0])
    k.add("gpt2", "bytes", special("<|endoftext|>", normalized=True), byte_level(True),
          post=lambda t: processors.ByteLevel(trim_offsets=False))
    k.add("roberta", "bytes", CHAT[:1] + special("<mask>", lstrip=True), byte_level(True, True), post=roberta)
    k.add("llama3", "bytes", special("<|begin_of_text|>", "<|eot_id|>") + CHAT, cut(A % r"\p{N}{1,3}"),
          post=begin("<|begin_of_text|>", True), ignore_merges=True)
    k.add("qwen2", "bytes", CHAT + plain("<tool_call>", "@@@@"), cut(A % r"\p{N}"), normalizers.NFC(),
          post=lambda t: processors.ByteLevel(trim_offsets=False))
    k.add("smollm2", "bytes", CHAT, pre_tokenizers.Sequence([pre_tokenizers.Digits(True), byte_level(True)]))
    k.add("phi4", "bytes", STRIPPED, cut(CL100K, "removed", True))
    k.add("phi4mini", "bytes", CHAT[:1] + special("<|im_start|>", "<|im_end|>", rstrip=True), cut(O200K, "removed", True),
          vocab={"<|endoftext|>": n + 1, "<|im_start|>": n + 10, "<|im_end|>": n + 12})  # holes between them
    k.add("gptoss", "bytes", special(*HARMONY), cut(O200K),
          vocab={x: n + i for x, i in HARMONY.items()}, post=lambda t: processors.ByteLevel(trim_offsets=True))
    k.add("tekken", "bytes", special("<s>", "</s>", "[INST]", "[/INST]"), cut(TEKKEN), post=begin("<s>"),
          ignore_merges=True)
    k.chars_like_llama("llama2", LLAMA, normalizer=UNDERSCORES, post=begin("<s>"))
    k.chars_like_llama("phi3", LLAMA[:2] + plain("</s>", rstrip=True) + special("<|im_start|>", "<|im_end|>", rstrip=True),
                       normalizer=UNDERSCORES, post=begin("<s>"))
    k.chars_like_llama("mistral", LLAMA + special("[INST]", "[/INST]"), pre=pre_tokenizers.Metaspace("▁", "first", False),
                       post=begin("<s>"))
    k.chars_like_llama("always", LLAMA, pre=pre_tokenizers.Metaspace("▁", "always", True),
                       decoder=decoders.Metaspace("▁", "always"))
    k.chars_like_llama("gemma", LLAMA + plain(*["▁" * i for i in range(2, 9)], "\n", "\n\n", "\n\n\n", "<mask>"),
                       normalizer=normalizers.Replace(" ", "▁"), pre=pre_tokenizers.Split(" ", "merged_with_previous"),
                       decoder=decoders.Sequence(TO_TEXT), post=begin("<s>"))
    k.chars_like_llama("unknown", LLAMA[1:], pre=pre_tokenizers.Metaspace(), decoder=decoders.Metaspace(),
                       byte_fallback=False, fuse_unk=False)
    k.chars_like_llama("steps", plain("the", single_word=True, normalized=True) + plain("END", lstrip=True, rstrip=True),
                       normalizer=normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.Strip(),
                                                        normalizers.Replace(Regex(r"\s{2,}"), " ")]),
                       pre=pre_tokenizers.Sequence([
                           pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.Digits(False),
                           pre_tokenizers.Split(Regex("e+"), "merged_with_next"),
                           pre_tokenizers.Split("a", "merged_with_previous"), pre_tokenizers.WhitespaceSplit()]),
                       byte_fallback=False)
    k.chars_like_llama("words", LLAMA, pre=pre_tokenizers.Whitespace(), byte_fallback=False)
    words = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    k.unigram("xlmr", normalizers.Precompiled(k.charsmap), words)
    k.unigram("camembert", normalizers.Sequence([normalizers.Precompiled(k.charsmap), normalizers.Strip(False, True),
                                                 normalizers.Replace(Regex(" {2,}"), "\u2581")]),
              pre_tokenizers.Metaspace("\u2581", "always", True))
    k.unigram("fallback", normalizers.NFKC(), pre_tokenizers.Metaspace("\u2581", "first", False), True,
              [("<0x%02X>" % b, -20.0) for b in range(256)] + [("the\u2581", -7.5), ("ab", -9.0), ("bc", -9.0)])
    k.unigram("nfkd", normalizers.Sequence([normalizers.NFKD(), normalizers.Lowercase()]), words)
    return k


# as in nmt_nfkc: ligatures, widths, white space, compositions, what is removed, one that a mark follows
RULES = {"\ufb01": "fi", "\u00b2": "2", "\u00bd": "1\u20442", "\t": " ", "\n": " ", "\r": " ", "\u00a0": " ", "\u3000": " ",
         "\u200b": "", "\ufeff": "", "\u00ad": "", "e\u0301": "\u00e9", "a\u030a": "\u00e5", "\uff11": "1", "\uff12": "2",
         "\uff71": "\u30a2", "\uff76\uff9e": "\u30ac", "\uff76": "\u30ab", "\u2460": "1", "\u212b": "\u00e5", "\u2026": "...",
         "\U0001d54b": "T", "\u1100\u1161": "\uac00", "A": "a", "x\u0301": "X"}


def trained_unigram(lines, rules=True):
    """Pieces with their scores, and a charsmap: of RULES, or nmt_nfkc."""
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        for source, target in RULES.items():
            file.write("\t".join(" ".join(f"{ord(c):x}" for c in s) for s in (source, target)) + "\n")
        file.flush()
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(re.sub("[\0\u0530-\U0010ffff]", "", x) for x in lines[::4]), model_writer=model, vocab_size=700,
            character_coverage=0.98, **(dict(normalization_rule_tsv=file.name) if rules else {}),
            minloglevel=2, bos_id=0, pad_id=1, eos_id=2,
            unk_id=3, bos_piece="<s>", pad_piece="<pad>", eos_piece="</s>", num_threads=1, split_digits=False)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    scored = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(pieces.get_piece_size())]
    return scored, field(field(model.getvalue(), 3), 2)  # ModelProto.normalizer_spec.precompiled_charsmap


def field(message, number):
    """The bytes of one field of a protobuf message, all of whose fields up to it are numbers or bytes."""
    def varint(at):
        value = shift = 0
        while True:
            byte, at = message[at], at + 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value, at
    at = 0
    while True:
        key, at = varint(at)
        kind = key & 7
        size, at = varint(at) if kind in (0, 2) else ({1: 8, 5: 4}[kind], at)
        if kind == 2 and key >> 3 == number:
            return message[at:at + size]
        at += 0 if kind == 0 else size


def group_hashes(t, lines):
    ids = [t.encode(line, add_special_tokens=False).ids for line in lines]
    texts = ["".join(t.decode(x, skip_special_tokens=skip) for x in ids) for skip in (False, True)]
    return " ".join([fnv(i for x in ids for i in x), *(fnv(map(ord, s)) for s in texts)])


def case(name, t, text):
    e = t.encode(text, add_special_tokens=False)
    prefix = [0]
    for c in text:
        prefix.append(prefix[-1] + len(c.encode()))
    out = {"kind": name, "text": text, "ids": e.ids, "with": t.decode(e.ids, skip_special_tokens=False),
           "without": t.decode(e.ids), "framed": t.encode(text).ids}
    if name not in ("roberta", "qwen2", "steps", "xlmr", "camembert", "fallback", "nfkd", "gptoss"):
        out["start"] = [prefix[a] for a, _ in e.offsets]
    return out


def pair(name, t):
    e = t.encode(*PAIR)
    return {"kind": name, "ids": e.ids, "second": e.type_ids.index(1) if 1 in e.type_ids else len(e.ids)}


def dump(v):
    return json.dumps(v, ensure_ascii=False, separators=(",", ":"))


def write_lines(name, lines):
    with open(f"{OUT}/{name}", "w", encoding="utf-8", newline="\n") as f:
        f.writelines(line + "\n" for line in lines)


def write_shape(name, t, source, base):
    shape = json.loads(t.to_str())
    if not source:  # Unigram: the whole
        write_lines(name + ".json", [dump(shape)])
        return
    shape["model"]["vocab"] = {"@" + source: 0, **{x: i for x, i in shape["model"]["vocab"].items() if x not in base}}
    shape["model"]["merges"] = ["@" + source]
    write_lines(name + ".json", [dump(shape)])


def main():
    os.makedirs(OUT, exist_ok=True)
    lines = list(corpus())
    kinds = make_kinds(lines)
    for source, (vocab, merges) in (("bytes", kinds.bytes), ("chars", kinds.chars)):
        write_lines(source + ".model", [dump(vocab)[1:-1], dump(merges)[1:-1]])
    for name, t in kinds.items():
        write_shape(name, t, kinds.source[name], (kinds.bytes if kinds.source[name] == "bytes" else kinds.chars)[0])
    groups = [lines[i:i + GROUP] for i in range(0, len(lines), GROUP)]
    write_lines("hashes.txt", [" ".join(kinds)] + [" ".join(group_hashes(t, g) for t in kinds.values()) for g in groups])
    write_lines("cases.txt", (dump(case(n, t, x)) for n, t in kinds.items() for x in CASES + OWN_CASES.get(n, [])))
    write_lines("pairs.txt", (dump(pair(n, t)) for n, t in kinds.items()))


if __name__ == "__main__":
    main()
