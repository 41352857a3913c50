"""Writes corpus/: small inputs from which fuzzing starts, one folder a target. Run: python3 make_corpus.py"""
import base64
import gzip
import io
import json
import os
import struct
import tarfile

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def put(target, name, data):
    os.makedirs(os.path.join(HERE, target), exist_ok=True)
    with open(os.path.join(HERE, target, name), "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())


# ---- safetensors ----

def safetensors(header, data=b"", pad=0):
    text = (header if isinstance(header, str) else json.dumps(header)).encode() + b" " * pad
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


put("safetensors", "empty", safetensors({}))
put("safetensors", "one", safetensors({"x": tensor("F32", [2], 0, 8)}, b"12345678"))
put("safetensors", "metadata", safetensors({"__metadata__": {"format": "pt"}, "x": tensor("BF16", [1, 2], 0, 4)},
                                           b"1234", 4))
put("safetensors", "many", safetensors({"a": tensor("U8", [3], 0, 3), "z": tensor("F16", [0, 7], 3, 3),
                                        "s": tensor("I64", [], 3, 11), "q": tensor("F8_E4M3", [2], 11, 13)},
                                       b"1234567890123"))
put("safetensors", "f4", safetensors({"x": tensor("F4", [4], 0, 2), "y": tensor("F6_E2M3", [2, 2], 2, 5)}, b"12345"))
put("safetensors", "overlap", safetensors({"a": tensor("U8", [2], 0, 2), "b": tensor("U8", [2], 1, 3)}, b"123"))
put("safetensors", "huge", safetensors({"a": tensor("U8", [2**61, 8], 0, 0)}))
put("safetensors", "long_header", struct.pack("<Q", 100000001) + b"{}")

# ---- gguf ----

U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
FORMATS = {U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<B", U64: "<Q", I64: "<q",
           F64: "<d"}


def string(s):
    s = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(s)) + s


def value(kind, v):
    return string(v) if kind == STR else struct.pack(FORMATS[kind], v)


def key(name, kind, v, element=None):
    out = string(name) + struct.pack("<I", kind)
    if kind != ARR:
        return out + value(kind, v)
    return out + struct.pack("<IQ", element, len(v)) + b"".join(value(element, x) for x in v)


def gguf(keys, tensors=(), version=3, align=32):
    """tensors: (name, dims, type, data)"""
    out = b"GGUF" + struct.pack("<Iqq", version, len(tensors), len(keys)) + b"".join(keys)
    offset, data = 0, b""
    for name, dims, kind, content in tensors:
        out += string(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<q", d) for d in dims)
        out += struct.pack("<IQ", kind, offset)
        data += content + b"\0" * (-len(content) % align)
        offset = len(data)
    return out + b"\0" * (-len(out) % align) + data if tensors else out


LLAMA = [key("general.architecture", STR, "llama"), key("llama.block_count", U32, 1),
         key("llama.embedding_length", U32, 8), key("llama.feed_forward_length", U32, 16),
         key("llama.context_length", U32, 32), key("llama.attention.head_count", U32, 2),
         key("llama.attention.layer_norm_rms_epsilon", F32, 1e-5)]
BYTE_TOKENS = ["<s>", "</s>", "he", "\u0120in", "h", "e", "i", "n", "\u0120", "Ab"]
TOKENIZER = [key("tokenizer.ggml.model", STR, "gpt2"), key("tokenizer.ggml.pre", STR, "smollm"),
             key("tokenizer.ggml.tokens", ARR, BYTE_TOKENS, STR),
             key("tokenizer.ggml.token_type", ARR, [3, 3] + [1] * 8, I32),
             key("tokenizer.ggml.merges", ARR, ["h e", "i n"], STR), key("tokenizer.ggml.bos_token_id", U32, 0),
             key("tokenizer.ggml.eos_token_id", U32, 1),
             key("tokenizer.chat_template", STR, "{% for m in messages %}{{ m.content }}{% endfor %}")]
SPM = [key("tokenizer.ggml.model", STR, "llama"), key("tokenizer.ggml.pre", STR, "default"),
       key("tokenizer.ggml.tokens", ARR, ["<unk>", "<s>", "</s>", "<0x41>", "\u2581", "he", "h", "e"], STR),
       key("tokenizer.ggml.token_type", ARR, [2, 3, 3, 6, 1, 1, 1, 1], I32),
       key("tokenizer.ggml.scores", ARR, [0, 0, 0, 0, -1, -2, -3, -4], F32),
       key("tokenizer.ggml.bos_token_id", U32, 1), key("tokenizer.ggml.eos_token_id", U32, 2),
       key("tokenizer.ggml.add_space_prefix", BOOL, 1)]
EMBEDDING = ("token_embd.weight", [8, 10], 0, b"\0" * 320)
put("gguf", "empty", gguf([]))
put("gguf", "version2", gguf([key("a", U8, 1)], version=2))
put("gguf", "types", gguf([key(chr(97 + k), k, 1) for k in FORMATS] + [key("s", STR, "x"), key("t", ARR, [1, 2], I16)]))
put("gguf", "tensors", gguf([key("general.alignment", U32, 32)],
                            [("x", [4], 0, b"\0" * 16), ("q", [32, 2], 2, b"\0" * 36), ("k", [256], 12, b"\0" * 144)]))
put("gguf", "config", gguf(LLAMA, [EMBEDDING]))
put("gguf", "rope", gguf(LLAMA + [key("llama.rope.scaling.type", STR, "yarn"), key("llama.rope.scaling.factor", F32, 4),
                                  key("llama.rope.scaling.original_context_length", U32, 16)], [EMBEDDING]))
put("gguf", "experts", gguf(LLAMA + [key("llama.expert_count", U32, 4), key("llama.expert_used_count", U32, 2)],
                            [EMBEDDING]))
GEMMA = [key("general.architecture", STR, "gemma3"), key("gemma3.attention.layer_norm_rms_epsilon", F32, 1e-6)] + [
    key("gemma3." + name, U32, v) for name, v in
    [("block_count", 6), ("embedding_length", 8), ("feed_forward_length", 16), ("context_length", 64),
     ("attention.head_count", 2), ("attention.head_count_kv", 1), ("attention.key_length", 4),
     ("attention.value_length", 4), ("attention.sliding_window", 16)]]
put("gguf", "gemma3", gguf(GEMMA, [EMBEDDING]))
put("gguf", "bpe", gguf(LLAMA + TOKENIZER))
put("gguf", "spm", gguf(LLAMA + SPM))
put("gguf", "adapter", gguf([key("general.type", STR, "adapter"), key("general.architecture", STR, "llama"),
                             key("adapter.type", STR, "lora"), key("adapter.lora.alpha", F32, 32)],
                            [("blk.0.attn_q.weight.lora_a", [8, 2], 0, b"\0" * 64),
                             ("blk.0.attn_q.weight.lora_b", [2, 8], 0, b"\0" * 64)]))
put("gguf", "split", gguf([key("split.no", U16, 0), key("split.count", U16, 1), key("split.tensors.count", I32, 0)]))

# A model with the bytes of its tensors, without them, with some.
def model(width, ffn, tokens):
    shapes = {"token_embd": [width, tokens], "output_norm": [width], "blk.0.attn_norm": [width], "blk.0.ffn_norm": [width],
              "blk.0.attn_q": [width, width], "blk.0.attn_k": [width, width], "blk.0.attn_v": [width, width],
              "blk.0.attn_output": [width, width], "blk.0.ffn_gate": [width, ffn], "blk.0.ffn_up": [width, ffn],
              "blk.0.ffn_down": [ffn, width]}
    return [(name + ".weight", shape, 0, b"\0" * (4 * shape[0] * (shape[1] if shape[1:] else 1)))
            for name, shape in shapes.items()]


WHOLE = gguf(LLAMA + SPM, model(8, 16, 8))
HEADER = len(gguf(LLAMA + SPM, [(n, s, k, b"") for n, s, k, _ in model(8, 16, 8)]))
put("gguf_header", "whole", WHOLE)
put("gguf_header", "header", WHOLE[:HEADER])
put("gguf_header", "part", WHOLE[:HEADER + 500])

# ---- Hugging Face folder ----

put("folder", "index", json.dumps({"metadata": {"total_size": 12}, "weight_map": {"a": "1", "b": "1", "c": "2"}}))
put("folder", "index_wrong", json.dumps({"weight_map": {"a": "2", "b": "../1", "c": "/etc/passwd"}}))
put("folder", "llama", json.dumps({"model_type": "llama", "rope_scaling": {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192}, "rope_theta": 5e5, "tie_word_embeddings": True}))
put("folder", "phi3", json.dumps({"model_type": "phi3", "hidden_size": 64, "num_attention_heads": 8,
                                  "partial_rotary_factor": 0.5, "rope_scaling": {
                                      "type": "longrope", "short_factor": [1, 1], "long_factor": [1, 2.5]}}))
put("folder", "gemma3", json.dumps({"model_type": "gemma3", "text_config": {
    "num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"], "rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 8}, "sliding_attention": {"rope_theta": 1e4}}}}))
put("folder", "qwen3_moe", json.dumps({"model_type": "qwen3_moe", "mlp_only_layers": [1], "decoder_sparse_step": 2,
                                       "norm_topk_prob": True, "use_sliding_window": True, "sliding_window": 8}))
put("folder", "gpt2", json.dumps({"model_type": "gpt2", "n_embd": 8, "n_head": 2, "n_layer": 1, "n_inner": None,
                                  "activation_function": "gelu_new", "attn_pdrop": 0.1}))
put("folder", "yarn", json.dumps({"model_type": "qwen2", "rope_parameters": {
    "rope_type": "yarn", "factor": 4.0, "beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 0.5,
    "truncate": False, "attention_factor": 1.25}, "quantization_config": None}))

# ---- quantised checkpoints: a byte for the method, then one matrix [8, 16] of module m ----

def quantised(name, method, *parts):
    header, data = {}, b""
    for part, dtype, shape, values in parts:
        header["m." + part] = tensor(dtype, shape, len(data), len(data) + len(values))
        data += values
    put("quantized", name, bytes([method]) + safetensors(header, data))


def floats(n):
    return struct.pack(f"<{n}f", *[0.5 + i for i in range(n)])


NUMBERS = bytes(range(64))
LEVELS = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
          -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
          0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]
for nested in (False, True):
    state = {"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [8, 16]}
    parts = [("weight", "U8", [64, 1], NUMBERS), ("weight.quant_map", "F32", [16], struct.pack("<16f", *LEVELS))]
    if nested:
        state.update(nested_blocksize=256, nested_dtype="float32", nested_offset=0.5)
        parts += [("weight.absmax", "U8", [2], b"\x01\x02"), ("weight.nested_absmax", "F32", [1], floats(1)),
                  ("weight.nested_quant_map", "F32", [256], floats(256))]
    else:
        parts += [("weight.absmax", "F32", [2], floats(2))]
    text = json.dumps(state).encode()
    parts += [("weight.quant_state.bitsandbytes__nf4", "U8", [len(text)], text)]
    quantised("nf4_nested" if nested else "nf4", 0, *parts)
quantised("int8", 0, ("weight", "I8", [8, 16], NUMBERS * 2), ("SCB", "F32", [8], floats(8)))
quantised("fp8", 1, ("weight", "F8_E4M3", [8, 16], NUMBERS * 2), ("weight_scale_inv", "F32", [4, 2], floats(8)))
INDEX = struct.pack("<16i", *[i % 2 for i in range(16)])
quantised("gptq", 2, ("qweight", "I32", [2, 8], NUMBERS), ("qzeros", "I32", [2, 1], NUMBERS[:8]),
          ("scales", "F32", [2, 8], floats(16)), ("g_idx", "I32", [16], INDEX))
quantised("gptq8", 3, ("qweight", "I32", [4, 8], NUMBERS * 2), ("qzeros", "I32", [1, 2], NUMBERS[:8]),
          ("scales", "F32", [1, 8], floats(8)))
quantised("awq", 4, ("qweight", "I32", [16, 1], NUMBERS), ("qzeros", "I32", [2, 1], NUMBERS[:8]),
          ("scales", "F32", [2, 8], floats(16)))
quantised("packed", 5, ("weight_packed", "I32", [8, 2], NUMBERS), ("weight_scale", "F32", [8, 2], floats(16)),
          ("weight_shape", "I64", [2], struct.pack("<2q", 8, 16)), ("weight_zero_point", "I32", [1, 2], NUMBERS[:8]),
          ("weight_g_idx", "I32", [16], INDEX))

# ---- chat templates ----

TEMPLATES = {
    "loop": "{% for m in messages %}<|{{ m.role }}|>{{ m['content'] }}{{ loop.index0 }}{% else %}-{% endfor %}",
    "macro": "{%- macro f(x, y=2) -%}{{ x ~ y }}{%- endmacro -%}{{ f(1) }}{{ f('a', y=[3]) }}",
    "namespace": "{% set ns = namespace(n=0) %}{% for m in messages if m.role != 'tool' %}{% set ns.n = ns.n + 1 %}"
                 "{% endfor %}{{ ns.n }}",
    "filters": "{{ messages | map(attribute='role') | list | join(', ') | upper }}{{ tools | tojson(indent=2) }}"
               "{{ ' x '.strip().split('x') | length }}{{ messages | selectattr('role', 'equalto', 'user') | first }}",
    "slices": "{{ 'abcdef'[1:-1:2] }}{{ messages[::-1][0].role }}{{ [1, 2, 3][-2:] }}{{ 'a' * 3 }}{{ 7 // 2 % 3 ** 2 }}",
    "tests": "{% if x is defined and messages is iterable and not none is string or 1 is odd %}a{% elif 2 in [2] %}b"
             "{% else %}c{% endif %}{{ 'y' if true else 'n' }}",
    "calls": "{{ bos_token }}{{ strftime_now('%d %b %Y') }}{{ '%s-%d' % ('a', 3) }}{{ 'a{}b'.format(1) }}"
             "{% set x %}block{% endset %}{{ x | replace('l', 'L') | trim }}{{ dict(a=1).items() | list }}",
    "raise": "{% if messages[0].role == 'system' %}{{ raise_exception('no ' + messages[0].role) }}{% endif %}",
    "generation": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "break": "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% elif i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "comment": "{# a comment -#}  {%- if add_generation_prompt %}<|im_start|>assistant\n{% endif -%}\n{{- '\\u00e9\\n' }}",
    "record": "{{ messages[0].content }}{{ k }}\x1e" + json.dumps({"messages": [{"role": "user", "content": "a"}], "k": {"x": [1.5, None]}}),
    "nested": "{{ (((((((((1))))))))) }}{{ [[[[[[]]]]]] }}{{ {'a': {'b': {'c': 1}}}.a.b.c }}",
    "loopctl": "{% for a in [[1, 2], [3]] %}{% for b in a %}{{ loop.first }}{{ loop.last }}{{ loop.previtem }}"
               "{{ loop.nextitem }}{% endfor %}{% endfor %}",
}
for name, text in TEMPLATES.items():
    put("jinja", name, text)

# ---- conversations: a template, and a record behind it ----

CHATS = {
    "repeat": ("{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.tool_calls %}{{ m.tool_calls[0].function.name }}"
               "{{ m.tool_calls[0].function.arguments | tojson }}{% elif m.role == 'tool' %}"
               "{{ messages[loop.index0 - 1].tool_calls[0].function.name }}{{ m.content }}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"),
    "parts": ("{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content is string %}{{ m.content }}{% else %}"
              "{% for p in m.content %}{{ p.text }}{% endfor %}{% endif %}<|im_end|><|endoftext|>{% endfor %}"
              "\x1e" + json.dumps({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}, {"role": "assistant", "content": "b"}]})),
    "thinks": ("{% for m in messages %}{{ m.role }}{% if m.thinking and loop.last %}{{ m.thinking }}{% endif %}{{ m.content }}<|im_end|>{% endfor %}"
               "\x1e" + json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "thinking": "t", "name": "n"}]})),
    "words": "{% for m in messages %}### {{ m.role }}:\n{{ m.content }}{{ m.tool_calls[0].function.arguments if m.tool_calls }}\n\n{% endfor %}",
}
for name, text in CHATS.items():
    put("chat", name, text)

# ---- data ----

CALL = {"type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}}
RECORDS = {
    "messages": [{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"},
                               {"role": "assistant", "content": "he in", "weight": 1}], "mood": "x"}],
    "tools": [{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]},
                            {"role": "assistant", "content": None, "tool_calls": [CALL]},
                            {"role": "tool", "content": "1"}, {"role": "assistant", "content": "b", "train": False}],
               "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}],
    "sharegpt": [{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}],
    "alpaca": [{"instruction": "a", "input": "b", "output": "c"}, {"instruction": "a", "output": "c"}],
    "prompt": [{"prompt": "a", "completion": " b"}, {"prompt": [{"role": "user", "content": "a"}],
                                                      "completion": [{"role": "assistant", "content": "b"}]}],
    "segments": [{"segments": [{"text": "a", "label": False}, {"text": "b", "label": True}]}],
    "contents": [{"systemInstruction": {"parts": [{"text": "s"}]}, "tools": [{"functionDeclarations": [{"name": "f"}]}],
                  "contents": [{"role": "user", "parts": [{"text": "a"}]},
                               {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"x": 1}}}]},
                               {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"y": 2}}}]},
                               {"role": "model", "parts": [{"text": "t", "thought": True}, {"text": "b"}]}]}],
    "text": [{"text": "he in \u00e4 \u4e2d \U0001f600"}, {"text": "x" * 200}],
    "ids": [{"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}, {"input_ids": [256]}],
    "labels": [{"text": "a", "label": 1}, {"text": "b", "label": 0}],
    "pairs": [{"sentence1": "a", "sentence2": "b", "label": "yes"}, {"sentence1": "c", "sentence2": "d", "label": "no"}],
    "triplets": [{"anchor": "a", "positive": "b"}, {"query": "a", "pos": ["b"], "neg": ["c", "d"], "id": 1},
                 {"question": "x" * 70, "answer": "b", "negative_1": "c", "negative_2": None}],
    "scores": [{"sentence1": "a", "sentence2": "b", "score": 0.5}, {"text1": "a", "text2": "b", "similarity": -1}],
    "preference": [{"prompt": "a ", "chosen": "b", "rejected": "c"}, {"chosen": "he in", "rejected": "he it"},
                   {"prompt": "a", "chosen": {"from": "gpt", "value": "b"}, "rejected": {"role": "assistant", "content": "c"}},
                   {"instruction": "a", "chosen": "b", "rejected": "c"},
                   {"chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
                    "rejected": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}], "score_chosen": 1},
                   {"conversations": [{"from": "human", "value": "a"}], "chosen": {"from": "gpt", "value": "b"},
                    "rejected": {"from": "gpt", "value": "c"}, "system": "s"}],
    "verdicts": [{"prompt": "a", "completion": "b", "label": True}, {"prompt": "a", "completion": "x" * 70, "label": 0},
                 {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}], "label": False},
                 {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "kto_tag": True},
                 {"instruction": "a", "input": "b", "output": "c", "kto_tag": False}],
}
for name, records in RECORDS.items():
    put("jsonl", name, "".join(json.dumps(r, ensure_ascii=name != "text") + "\n" for r in records))
put("jsonl", "array", json.dumps([{"text": "a"}, {"text": "b"}], indent=1))
put("jsonl", "bom_crlf", b"\xef\xbb\xbf{\"text\":\"a\"}\r\n\r\n{\"text\":\"b\"}")
put("jsonl", "gzip", gzip.compress(b'{"text":"a"}\n{"text":"b"}\n', mtime=0))
# one Zstandard frame: single segment, 13 bytes, one raw block that is the last
put("jsonl", "zstd", b"\x28\xb5\x2f\xfd\x20\x0d" + struct.pack("<I", 1 | 13 << 3)[:3] + b'{"text":"a"}\n')


def shard(form, members, blocks):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()[:blocks * 512] + b"\0" * 512


put("jsonl", "tar", shard(tarfile.USTAR_FORMAT, [("1.json", b'{"text":"a"}'), ("2.txt", b"he in"), ("2.cls", b"1")],
                          6) + b"\0" * 512)
put("jsonl", "tar_gnu", shard(tarfile.GNU_FORMAT, [("n" * 120 + ".txt", b"he in")], 4))
put("jsonl", "tar_pax", shard(tarfile.PAX_FORMAT, [("n" * 120 + ".txt", b"he in")], 4))
put("jsonl", "broken", b"{\"text\":\"a\"}\n{\"text\":\"\xff\"}\n{\"text\":")

# ---- tokenizer.json ----

BYTES = ["<s>", "</s>", "h", "e", "i", "n", "\u0120", "he", "in", "A", "b", "9"]
LLAMA3 = ("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
          "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+")


def added(ident, content, **flags):
    keys = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": ident, "content": content, **keys, **flags}


def tokenizer(model, **parts):
    keys = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": None, "post_processor": None, "decoder": None}
    return json.dumps({**keys, **parts, "model": model}, ensure_ascii=False)


def ids(tokens):
    return {t: i for i, t in enumerate(tokens)}


BPE = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
       "fuse_unk": False, "byte_fallback": False, "vocab": ids(BYTES), "merges": [["h", "e"], ["i", "n"]]}
SPM_TOKENS = ["<unk>", "<s>", "</s>", "<0x0A>", "<0x41>", "\u2581", "h", "e", "he", "\u2581he"]
SPM_BPE = {**BPE, "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, "vocab": ids(SPM_TOKENS),
           "merges": ["h e", "\u2581 he"]}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
SPECIALS = [added(0, "<s>"), added(1, "</s>", lstrip=True, rstrip=True)]
TEMPLATE = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                                                     {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}}
put("tokenizer", "gpt2", tokenizer(BPE, added_tokens=SPECIALS, pre_tokenizer=BYTE_LEVEL, decoder=BYTE_LEVEL))
put("tokenizer", "llama3", tokenizer(
    {**BPE, "ignore_merges": True}, added_tokens=SPECIALS, pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated", "invert": False},
        {**BYTE_LEVEL, "use_regex": False}]},
    post_processor={"type": "Sequence", "processors": [BYTE_LEVEL, TEMPLATE]}, decoder=BYTE_LEVEL))
put("tokenizer", "qwen", tokenizer(BPE, normalizer={"type": "NFC"}, pre_tokenizer=BYTE_LEVEL,
                                   added_tokens=[added(12, "<think>", special=False, normalized=True)]))
put("tokenizer", "llama2", tokenizer(
    SPM_BPE, added_tokens=[added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
    normalizer={"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"},
                                                    {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
    decoder={"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                                              {"type": "ByteFallback"}, {"type": "Fuse"},
                                              {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}))
put("tokenizer", "metaspace", tokenizer(SPM_BPE, pre_tokenizer={
    "type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}))
put("tokenizer", "gemma", tokenizer(
    SPM_BPE, normalizer={"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
    pre_tokenizer={"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}))
put("tokenizer", "bert", tokenizer(
    {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
     "vocab": ids(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "he", "##in", "ab", "9", "in"])},
    normalizer={"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                "lowercase": True}, pre_tokenizer={"type": "BertPreTokenizer"},
    decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
    post_processor={"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}))
# A double-array trie of "A", whose value 0 is "a": the root leads to unit 4, "A" (0x41) to unit 4 ^ 0x41, its value to 0x40.
UNITS = [0] * 128
UNITS[0], UNITS[4 ^ 0x41], UNITS[0x40] = 4 << 10, (4 ^ 0x41 ^ 0x40) << 10 | 1 << 8 | 0x41, 1 << 31
CHARSMAP = base64.b64encode(struct.pack("<I128I", 512, *UNITS) + b"a\0").decode()
UNIGRAM = {"type": "Unigram", "unk_id": 0, "byte_fallback": True,
           "vocab": [["<unk>", 0], ["\u2581", -2], ["h", -3], ["e", -3], ["he", -4], ["a", -5], ["ab", -5.5], ["<0x0A>", -9]]}
put("tokenizer", "unigram", tokenizer(
    UNIGRAM, added_tokens=[added(0, "<unk>")], pre_tokenizer={"type": "Metaspace", "replacement": "\u2581",
                                                             "prepend_scheme": "always", "split": True},
    normalizer={"type": "Sequence", "normalizers": [{"type": "Precompiled", "precompiled_charsmap": CHARSMAP},
                                                    {"type": "NFKC"}]}))
put("tokenizer", "config", tokenizer(BPE, added_tokens=SPECIALS, pre_tokenizer=BYTE_LEVEL) + "\x1e" + json.dumps(
    {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "add_bos_token": True, "pad_token": None,
     "chat_template": [{"name": "default", "template": "{{ messages }}"}],
     "added_tokens_decoder": {"0": {"content": "<s>", "special": True}}}))

# ---- config ----
put("config", "json", '// a config\n{"model": "m", "output_dir": "o", "train_file": ["a", {"path": "b", "weight": 2}], "r": 8}')
put("csv", "quotes", b'\xef\xbb\xbfprompt,"com""pletion"\r\n"a, ""b""\r\nc",d\r\n\r\n5" long,"last"')
put("csv", "tabs", b'text\tlabel\tn\na b\t1\t\n"c\td"\t-2\t7\n')
put("csv", "index", b",text,label\n0,a,01\n1,,3\n")
put("csv", "gzip", gzip.compress(b"text,b\na,1\n", mtime=0))
put("csv", "short_row", b"a,b\n1,2\n3\n")
put("csv", "open_quote", b'a,b\n1,"2\n3')
put("csv", "broken", b'a,a\n"x"y,\xff\r1\n')

put("config", "yaml", "model: m\noutput_dir: o\ntrain_file:\n  - a.jsonl\n  - {path: b, weight: 0.5}\nlearning_rate: 1e-4\n"
                      "packing: no\nlora_target_modules: [q_proj, 'v_proj']\nseed: ~\n")
put("config", "anchors", "a: &a {x: [1, *b], <<: *c}\nb: &b [*a, !!str 1, ! 2, !!int 0x1F]\n<<: [*a, {lora_r: 3}]\n")
put("config", "scalars", "[1_0, 010, 1:30, .inf, -.INF, .nan, 1e-4, +.5, 5., 0b1, yes, Off, ~, '', \"\\0\\x41\", 2026-11-30]\n")
put("config", "blocks", "a: |+\n  x\n\n  y\nb: >-\n  x\n  y\n? c\n: - d\n  - ? e\n    : f\n--- # another\n%YAML 1.1\n")

# ---- hub ----


def listed(path, size=3, large=False):
    entry = {"type": "file", "path": path, "size": size, "oid": "0123456789" * 4}
    return dict(entry, lfs={"oid": "ab" * 32, "size": size, "pointerSize": 130}) if large else entry


put("hub", "commit", json.dumps({"id": "o/n", "sha": "0123456789" * 4}))
put("hub", "model", json.dumps([listed("config.json"), listed("model.safetensors", 5, True), {"type": "directory", "path": "x"}]))
put("hub", "gguf", json.dumps([listed("m-00001-of-00002.gguf", 9, True), listed("m-00002-of-00002.gguf", 9, True)]))
put("hub", "data", json.dumps([listed("data/train-00000-of-00001.jsonl"), listed("../x.jsonl"), listed("a\u0000b.txt")]))
put("hub", "name", "hf://datasets/owner/na-me.1@v1:test/data/x.jsonl")
put("hub", "name_plain", "owner/name")

# ---- parquet: the end of a file, in Thrift's compact protocol; whole files are those of golden/parquet, and these, with
# pyarrow (without it they stay as they are) ----


def varint(n):
    return (bytes([n & 127 | 128]) + varint(n >> 7)) if n > 127 else bytes([n])


INT, LONG, BINARY, LIST, STRUCT = 5, 6, 8, 9, 12  # Thrift's types


def thrift(*fields):
    """A struct of (id, type, value); values of lists are structs."""
    out, last = b"", 0
    for number, kind, v in fields:
        out += bytes([(number - last) << 4 | kind])
        last = number
        if kind == LIST:
            out += bytes([min(len(v), 15) << 4 | STRUCT]) + (varint(len(v)) if len(v) >= 15 else b"") + b"".join(v)
        else:
            out += varint(len(v)) + v if kind == BINARY else varint(v * 2 if v >= 0 else -v * 2 - 1)
    return out + b"\0"


def parquet_end(schema, rows, groups=()):
    footer = thrift((1, INT, 1), (2, LIST, schema), (3, LONG, rows), (4, LIST, list(groups)))
    return b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1"


def group(name, children):
    return thrift((3, INT, 0), (4, BINARY, name), (5, INT, children))


LEAF = thrift((1, INT, 6), (3, INT, 1), (4, BINARY, b"x"), (6, INT, 0))  # an optional string
put("parquet", "no_rows", parquet_end([group(b"root", 1), LEAF], 0))
put("parquet", "rows_without_groups", parquet_end([group(b"root", 1), LEAF], 2**62))
put("parquet", "deep", parquet_end([group(b"g", 1)] * 60 + [LEAF], 0))
put("parquet", "children", parquet_end([group(b"root", 2**31 - 1), LEAF], 0))
put("parquet", "long_end", b"PAR1" + struct.pack("<I", 2**32 - 1) + b"PAR1")

try:
    import pyarrow
    import pyarrow.parquet
except ImportError:
    pyarrow = None


def parquet(name, columns, **how):
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), out, compression="none", write_statistics=False,
                                store_schema=False, **how)
    put("parquet", name, out.getvalue())


if pyarrow:
    parquet("plain", {"text": ["a", None, "b"], "n": [1, 2, 3], "x": [0.5, None, 2.0], "b": [True, False, None]},
            use_dictionary=False)
    parquet("dictionary", {"text": ["a", "b", "a", "a"], "label": ["x", "y", "x", None]})
    parquet("delta", {"text": ["abc", "abd", "b"], "t": ["x", "xx", "y"], "n": [1, 5, 2]}, use_dictionary=False,
            column_encoding={"text": "DELTA_BYTE_ARRAY", "t": "DELTA_LENGTH_BYTE_ARRAY", "n": "DELTA_BINARY_PACKED"},
            data_page_version="2.0")
    parquet("messages", {"messages": [[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], [], None]},
            use_dictionary=False)
    parquet("checked", {"text": ["a", "b"]}, write_page_checksum=True)
    parquet("groups", {"text": ["a", "b", "c"], "more": [{"k": [1]}, {"k": []}, None]}, row_group_size=1)

# ---- grammar: schemas, regular expressions, GBNF; a text behind 0x1E ----

put("grammar", "object", json.dumps({"type": "object", "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 5}, "n": {"type": "integer", "minimum": -3, "maximum": 120},
    "tags": {"type": "array", "items": {"enum": ["a", 1, None, {"x": []}]}, "minItems": 1, "maxItems": 3}},
    "required": ["name"], "additionalProperties": {"type": "boolean"}}) + '\x1e{"name": "ab", "n": 12, "tags": ["a"], "z": true}')
put("grammar", "alternatives", json.dumps({"oneOf": [{"$ref": "#/$defs/a"}, {"type": "null"}], "$defs": {"a": {
    "allOf": [{"type": "array", "prefixItems": [{"const": "x"}], "items": {"$ref": "#"}}, {"maxItems": 4}]}}}) + '\x1e["x",null,["x"]]')
put("grammar", "strings", json.dumps({"anyOf": [{"type": "string", "pattern": "^[a-c\"]+(-\\d{2,})?$", "maxLength": 9},
    {"type": "string", "format": "date-time"}, {"type": "number", "exclusiveMinimum": -0.5, "maximum": 1e2}]}) + '\x1e"ab\\"-12"')
put("grammar", "regex", "(?:yes|no)?[^\\s\\x41-\\u00e9]{1,3}(?P<n>\\.\\d+)*$\x1eyesz.1")
put("grammar", "gbnf", 'root ::= expr ("," ws expr){0,3} | "\\u00e9"+ # c\nexpr ::= [a-z_]+ | "(" expr ")" | .{2} "!"\nws ::= [ \\t]*\n\x1e(a), b')

# ---- teacher: logits for the samples of fuzz_teacher.c ----


def sample_hash(ids, labels):  # FNV-1a, teacher_logits.h
    h = 0xcbf29ce484222325
    for byte in b"".join(struct.pack("<ii", *pair) for pair in zip(ids, labels)):
        h = (h ^ byte) * 0x100000001b3 % 2**64
    return struct.pack("<Q", h)


HASHES = sample_hash([1, 2, 3], [-100, 2, 3]) + sample_hash([4, 5], [-100, 5])


def teacher(name, ids, values, dtype="F32", hashes=HASHES, start=(0, 2, 3)):
    data = {"sample_hash": ("I64", [len(hashes) // 8], hashes),
            "sample_start": ("I64", [len(start)], struct.pack("<%dq" % len(start), *start)),
            "target_logprobs": (dtype, [len(values), len(values[0])],
                                b"".join(struct.pack("<f" if dtype == "F32" else "<e", x) for row in values for x in row)),
            "target_token_ids": ("I32", [len(ids), len(ids[0])], b"".join(struct.pack("<i", i) for row in ids for i in row))}
    header, body = {}, b""
    for key, (kind, shape, part) in data.items():
        header[key] = tensor(kind, shape, len(body), len(body) + len(part))
        body += part
    put("teacher", name, safetensors(header, body, -len(json.dumps(header)) % 8))


teacher("two", [[2, 7], [3, -1], [15, 0]], [[-1, -2.5], [-0.1, float("nan")], [-3, float("-inf")]])
teacher("half", [[9, 1, 4], [0, 1, 2], [5, 3, 8]], [[-1, -2, -4], [0, -1, -1], [1, 2, 3]], "F16")
teacher("id", [[16, 1], [0, 1], [5, 3]], [[0, 0]] * 3)
teacher("twice", [[1, 1], [0, 1], [5, 3]], [[0, 0]] * 3)
teacher("others", [[1, 2]], [[0, 0]], "F32", sample_hash([1], [1]), (0, 1))
teacher("rows", [[1, 2]] * 3, [[0, 0]] * 3, start=(0, 3, 2))

# ---- request: bodies of requests to lorac serve ----

request = lambda name, **body: put("request", name, json.dumps(body))
USER = [{"role": "system", "content": "he"}, {"role": "user", "content": [{"type": "text", "text": "in"}]}]
request("chat", model="base", messages=USER, max_tokens=4, temperature=0.5, top_p=0.9, seed=1, stop=["a", "bc"], stream=True,
        stream_options={"include_usage": True})
request("completion", prompt="he in", max_tokens=3, stop="x", stop_token_ids=[1, 260], ignore_eos=True, n=1, logit_bias={})
request("ids", prompt=[1, 2, 260], max_tokens=1, top_k=0)
request("tools", messages=USER + [{"role": "assistant", "tool_calls": [{"type": "function", "function": {
    "name": "f", "arguments": "{}"}}]}, {"role": "tool", "content": "1"}], tools=[{"type": "function", "function": {
        "name": "f", "parameters": {"type": "object"}}}], tool_choice="auto", chat_template_kwargs={"k": True})
request("schema", messages=USER, response_format={"type": "json_schema", "json_schema": {"schema": {"enum": ["a", 1]}}})
request("object", messages=USER, response_format={"type": "json_object"})
request("structured", prompt="h", structured_outputs={"choice": ["he", "in"]})
request("guided", prompt="h", guided_regex="[a-c]{2}", guided_json=None)
request("grammar", prompt="h", grammar='root ::= "he" | "in"')

# ---- heartbeat: lengths of the pieces, then frames (heartbeat_wire.h) ----


def frame(kind, text=b"", phase=0, status=0, step=0, progress=0, magic=0x74616542):
    return struct.pack("<IBBBBIIqq", magic, kind, phase, status, 0, len(text), 0, step, progress) + text


put("heartbeat", "beats", b"\x01" + frame(1, phase=2, step=7, progress=9) * 3 + frame(2) + frame(3))
put("heartbeat", "texts", b"\x20" + frame(4, b"no space", status=1) + frame(5, b"x" * 1536) + frame(3))
put("heartbeat", "long", b"\xff" + frame(4, b"y" * 1537))
put("heartbeat", "other", b"\x00" + frame(1, magic=1) + frame(9))

# ---- adapter: adapter_config.json, labels.json, chat_template.jinja, weights of the tiny model ----

PEFT = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 1, "lora_alpha": 2, "target_modules": ["q_proj", "v_proj"],
        "lora_dropout": 0.1, "bias": "none", "base_model_name_or_path": "x", "modules_to_save": None}


def adapter(name, config, modules, labels="", template="", more=None, prefix="base_model.model.model."):
    tensors = dict(more or {})
    for layer, module, rows, r in modules:
        to = f"{prefix}layers.{layer}.self_attn.{module}."
        tensors[to + "lora_A.weight"] = [r, 32]
        tensors[to + "lora_B.weight"] = [rows, r]
    header, body = {}, b""
    for key in sorted(tensors):
        size = 4
        for n in tensors[key]:
            size *= n
        header[key] = tensor("F32", tensors[key], len(body), len(body) + size)
        body += b"\0\0\x80\x3e" * (size // 4)
    put("adapter", name, b"\x1e".join([json.dumps({**PEFT, **config}).encode(), labels.encode(), template.encode(),
                                       safetensors(header, body, -len(json.dumps(header)) % 8)]))


QV = [(layer, m, n, 1) for layer in (0, 1) for m, n in (("q_proj", 32), ("v_proj", 16))]
adapter("plain", {}, QV, template="{{ messages[0].content }}")
adapter("patterns", {"r": 2, "rank_pattern": {"0.self_attn.q_proj": 1}, "alpha_pattern": {"v_proj": 3}, "use_rslora": True,
                     "target_modules": ["q_proj"], "layers_to_transform": [0]}, [(0, "q_proj", 32, 1)])
adapter("excluded", {"exclude_modules": ["layers.1.self_attn.v_proj"], "target_modules": ".*[qv]_proj"}, QV[:3])
adapter("classes", {"task_type": "SEQ_CLS", "modules_to_save": ["classifier", "score"]}, QV,
        '{"id2label": {"0": "a", "1": "b"}}', more={"base_model.model.score.weight": [2, 32]})
adapter("tags", {"task_type": "TOKEN_CLS", "modules_to_save": ["classifier", "score"]}, QV,
        '{"id2label": {"0": "O", "1": "B-x"}}', more={"base_model.model.score.weight": [2, 32],
                                                      "base_model.model.score.bias": [2]})
adapter("dora", {"use_dora": True, "target_modules": ["q_proj"]}, [q for q in QV if q[1] == "q_proj"],
        more={f"base_model.model.model.layers.{n}.self_attn.q_proj.lora_magnitude_vector": [32] for n in (0, 1)})

# ---- manifest: of a snapshot, up to its own hash ----

STATE = {key: 0 for key in "step updates tokens supervised skipped skipped_in_a_row evaluated_step best_step evals_since_best "
         "stopped_early best_loss last_loss last_eval_loss elapsed good_steps grown_from grown_at".split()}
MANIFEST = {"format": 3, "identity": {"config": "x"}, "split": {"rows_per_step": 2, "rows_per_rank": 1, "ranks": 2},
            "state": {**STATE, "step": 4, "updates": 4, "best_step": -1, "loss_scale": 1}, "files": {}}
put("manifest", "empty", json.dumps(MANIFEST)[:-1] + ",\n")
put("manifest", "file", json.dumps({**MANIFEST, "files": {"a": {"size": 8, "xxh3": "155c340ccffd12dc2b3f7d2855dc91fc"}}})[:-1] + ",\n")
put("manifest", "format", json.dumps({**MANIFEST, "format": 2})[:-1] + ",\n")
put("manifest", "names", json.dumps({**MANIFEST, "files": {"../a": {"size": 1, "xxh3": "0" * 32}}})[:-1] + ",\n")

# corpus/token_image: token caches that `lorac train` wrote for two records of each task; the target renews their hash.
