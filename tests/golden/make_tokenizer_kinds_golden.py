#!/usr/bin/env python3
"""Writes tests/golden/tokenizer_kinds/*: what Hugging Face `tokenizers` (written with 0.23.3) makes of the corpus of
make_tokenizer_golden.py with the tokenizers that GGUF files name, and with WordPiece.

usage: make_tokenizer_kinds_golden.py   (needs tokenizers and transformers; tests/golden/tokenizer must be there)

  NAME.vocab      "type score token" lines (type as in tokenizer.ggml.token_type); backslash and LF are written \\\\ \\n
  hashes.txt      per 8 corpus lines: a hash of their ids behind one another, one column per name of COLUMNS
  ids.txt         "line name: ids" in full for the first lines
  characters.txt  the same for every character in context, per 1024 characters, one column per name of CHARACTERS
  decode.txt      per 8 corpus lines and name of DECODED: hash of their decoded texts' code points, without special
                  tokens

llama: as Llama 2 (a space before each text, bytes for unknown characters); gemma: as Gemma 3 (no such space, white
space and tags as user-defined tokens); nobytes: unknown characters become <unk>. Their merges are what transformers'
own conversion makes of the scores. bert: uncased WordPiece; bertcased: keeps case and accents, same vocabulary.
gpt-4o, tekken, dbrx: the splits of o200k (Phi-4-mini), Mistral Nemo and cl100k (Phi-4) over gpt-2.vocab.
"""
import os
import re

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers.tokenization_utils_base import generate_merges

from tokenizer_corpus import character_text, fnv

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "tokenizer_kinds")
COLUMNS = ["llama", "gemma", "nobytes", "bert", "bertcased", "gpt-4o", "tekken", "dbrx"]
CHARACTERS = ["bert", "gpt-4o", "tekken"]
DECODED = ["llama", "gemma", "bert"]
GROUP, FULL_LINES, VOCAB = 8, 15, 1000
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
SPACE = "\u2581"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
PREFIX, TAIL = r"[^\r\n\p{L}\p{N}]?", r"\s*[\r\n]+|\s+(?!\S)|\s+"
SPLITS = {
    "gpt-4o": rf"{PREFIX}{UPPER}*{LOWER}+{SUFFIX}?|{PREFIX}{UPPER}+{LOWER}*{SUFFIX}?"
              rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{TAIL}",
    "tekken": rf"{PREFIX}{UPPER}*{LOWER}+|{PREFIX}{UPPER}+{LOWER}*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{TAIL}",
    "dbrx": rf"{SUFFIX}|{PREFIX}\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{TAIL}",
}


def corpus():
    with open(os.path.join(HERE, "tokenizer/corpus.txt"), encoding="utf-8", newline="\n") as f:
        for line in f.read().split("\n")[:-1]:
            yield re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r", "0": "\0"}.get(m[1], m[1]), line)


def added(tokens):
    for kind, _, text in tokens:
        if kind in (UNKNOWN, CONTROL, USER_DEFINED):
            yield AddedToken(text, normalized=False, special=kind != USER_DEFINED)


def trained_pieces(lines):
    """Pieces in the order BPE finds them, words beginning with U+2581; the characters come last."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=VOCAB, show_progress=False, limit_alphabet=400))
    pieces = sorted(t.get_vocab(), key=t.get_vocab().get)
    return [p for p in pieces if len(p) > 1] + [p for p in pieces if len(p) == 1]


def scored(tokens, pieces):
    return tokens + [(NORMAL, float(-i), p) for i, p in enumerate(pieces)]


def vocab_tokens(name, pieces):
    head = [(UNKNOWN, 0.0, "<unk>"), (CONTROL, 0.0, "<s>"), (CONTROL, 0.0, "</s>")]
    if name == "gemma":
        head = [(CONTROL, -1000.0, "<pad>"), (CONTROL, -1000.0, "<eos>"), (CONTROL, -1000.0, "<bos>"),
                (UNKNOWN, -1000.0, "<unk>"), (CONTROL, -1000.0, "<start_of_turn>"), (CONTROL, -1000.0, "<|im_end|>")]
        head += [(USER_DEFINED, -1000.0, "\n" * i) for i in range(1, 32)]
        head += [(USER_DEFINED, -1000.0, " " * i) for i in range(2, 32)]
        head += [(USER_DEFINED, -1000.0, x) for x in ("<body", "<br/>", "<think>", "</think>")]
    else:
        head += [(CONTROL, 0.0, "<|im_end|>"), (USER_DEFINED, 0.0, "<think>"), (USER_DEFINED, 0.0, "</think>")]
    if name != "nobytes":
        head += [(BYTE, 0.0, f"<0x{i:02X}>") for i in range(256)]
    return scored(head, [p for p in pieces if p not in {t[2] for t in head}])


def sentencepiece(name, tokens):
    # As in transformers' conversion: spaces are looked up as U+2581, Gemma's pieces rank by their place in the file.
    spelled = [SPACE * len(t) if t.strip(" ") == "" else t for _, _, t in tokens]
    scores = {t: -i if name == "gemma" else score for i, (t, (_, score, _)) in enumerate(zip(spelled, tokens))}
    vocab = {t: i for i, t in enumerate(spelled)}
    t = Tokenizer(models.BPE(vocab, generate_merges(vocab, scores), unk_token="<unk>", fuse_unk=True,
                             byte_fallback=name != "nobytes"))
    spaces = normalizers.Replace(" ", SPACE)
    text = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if name == "gemma":
        t.normalizer, t.pre_tokenizer = spaces, pre_tokenizers.Split(" ", "merged_with_previous")
        t.decoder = decoders.Sequence(text)
    else:
        t.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), spaces])
        t.decoder = decoders.Sequence(text + [decoders.Strip(" ", 1, 0)])
    for token in added((k, s, v) for (k, s, _), v in zip(tokens, spelled) if v.strip(SPACE)):
        (t.add_special_tokens if token.special else t.add_tokens)([token])
    return t


def train_wordpiece(lines):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    t.train_from_iterator(lines, trainers.WordPieceTrainer(vocab_size=VOCAB, show_progress=False, limit_alphabet=200,
                                                           special_tokens=special))
    pieces = sorted(t.get_vocab(), key=t.get_vocab().get)
    return [(UNKNOWN if p == "[UNK]" else CONTROL if p in special else NORMAL, 0.0, p) for p in pieces]


def wordpiece(tokens, cased):
    t = Tokenizer(models.WordPiece({p: i for i, (_, _, p) in enumerate(tokens)}, unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=not cased, strip_accents=None)
    t.pre_tokenizer, t.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    t.add_special_tokens(list(added(tokens)))
    return t


def byte_level(name):
    with open(os.path.join(HERE, "tokenizer/gpt-2.vocab"), encoding="utf-8") as f:
        rows = f.read().split("\n")
    n = int(rows[1].split(" ")[1])
    tokens = [row.split(" ", 1) for row in rows[2:2 + n]]
    vocab = {t: i for i, (_, t) in enumerate(tokens)}
    t = Tokenizer(models.BPE(vocab, [tuple(m.split(" ")) for m in rows[3 + n:] if m], ignore_merges=name == "tekken"))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLITS[name]), "isolated"),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(list(added((int(k), 0, v) for k, v in tokens if k == "3")))
    t.add_tokens(list(added((int(k), 0, v) for k, v in tokens if k == "4")))
    return t


def grouped(rows, numbers):
    for at in range(0, len(rows), GROUP):
        yield fnv(n for row in rows[at:at + GROUP] for n in numbers(row))


def write_lines(name, lines):
    with open(f"{OUT}/{name}", "w", encoding="utf-8", newline="\n") as f:
        f.writelines(line + "\n" for line in lines)


def write_vocab(name, tokens):
    escaped = (t.replace("\\", "\\\\").replace("\n", "\\n") for _, _, t in tokens)
    write_lines(f"{name}.vocab", (f"{k} {s:g} {t}" for (k, s, _), t in zip(tokens, escaped)))


def main():
    lines = list(corpus())
    pieces = trained_pieces(lines)
    made = {}
    for name in ("llama", "gemma", "nobytes"):
        tokens = vocab_tokens(name, pieces)
        write_vocab(name, tokens)
        made[name] = sentencepiece(name, tokens)
    tokens = train_wordpiece(lines)
    write_vocab("bert", tokens)
    made["bert"], made["bertcased"] = wordpiece(tokens, False), wordpiece(tokens, True)
    made |= {name: byte_level(name) for name in SPLITS}
    ids = {name: [made[name].encode(line, add_special_tokens=False).ids for line in lines] for name in COLUMNS}
    write_lines("hashes.txt", map(" ".join, zip(*(grouped(ids[n], lambda row: row) for n in COLUMNS))))
    write_lines("ids.txt", (f"{i} {n}: " + " ".join(map(str, ids[n][i])) for n in COLUMNS for i in range(FULL_LINES)))
    blocks = [character_text(b) for b in range(0x110000 // 1024)]
    write_lines("characters.txt", (" ".join(fnv(made[n].encode(b, add_special_tokens=False).ids)
                                            for n in CHARACTERS) for b in blocks))
    texts = {n: [made[n].decode(row, skip_special_tokens=True) for row in ids[n]] for n in DECODED}
    write_lines("decode.txt", map(" ".join, zip(*(grouped(texts[n], lambda text: map(ord, text)) for n in DECODED))))


main()
