#!/usr/bin/env python3
"""Writes preference_data.jsonl: tokens that TRL's trainers make of preference data, for test_preference_golden.c. Run with an
environment that has trl (written with 1.16.0) and transformers:
    python tests/golden/make_preference_data_golden.py

Each line has a tokenizer of tokenizer/*.vocab, a template of templates/ (or none), a record, and what DPOTrainer makes of
it: `chosen` and `rejected` are the ids of prompt and answer, of which the first `prompt` are the prompt's. A record of a
form that TRL does not know is given to it in the form `as`, which is not written.

Lines with `records` have answers with labels, and what KTOTrainer makes of them in groups of `group`: of each record the
ids of prompt and answer, `prompt`, and the ids of the prompt with another record's answer, cut to max_length.
"""
import json, logging, os
from types import SimpleNamespace

from datasets import Dataset, disable_progress_bars
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from trl import DPOTrainer, KTOTrainer


here = os.path.dirname(os.path.abspath(__file__))
BOS, EOS = "<|endoftext|>", "<|im_end|>"

SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
NUMBERS = {"llama-bpe": r"\p{N}{1,3}", "qwen2": r"\p{N}"}

def tokenizer(name, bos):
    """As golden_tokenizer of tokenizer_fixture.h."""
    lines = open(f"{here}/tokenizer/{name}.vocab", encoding="utf-8").read().split("\n")
    n = int(lines[1].split()[1])
    tokens = [(line[0], line[2:]) for line in lines[2:2 + n]]
    merges = [tuple(line.split(" ")) for line in lines[3 + n:] if line]
    t = Tokenizer(models.BPE({x: i for i, (_, x) in enumerate(tokens)}, merges, ignore_merges=name == "llama-bpe"))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLIT % NUMBERS[name]), "isolated"),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    if name == "qwen2": t.normalizer = normalizers.NFC()
    t.add_special_tokens([AddedToken(x, normalized=False, special=True) for k, x in tokens if k == "3"])
    t.add_tokens([AddedToken(x, normalized=False, special=False) for k, x in tokens if k == "4"])
    if bos: t.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, t.token_to_id(BOS))])
    return PreTrainedTokenizerFast(tokenizer_object=t, bos_token=BOS, eos_token=EOS)

TOKENIZERS = {"qwen2": tokenizer("qwen2", False), "llama-bpe": tokenizer("llama-bpe", True)} # the second adds BOS
ARGS = SimpleNamespace(dataset_num_proc=None, max_length=None, truncation_mode="keep_start", per_device_train_batch_size=0)

def prepare(trainer, records, t, **args):
    for k, v in args.items(): setattr(ARGS, k, v)
    return list(trainer._prepare_dataset(SimpleNamespace(_tokenizer=t, calculate_KL=True, desirable_weight=1.0,
                                                         undesirable_weight=1.0), Dataset.from_list(records), t, ARGS, "x"))

def pair(name, template, record, as_=None):
    t = TOKENIZERS[name]
    t.chat_template = open(f"{here}/templates/{template}.jinja", encoding="utf-8").read() if template else None
    p = prepare(DPOTrainer, [as_ or record], t)[0]
    return {"tokenizer": name, "template": template, "record": record, "prompt": len(p["prompt_ids"]),
            "chosen": p["prompt_ids"] + p["chosen_ids"], "rejected": p["prompt_ids"] + p["rejected_ids"]}

def labelled(name, template, records, group, max_length=4096, as_=None):
    t = TOKENIZERS[name]
    t.chat_template = open(f"{here}/templates/{template}.jinja", encoding="utf-8").read() if template else None
    p = prepare(KTOTrainer, as_ or records, t, max_length=max_length, per_device_train_batch_size=group)
    return {"tokenizer": name, "template": template, "records": records, "group": group, "max_length": max_length, "samples": [
        {"label": bool(x["label"]), "prompt": len(x["prompt_ids"]), "own": (x["prompt_ids"] + x["completion_ids"])[:max_length],
         "other": (x["prompt_ids"] + x["KL_completion_ids"])[:max_length]} for x in p]}

# ---- records ----

def m(role, content, **more): return {"role": role, "content": content, **more}
def user(text): return m("user", text)
def assistant(text, **more): return m("assistant", text, **more)
def turn(who, text): return {"from": who, "value": text}

ASKED = [m("system", "Be brief."), user("Where is the sun?")]
YES, NO = [assistant("In the sky, far above.")], [assistant("In the sea.")]
LONG = [user("Tide?"), assistant("Low."), user("Sure?")]
TOOLS = [{"type": "function", "function": {"name": "get_tide", "description": "Tide at a place",
          "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}}}]
CALL = [assistant("", tool_calls=[{"type": "function", "function": {"name": "get_tide", "arguments": {"at": "Vik"}}}]),
        m("tool", "1.5"), assistant("1.5 m")]
HH = "\n\nHuman: What is two plus two?\n\nAssistant: I think it is"

TEXTS = [
    {"prompt": "The sky is", "chosen": " blue today", "rejected": " green"},
    {"prompt": "The sky is ", "chosen": "blue", "rejected": "green"},                  # the space merges with the answer
    {"prompt": "The number is 12", "chosen": "345 and more", "rejected": "6"},          # so may digits
    {"prompt": "", "chosen": "All of it", "rejected": "Nothing of it"},
    {"prompt": "Say stop.", "chosen": "stop" + EOS, "rejected": "no"},                 # ends with EOS
    {"prompt": BOS + "Hi", "chosen": " there", "rejected": "!"},
    {"chosen": HH + " four.", "rejected": HH + " five, or six."},                        # Anthropic's form
    {"chosen": "Der Tag ist schön", "rejected": "Der Tag ist schöner"},                    # one begins with the other
    {"chosen": "Un caf\u00e9", "rejected": "Un caf\u00e8"},
]
CHATS = [
    {"prompt": ASKED, "chosen": YES, "rejected": NO},
    {"prompt": LONG, "chosen": YES, "rejected": NO},
    {"chosen": ASKED + YES, "rejected": ASKED + NO},
    {"chosen": LONG + YES, "rejected": LONG + NO + [user("No!"), assistant("Sorry.")]},
    {"chosen": LONG[:2] + YES, "rejected": LONG[:2] + [user("Why?")] + NO},
]
# a record of another tool's form, and the same as TRL has it
OTHERS = [
    ({"prompt": "Tide?", "chosen": [user("Tide?")] + YES, "rejected": [user("Tide?")] + NO, "score_chosen": 8.5},
     {"prompt": [user("Tide?")], "chosen": YES, "rejected": NO}),                        # UltraFeedback
    ({"prompt": "Tide?", "chosen": YES, "rejected": NO}, {"prompt": [user("Tide?")], "chosen": YES, "rejected": NO}),
    ({"system": "Be brief.", "conversations": [turn("human", "Where is the sun?")], "chosen": turn("gpt", YES[0]["content"]),
      "rejected": turn("gpt", NO[0]["content"])}, {"prompt": ASKED, "chosen": YES, "rejected": NO}), # LLaMA-Factory
    ({"messages": ASKED, "chosen": YES[0], "rejected": NO[0]}, {"prompt": ASKED, "chosen": YES, "rejected": NO}),
    ({"instruction": "Translate.", "input": "Sol", "chosen": "Sun", "rejected": "Moon", "system": "Be brief."},
     {"prompt": [ASKED[0], user("Translate.\nSol")], "chosen": [assistant("Sun")], "rejected": [assistant("Moon")]}),
]

LABELLED = [{"prompt": "The sky is", "completion": " blue today", "label": True},
            {"prompt": "The number is 12", "completion": "345 and more than that, by far" + EOS, "label": False},
            {"prompt": "All of this prompt is much too long to be kept where a sequence is short", "completion": " now", "label": True},
            {"prompt": "Say stop.", "completion": "stop", "label": False},
            {"prompt": "Go", "completion": " on and on", "label": True}]
TALKS = [{"prompt": ASKED, "completion": YES, "label": True}, {"prompt": LONG, "completion": NO, "label": False},
         {"prompt": ASKED[1:], "completion": NO, "label": False}]
def turns(record):
    who = {"user": "human", "assistant": "gpt", "system": "system"}
    return [turn(who[x["role"]], x["content"]) for x in record["prompt"] + record["completion"]]

def labels():
    for name in TOKENIZERS:
        yield labelled(name, None, LABELLED, 2)
        yield labelled(name, None, LABELLED, 3, 14)
    yield labelled("qwen2", "chatml", TALKS, 2)
    yield labelled("qwen2", "qwen3", TALKS, 8)
    # LLaMA-Factory
    yield labelled("qwen2", "chatml", [{"conversations": turns(x), "kto_tag": x["label"]} for x in TALKS], 3, as_=TALKS)
    yield labelled("qwen2", "chatml", [{"instruction": "Translate.", "input": w, "output": o, "kto_tag": k}
                                       for w, o, k in (("Sol", "Sun", True), ("Luna", "Sun", False))], 2,
                   as_=[{"prompt": [user("Translate.\n" + w)], "completion": [assistant(o)], "label": k}
                        for w, o, k in (("Sol", "Sun", True), ("Luna", "Sun", False))])

def pairs():
    for name in TOKENIZERS:
        for record in TEXTS:
            own_bos = record.get("prompt", "").startswith(BOS) # lorac adds no second BOS
            if not own_bos or name == "qwen2": yield pair(name, None, record)
    for template in ("chatml", "qwen3", "llama-3", "smollm2"):
        name = "llama-bpe" if template == "llama-3" else "qwen2"
        for record in CHATS if template != "smollm2" else CHATS[:1]: yield pair(name, template, record)
    for record, as_ in OTHERS: yield pair("qwen2", "chatml", record, as_)
    yield pair("qwen2", "qwen3", {"prompt": [user("Tide at Vik?")], "chosen": CALL, "rejected": NO, "tools": TOOLS})
    yield pair("qwen2", "qwen3", {"prompt": ASKED, "chosen": YES, "rejected": NO, "chat_template_kwargs": {"enable_thinking": False}})

if __name__ == "__main__":
    disable_progress_bars()
    logging.disable(logging.WARNING)
    with open(f"{here}/preference_data.jsonl", "w", encoding="utf-8", newline="\n") as f:
        for line in [*pairs(), *labels()]: f.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
