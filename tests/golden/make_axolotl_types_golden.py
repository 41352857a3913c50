#!/usr/bin/env python3
"""usage: make_axolotl_types_golden.py SRC: writes axolotl_types.jsonl: what Axolotl's own code makes of a record for
each type of data set whose text is a fixed prompt: the text that is not learnt, and the text that is. SRC: the folder
src of a checkout of Axolotl (067b021c8). Its other dependencies are replaced by empty modules."""
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import sys
from unittest.mock import MagicMock

HERE = os.path.dirname(os.path.abspath(__file__))
STUBS = ("datasets", "transformers", "colorama", "axolotl.utils", "axolotl.datasets", "torch")


class Stubs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if any(name == s or name.startswith(s + ".") for s in STUBS) and not name.startswith("axolotl.utils.data"):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        module = MagicMock(name=spec.name)
        module.__path__ = []
        module.__spec__ = spec
        return module

    def exec_module(self, module):
        pass


class Tokenizer:
    """A token is a character; the end is -1."""
    eos_token_id, bos_token_id = -1, -2

    def __call__(self, text, **_):
        return {"input_ids": [ord(c) for c in text], "attention_mask": [1] * len(text)}


class Cfg:
    train_on_inputs, sequence_len = False, 1 << 20


class Encoding(dict):
    def __init__(self, data=None):
        super().__init__(data or {})


def strategy_of(kind):
    load = importlib.import_module("axolotl.prompt_strategies").load
    found = load(kind, Tokenizer(), Cfg(), {})
    if found:
        return found
    tokenizers, prompters = (importlib.import_module("axolotl." + m) for m in ("prompt_tokenizers", "prompters"))
    base, _, style = kind.partition(":")
    # As the handlers of axolotl.utils.data.wrappers have it.
    classes = {"alpaca": ("AlpacaPromptTokenizingStrategy", "AlpacaPrompter"),
               "gpteacher": ("GPTeacherPromptTokenizingStrategy", "GPTeacherPrompter"),
               "oasst": ("OpenAssistantPromptTokenizingStrategy", "AlpacaPrompter"),
               "summarizetldr": ("SummarizeTLDRPromptTokenizingStrategy", "SummarizeTLDRPrompter")}[base]
    return getattr(tokenizers, classes[0])(getattr(prompters, classes[1])(style or None), Tokenizer(), False, 1 << 20)


ALPACA = [{"instruction": "Add.", "input": "1 {2}", "output": "3"}, {"instruction": "Go on.", "input": "", "output": "Ok."}]
ORCA = [{"system_prompt": "Be brief.", "question": "Why?", "response": "So."},
        {"system_prompt": "", "question": "Why?", "input": "not read", "response": "So."}]
SYSTEM = [dict(ALPACA[0], system="Be brief."), dict(ALPACA[1], system="")]
CASES = {
    "alpaca": ALPACA + [dict(ALPACA[0], system="not read")], "alpaca:instruct": ALPACA,
    "alpaca:chat": ALPACA + [dict(ALPACA[0], system="not read")], "alpaca:chatml": ALPACA, "alpaca:phi": ALPACA,
    "alpaca_instruct": ALPACA, "alpaca_instruct.load": ALPACA, "alpaca_instruct.load_no_prompt": ALPACA,
    "alpaca_chat": ALPACA, "alpaca_chat.load": ALPACA, "alpaca_chat.load_concise": ALPACA,
    "alpaca_chat.load_no_prompt": ALPACA,
    "alpaca_chat.load_qa": [{"question": "Why?", "answer": "So.", "input": "not read"}],
    "alpaca_chat.load_camel_ai": [{"message_1": "Why?", "message_2": "So."}],
    "alpaca_w_system": SYSTEM, "alpaca_w_system.load": SYSTEM, "alpaca_w_system.load_chat": SYSTEM,
    "alpaca_w_system.load_instruct": SYSTEM,
    "alpaca_w_system.load_open_orca": ORCA, "alpaca_w_system.load_open_orca_chatml": ORCA,
    "context_qa": [{"article": "It rains.", "question": "Does it?", "answer": "Yes."},
                   {"article": "It rains.", "question": "", "answer": "Yes."}],
    "context_qa.load": [{"article": "It rains.", "question": "Does it?", "answer": "Yes."}],
    "creative_acr.load_answer": [{"instruction": "Why?", "answer": "not read", "revision": "So."}],
    "gpteacher": [{"instruction": "Add.", "input": "1 2", "response": "3"}],
    "gpteacher:chat": [{"instruction": "Add.", "response": "3"}],
    "oasst": [{"INSTRUCTION": "Why?", "RESPONSE": "So."}], "oasst:chatml": [{"INSTRUCTION": "Why?", "RESPONSE": "So."}],
    "summarizetldr": [{"article": "It rains.", "summary": "Rain."}],
}

sys.path.insert(0, sys.argv[1])
sys.meta_path.insert(0, Stubs())
importlib.import_module("transformers").BatchEncoding = Encoding
with open(os.path.join(HERE, "axolotl_types.jsonl"), "w") as out:
    for kind, records in CASES.items():
        for record in records:
            tokens = strategy_of(kind).tokenize_prompt(record)
            ids, labels = tokens["input_ids"], tokens["labels"]
            n = labels.count(-100)
            assert labels[n:] == ids[n:] and ids[-1] == -1
            text = ["".join(map(chr, part)) for part in (ids[:n], ids[n:-1])]
            out.write(json.dumps({"type": kind, "record": record, "prompt": text[0], "answer": text[1]}) + "\n")
