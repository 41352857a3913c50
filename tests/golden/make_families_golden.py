#!/usr/bin/env python3
"""Writes tests/golden/families/NAME/: one tiny model of each family, made by transformers' own classes, and what
transformers and PEFT compute with it.

usage: make_families_golden.py OUT_DIR LLAMA_CPP_DIR [NAME ...]
Needs torch, transformers, peft, safetensors; LLAMA_CPP_DIR: a checkout of llama.cpp, whose convert_hf_to_gguf.py makes
base.gguf (F16 matrices; its vocabulary is replaced by the 64 tokens below, which is all that is changed).

  ../tokenizer.json    64 tokens: the characters from "!" on, !" (merged), <s>, </s>
  config.json          as transformers saves it
  tensors.txt          NAME BASE AMPLITUDE DIM ...   the checkpoint's tensors; element i of a tensor is
                       BASE + AMPLITUDE * u(NAME, i), u in {-128 .. 127} / 128 (see `formula`), so no weights are kept.
                       Then the initial adapter, in the same way, under PEFT's saved names.
  base.gguf            the same weights (multiples of a power of two: F16 and BF16 hold them exactly)
  fused.gguf           the same with fused query, key and value (one family)
  golden.safetensors   ids, start            samples one behind the other, and where each begins
                       logits, logits_adapter                      of sample 0, without and with the adapter
                       loss                  mean token loss of samples 0 and 1 with the adapter
                       grad.<tensor>         its gradient by every trained matrix
                       step_loss             of STEPS AdamW steps, each on two samples
  case.txt             the adapter: its target modules; then "- k" where the rows of the keys in a fused B stay zero
"""
import importlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import numpy as np
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM

V, R, ALPHA, STEPS = 64, 4, 6, 5
CHARACTERS = [chr(33 + i) for i in range(V - 3)]
LENGTHS = [24, 9, 17, 13]
ADAMW = dict(lr=1e-2, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1)
SMALL = dict(vocab_size=V, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, bos_token_id=62, eos_token_id=63, pad_token_id=None)
QV = ["q_proj", "v_proj"]
SHARED = [f"shared_expert.{p}_proj" for p in ("gate", "up", "down")]
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LLAMA3 = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=16)
DYNAMIC = dict(rope_type="dynamic", rope_theta=10000.0, factor=2.5)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=16)
MINISTRAL3 = dict(rope_type="yarn", rope_theta=10000.0, factor=8.0, original_max_position_embeddings=8, mscale=1.0,
                  mscale_all_dim=1.0, llama_4_scaling_beta=0.1)
LONGROPE = dict(rope_type="longrope", rope_theta=10000.0, partial_rotary_factor=0.75, short_factor=[1.0, 1.1, 1.3],
                long_factor=[1.2, 2.5, 6.0])
GPT2 = dict(vocab_size=V, n_embd=32, n_layer=2, n_head=4, n_positions=64, n_ctx=64, bos_token_id=62, eos_token_id=63,
            embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0)
QWEN3MOE = dict(SMALL, head_dim=16, num_experts=8, num_experts_per_tok=3, moe_intermediate_size=16, decoder_sparse_step=1)
GPT_OSS = dict(SMALL, head_dim=16, num_local_experts=6, num_experts_per_tok=2, sliding_window=8, num_hidden_layers=3)
GPT_OSS_ROPE = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, beta_fast=32.0, beta_slow=1.0,
                    original_max_position_embeddings=16)
LFM2 = dict({k: v for k, v in SMALL.items() if k != "pad_token_id"}, hidden_size=16, intermediate_size=24,
            num_hidden_layers=3, block_auto_adjust_ff_dim=False)
PHI3 = dict(SMALL, resid_pdrop=0.0, embd_pdrop=0.0)


def phi4_mini(original):
    """LongRoPE: transformers takes the long factors for a sample longer than `original`, so all are, or none is."""
    return dict(PHI3, sliding_window=None, tie_word_embeddings=True, original_max_position_embeddings=original,
                rope_parameters=dict(LONGROPE, original_max_position_embeddings=original))


# name: config class, its arguments, LoRA targets, rows of the fused first target that stay untrained ("k": the keys)
FAMILIES = {
    "gpt2": ("GPT2Config", GPT2, ["c_attn"], "k"),
    "gpt2-all": ("GPT2Config", GPT2, ["c_attn", "c_proj", "c_fc"], ""),
    "llama3": ("LlamaConfig", dict(SMALL, rope_parameters=LLAMA3, num_key_value_heads=1), QV, ""),
    "llama-bias": ("LlamaConfig", dict(SMALL, attention_bias=True, mlp_bias=True, tie_word_embeddings=True,
                                       rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=2.0)), ALL, ""),
    "llama-yarn": ("LlamaConfig", dict(SMALL, rope_parameters=YARN, head_dim=16), QV, ""),
    "llama-dynamic": ("LlamaConfig", dict(SMALL, rope_parameters=DYNAMIC, max_position_embeddings=10), QV, ""),
    "mistral": ("MistralConfig", dict(SMALL, sliding_window=8), QV, ""),
    "qwen2": ("Qwen2Config", dict(SMALL, tie_word_embeddings=True), QV, ""),
    "qwen3": ("Qwen3Config", dict(SMALL, head_dim=16), ALL, ""),
    "smollm3": ("SmolLM3Config", dict(SMALL, hidden_size=16, intermediate_size=24, num_hidden_layers=4), ALL, ""),
    "smollm3-window": ("SmolLM3Config", dict(SMALL, no_rope_layers=[0, 1, 1], use_sliding_window=True, sliding_window=8,
                                             attention_bias=True), QV, ""),
    "granite": ("GraniteConfig", dict(SMALL, embedding_multiplier=6.0, attention_multiplier=0.25, residual_multiplier=0.22,
                                      logits_scaling=4.0, tie_word_embeddings=True, rms_norm_eps=0.1), ALL, ""),
    "olmo2": ("Olmo2Config", dict(SMALL), ALL, ""),
    "olmo3": ("Olmo3Config", dict(SMALL, hidden_size=16, intermediate_size=24, num_hidden_layers=5, sliding_window=8,
                                  rope_parameters=dict(full_attention=YARN, sliding_attention=dict(
                                      rope_type="default", rope_theta=1e4))), QV, ""),
    "gemma": ("GemmaConfig", dict(SMALL, head_dim=16, num_key_value_heads=1), QV, ""),
    "gemma2": ("Gemma2Config", dict(SMALL, head_dim=16, query_pre_attn_scalar=24, sliding_window=8, attn_logit_softcapping=2.0,
                                    final_logit_softcapping=3.0, num_hidden_layers=3), QV, ""),
    "gemma3": ("Gemma3TextConfig", dict(SMALL, head_dim=16, query_pre_attn_scalar=16, sliding_window=8, num_hidden_layers=7,
                                        hidden_size=16, intermediate_size=24,
                                        rope_parameters=dict(full_attention=dict(rope_type="linear", factor=8.0,
                                                                                 rope_theta=1e6),
                                                             sliding_attention=dict(rope_type="default",
                                                                                    rope_theta=1e4))), QV, ""),
    "glm": ("GlmConfig", dict(SMALL, head_dim=8, rms_norm_eps=1e-5, seq_length=64, layernorm_epsilon=1e-5,
                              attention_bias=False), QV, ""),
    "glm4": ("Glm4Config", dict(SMALL, head_dim=16), ["q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj", "down_proj"],
             ""),
    "cohere": ("CohereConfig", dict(SMALL, tie_word_embeddings=True, logit_scale=0.5, layer_norm_eps=0.1), ALL, ""),
    "cohere2": ("Cohere2Config", dict(SMALL, hidden_size=16, intermediate_size=24, num_hidden_layers=5, sliding_window=8,
                                      tie_word_embeddings=True, logit_scale=2.0, rotary_pct=1.0), QV, ""),
    "cohere2-bias": ("Cohere2Config", dict(SMALL, num_hidden_layers=3, sliding_window=8, tie_word_embeddings=False,
                                           logit_scale=0.75, attention_bias=True, layer_types=[
                                               "full_attention", "sliding_attention", "sliding_attention"]),
                     ["o_proj", "down_proj", "q_proj"], ""),
    "ministral3": ("Ministral3Config", dict(SMALL, head_dim=16, rope_parameters=MINISTRAL3), QV, ""),
    "granite4": ("GraniteMoeHybridConfig", dict(SMALL, num_local_experts=0, num_experts_per_tok=0, mamba_n_heads=8,
                                                shared_intermediate_size=40, layer_types=["full_attention"] * 2,
                                                position_embedding_type="rope", embedding_multiplier=6.0,
                                                attention_multiplier=0.25, residual_multiplier=0.22, logits_scaling=4.0,
                                                tie_word_embeddings=True),
                 ["q_proj", "v_proj", "o_proj", "input_linear", "output_linear"], ""),
    "ernie4_5": ("Ernie4_5Config", dict(SMALL, head_dim=16, use_bias=False), QV, ""),
    "helium": ("HeliumConfig", dict(SMALL, hidden_size=16, intermediate_size=24, head_dim=4), ["k_proj", "gate_proj"], ""),
    "lfm2": ("Lfm2Config", dict(LFM2, layer_types=["conv", "full_attention", "conv"]), ["in_proj", "out_proj", "q_proj", "w1"],
             ""),
    "lfm2-taps": ("Lfm2Config", dict(LFM2, conv_L_cache=4, tie_word_embeddings=False, block_auto_adjust_ff_dim=True,
                                     block_multiple_of=16, full_attn_idxs=[2], num_hidden_layers=3), QV, ""),
    "phi3": ("Phi3Config", dict(PHI3, sliding_window=8), ["qkv_proj"], "k"),
    "phi3-all": ("Phi3Config", dict(PHI3, sliding_window=None), ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"], ""),
    "phi4-mini-short": ("Phi3Config", phi4_mini(32), ["qkv_proj"], ""),
    "phi4-mini-long": ("Phi3Config", phi4_mini(8), ["qkv_proj"], ""),
    "starcoder2": ("Starcoder2Config", dict(SMALL, tie_word_embeddings=True), ["q_proj", "v_proj", "mlp.c_proj"], ""),
    "starcoder2-window": ("Starcoder2Config", dict(SMALL, use_bias=False, sliding_window=8, tie_word_embeddings=False),
                          ["k_proj", "o_proj", "c_fc"], ""),
    "phi": ("PhiConfig", dict(SMALL, intermediate_size=128, num_key_value_heads=4,
                              rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5)),
            ["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"], ""),
    "mixtral": ("MixtralConfig", dict(SMALL, num_local_experts=6, num_experts_per_tok=2, sliding_window=None), QV, ""),
    "qwen3moe": ("Qwen3MoeConfig", dict(QWEN3MOE, norm_topk_prob=True), QV, ""),
    "qwen3moe-experts": ("Qwen3MoeConfig", dict(QWEN3MOE, norm_topk_prob=True, num_experts=10, num_experts_per_tok=2),
                         ["v_proj", "experts.gate_proj", "experts.up_proj", "experts.down_proj"], ""),
    "qwen3moe-dense": ("Qwen3MoeConfig", dict(QWEN3MOE, norm_topk_prob=False, mlp_only_layers=[1], num_hidden_layers=3),
                       QV, ""),
    "qwen2moe": ("Qwen2MoeConfig", dict(SMALL, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=16,
                                        shared_expert_intermediate_size=40), QV + SHARED, ""),
    "qwen2moe-dense": ("Qwen2MoeConfig", dict(SMALL, num_experts=5, num_experts_per_tok=3, moe_intermediate_size=16,
                                              shared_expert_intermediate_size=24, norm_topk_prob=True, mlp_only_layers=[1],
                                              num_hidden_layers=3, qkv_bias=False), ALL[:4], ""),
    # gate_up_proj's limit of 7 is exceeded: see `rule`. llama.cpp truncates YaRN's range.
    "gpt_oss": ("GptOssConfig", dict(GPT_OSS, rope_parameters=dict(GPT_OSS_ROPE, truncate=False)), QV, ""),
    "gpt_oss-all": ("GptOssConfig", dict(GPT_OSS, rope_parameters=dict(GPT_OSS_ROPE, truncate=True), head_dim=8,
                                         intermediate_size=32, num_local_experts=4, num_hidden_layers=2), ALL[:4], ""),
    "mixtral-top1": ("MixtralConfig", dict(SMALL, intermediate_size=64, num_local_experts=5, num_experts_per_tok=1,
                                           sliding_window=8, tie_word_embeddings=True), ALL[:4], ""),
    "qwen3moe-all": ("Qwen3MoeConfig", dict(QWEN3MOE, norm_topk_prob=False, num_experts=4, num_experts_per_tok=4,
                                            decoder_sparse_step=2), ALL[:4], ""),
}
# A GGUF of the llama architecture has no window and no dynamic RoPE; llama.cpp's converter knows no dense layers among experts.
NO_GGUF = {"gpt_oss", "qwen3moe-experts", "granite4", "helium", "smollm3-window", "cohere2-bias", "starcoder2-window", "qwen2moe-dense", "llama-dynamic", "mistral", "qwen3moe-dense", "gpt2-all", "phi3-all", "mixtral-top1", "qwen3moe-all"}

# Families of which a GGUF with fused query, key and value is kept too (convert_hf_to_gguf.py --fuse-qkv).
FUSED = {"llama-bias"}


def formula(name, count):
    """splitmix64 of (FNV-1a of the name, index); the top byte, signed, over 128."""
    h = 0xCBF29CE484222325
    for c in name.encode():
        h = (h ^ c) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(h) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return ((z >> np.uint64(56)).astype(np.int64) - 128).astype(np.float32) / 128


def write_tokenizer(path):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    t = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(CHARACTERS + ['!"'])}, merges=[("!", '"')]))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken("<s>", normalized=False), AddedToken("</s>", normalized=False)])
    t.save(str(path))


def rule(name, shape, family):
    """Base and amplitude of a tensor."""
    if name.endswith("gate_up_proj_bias"):
        return 0.0, 16.0
    if name.endswith("sinks"):
        return 0.5, 2.0
    if name.endswith("bias"):
        return 0.0, 0.125
    if len(shape) == 1:
        return (0.0 if family.startswith("gemma") else 1.0), 0.25
    if "lora_" in name:
        return 0.0, 0.125
    return 0.0, 0.5 if "router" in name or name.endswith("gate.weight") else 0.25


def fill(tensors, family, lines):
    out = {}
    for name in sorted(tensors):
        shape = tensors[name].shape
        base, amplitude = rule(name, shape, family)
        values = np.float32(base) + np.float32(amplitude) * formula(name, int(np.prod(shape)))
        out[name] = values.reshape(shape).astype(np.float32)
        lines.append(" ".join([name, repr(base), repr(amplitude)] + [str(d) for d in shape]))
    return out


def write_gguf(llama_cpp, folder, path, fuse_qkv=False, f32=False):
    sys.path[:0] = [str(Path(llama_cpp) / "gguf-py"), str(llama_cpp)]
    import gguf
    conversion = importlib.import_module("conversion")
    from conversion.base import ModelBase, ModelType

    def vocabulary(self):
        tokens = CHARACTERS + ['!"', "<s>", "</s>"]
        self.gguf_writer.add_tokenizer_model("gpt2")
        self.gguf_writer.add_tokenizer_pre("gpt-2")
        self.gguf_writer.add_token_list(tokens)
        self.gguf_writer.add_token_types([1] * (V - 2) + [3, 3])
        self.gguf_writer.add_token_merges(['! "'])
        self.gguf_writer.add_bos_token_id(V - 2)
        self.gguf_writer.add_eos_token_id(V - 1)

    config = ModelBase.load_hparams(Path(folder), False)
    architecture = conversion.get_model_architecture(config, ModelType.TEXT)
    cls = conversion.get_model_class(architecture)
    inner = [c for c in vars(cls).values() if isinstance(c, type)]  # Ministral 3
    for c in [c for top in [cls, *inner] for c in top.__mro__]:
        if "set_vocab" in c.__dict__:
            c.set_vocab = vocabulary
    with torch.inference_mode():
        types = gguf.LlamaFileType.ALL_F32 if f32 else gguf.LlamaFileType.MOSTLY_F16
        model = cls(Path(folder), types, Path(path), eager=True, fuse_qkv=fuse_qkv)
        model.write()


def write_gpt_oss(folder, path, packed=None, f32=False):
    """As conversion/gpt_oss.py of llama.cpp writes it. packed: experts' matrices as [E, out, bytes of MXFP4 blocks]."""
    import gguf
    config = transformers.AutoConfig.from_pretrained(folder)
    rope, w = config.rope_parameters, gguf.GGUFWriter(str(path), "gpt-oss")
    w.add_context_length(config.max_position_embeddings)
    w.add_embedding_length(config.hidden_size)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_expert_feed_forward_length(config.intermediate_size)
    w.add_block_count(config.num_hidden_layers)
    w.add_head_count(config.num_attention_heads)
    w.add_head_count_kv(config.num_key_value_heads)
    w.add_key_length(config.head_dim)
    w.add_value_length(config.head_dim)
    w.add_expert_count(config.num_local_experts)
    w.add_expert_used_count(config.num_experts_per_tok)
    w.add_sliding_window(config.sliding_window)
    w.add_layer_norm_rms_eps(config.rms_norm_eps)
    w.add_rope_freq_base(rope["rope_theta"])
    w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    w.add_rope_scaling_factor(rope["factor"])
    w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(CHARACTERS + ['!"', "<s>", "</s>"])
    w.add_token_types([1] * (V - 2) + [3, 3])
    w.add_token_merges(['! "'])
    w.add_bos_token_id(V - 2)
    w.add_eos_token_id(V - 1)

    def add(name, values):
        plain = f32 or values.ndim == 1 or name.endswith("bias") or "gate_inp" in name
        w.add_tensor(name, np.ascontiguousarray(values.astype(np.float32 if plain else np.float16)))

    def add_experts(name, values):
        if values.dtype == np.uint8:
            w.add_tensor(name, np.ascontiguousarray(values), raw_dtype=gguf.GGMLQuantizationType.MXFP4)
        else:
            add(name, values)

    t = load_file(Path(folder) / "model.safetensors") if packed is None else packed
    for old, new in [("embed_tokens.weight", "token_embd.weight"), ("norm.weight", "output_norm.weight")]:
        add(new, t["model." + old])
    add("output.weight", t["lm_head.weight"])
    for i in range(config.num_hidden_layers):
        old, new = f"model.layers.{i}.", f"blk.{i}."
        for kind in ["q", "k", "v", "o"]:
            for end in [".weight", ".bias"]:
                add(f"{new}attn_{'output' if kind == 'o' else kind}{end}", t[f"{old}self_attn.{kind}_proj{end}"])
        add(new + "attn_sinks.weight", t[old + "self_attn.sinks"])
        add(new + "attn_norm.weight", t[old + "input_layernorm.weight"])
        add(new + "post_attention_norm.weight", t[old + "post_attention_layernorm.weight"])
        add(new + "ffn_gate_inp.weight", t[old + "mlp.router.weight"])
        add(new + "ffn_gate_inp.bias", t[old + "mlp.router.bias"])
        both, down = t[old + "mlp.experts.gate_up_proj"], t[old + "mlp.experts.down_proj"]
        if packed is None:
            both, down = both.swapaxes(1, 2), down.swapaxes(1, 2)
        add_experts(new + "ffn_gate_exps.weight", both[:, ::2])
        add_experts(new + "ffn_up_exps.weight", both[:, 1::2])
        add_experts(new + "ffn_down_exps.weight", down)
        bias = t[old + "mlp.experts.gate_up_proj_bias"]
        add(new + "ffn_gate_exps.bias", bias[:, ::2])
        add(new + "ffn_up_exps.bias", bias[:, 1::2])
        add(new + "ffn_down_exps.bias", t[old + "mlp.experts.down_proj_bias"])
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def forget_length(model):
    """Dynamic RoPE keeps the frequencies of the longest sequence since the last short one: those of each by itself."""
    for m in model.modules():
        if getattr(m, "rope_type", "") == "dynamic":
            m.inv_freq, m.max_seq_len_cached = m.original_inv_freq, m.original_max_seq_len


def sum_loss(model, ids):
    forget_length(model)
    z = model(input_ids=ids[None]).logits[0, :-1].float()
    return torch.nn.functional.cross_entropy(z, ids[1:], reduction="sum")


def untrained_rows(name, config, untrained):
    """Rows of B that stay zero: the keys of a fused query-key-value projection."""
    if untrained != "k" or "lora_B" not in name:
        return slice(0, 0)
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    kv = getattr(config, "num_key_value_heads", heads)
    return slice(heads * size, (heads + kv) * size)


class Expert(torch.nn.Module):
    def __init__(self, gate_up, down):
        super().__init__()
        for name, w in zip(("gate_proj", "up_proj", "down_proj"), (*gate_up.chunk(2), down)):
            linear = torch.nn.Linear(w.shape[1], w.shape[0], bias=False)
            linear.weight.data.copy_(w)
            setattr(self, name, linear)

    def forward(self, x):
        return self.down_proj(torch.nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Experts(torch.nn.ModuleList):
    """Routed experts as modules, as in transformers 4: PEFT gives each an adapter of its own. An expert without tokens is
    called too, so that its gradient is 0 and AdamW steps."""

    def forward(self, x, index, weights):
        out = torch.zeros_like(x)
        for e, expert in enumerate(self):
            token, choice = torch.where(index == e)
            out = out.index_add(0, token, expert(x[token]) * weights[token, choice, None])
        return out


def split_experts(model):
    for layer in model.model.layers:
        fused = layer.mlp.experts
        layer.mlp.experts = Experts(Expert(a, b) for a, b in zip(fused.gate_up_proj.data, fused.down_proj.data))
    model.config.model_type = "split"  # PEFT converts the names of experts of families that transformers 5 has fused


def golden(name, out, llama_cpp):
    cls, arguments, targets, untrained = FAMILIES[name]
    config = getattr(transformers, cls)(**arguments)
    out.mkdir(parents=True, exist_ok=True)
    lines = []
    with tempfile.TemporaryDirectory() as tmp:
        config._attn_implementation = "eager"
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).float().save_pretrained(tmp)
        weights = Path(tmp) / "model.safetensors"
        save_file(fill(load_file(weights), name, lines), weights, metadata={"format": "pt"})
        model = AutoModelForCausalLM.from_pretrained(tmp, dtype=torch.float32, attn_implementation="eager").eval()
        shutil.copy(Path(tmp) / "config.json", out / "config.json")
        shutil.copy(out.parent / "tokenizer.json", tmp)
        if name not in NO_GGUF:
            if name.startswith("gpt_oss"):
                write_gpt_oss(tmp, out / "base.gguf")
            else:
                write_gguf(llama_cpp, tmp, out / "base.gguf")
        if name in FUSED:
            write_gguf(llama_cpp, tmp, out / "fused.gguf", fuse_qkv=True)
    if any("experts." in t for t in targets):
        with torch.no_grad():
            before = model(input_ids=torch.arange(20)[None]).logits
            split_experts(model)
            assert torch.allclose(before, model(input_ids=torch.arange(20)[None]).logits, atol=1e-5)
    g = torch.Generator().manual_seed(3)
    samples = [torch.randint(0, V, (n,), generator=g) for n in LENGTHS]
    result = {"ids": torch.cat(samples).int(), "start": torch.tensor(np.cumsum([0] + LENGTHS)).int()}
    with torch.no_grad():
        forget_length(model)
        result["logits"] = model(input_ids=samples[0][None]).logits[0].clone()
    modules = [t.removeprefix("experts.") for t in targets]
    peft = get_peft_model(model, LoraConfig(r=R, lora_alpha=ALPHA, target_modules=modules, task_type="CAUSAL_LM"))
    trained = {n.replace(".default", ""): p for n, p in peft.named_parameters() if p.requires_grad}
    values = fill({n: p.detach().numpy() for n, p in trained.items()}, name, lines)
    for n, p in trained.items():
        p.data.copy_(torch.from_numpy(values[n]))
        p.data[untrained_rows(n, config, untrained)] = 0

    def batch_loss(a, b):
        return (sum_loss(peft, samples[a]) + sum_loss(peft, samples[b])) / (LENGTHS[a] + LENGTHS[b] - 2)

    def backward(a, b):
        loss = batch_loss(a, b)
        loss.backward()
        for n, p in trained.items():
            p.grad[untrained_rows(n, config, untrained)] = 0
        return loss.detach()

    with torch.no_grad():
        forget_length(model)
        result["logits_adapter"] = peft(input_ids=samples[0][None]).logits[0].clone()
    result["loss"] = backward(0, 1).reshape(1)
    for n, p in trained.items():
        result["grad." + n] = p.grad.clone()
        p.grad = None
    optimizer, losses = torch.optim.AdamW(trained.values(), **ADAMW), []
    for step in range(STEPS):
        losses.append(float(backward(2 * step % 4, (2 * step + 1) % 4)))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    result["step_loss"] = torch.tensor(losses)
    save_file({k: v.detach().numpy() for k, v in result.items()}, out / "golden.safetensors")
    (out / "tensors.txt").write_text("\n".join(lines) + "\n")
    (out / "case.txt").write_text(" ".join(targets) + (f" - {untrained}" if untrained else "") + "\n")
    print(name, "loss", float(result["loss"]), "steps", [round(x, 4) for x in losses], flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    write_tokenizer(Path(sys.argv[1]) / "tokenizer.json")
    for family in sys.argv[3:] or FAMILIES:
        golden(family, Path(sys.argv[1]) / family, sys.argv[2])
