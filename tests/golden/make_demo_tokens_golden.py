#!/usr/bin/env python3
"""Writes demo_tokens.txt: the demo's conversations as transformers tokenises them, with what is supervised.

    HF_HUB_OFFLINE=1 python3 tests/golden/make_demo_tokens_golden.py HF_FOLDER_OF_SMOLLM2_135M_INSTRUCT

One line a conversation of data/examples/tool_calls_test.jsonl: token ids, '*' behind the supervised ones: the answer and
the <|im_end|> that ends it. Needs transformers; the chat template is the model's own, with its default system turn.
"""
import json
import os
import sys

from transformers import AutoTokenizer

here = os.path.dirname(os.path.abspath(__file__))
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])


def tokens(messages):
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    prompt = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
    assert whole.startswith(prompt)
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    end = whole.rindex("<|im_end|>")
    return [f"{i}{'*' if len(prompt) <= begin <= end else ''}"
            for i, (begin, _) in zip(encoded["input_ids"], encoded["offset_mapping"])]


with open(os.path.join(here, "../../data/examples/tool_calls_test.jsonl"), encoding="utf-8") as f:
    lines = [" ".join(tokens(json.loads(line)["messages"])) for line in f]
with open(os.path.join(here, "demo_tokens.txt"), "w", encoding="utf-8") as f:
    f.write("\n".join(lines) + "\n")
