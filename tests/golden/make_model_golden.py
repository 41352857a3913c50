#!/usr/bin/env python3
"""Writes tests/golden/model/: a tiny random llama as GGUF, a PEFT adapter over it with all seven projections, and what
transformers and PEFT compute with them; and what transformers computes with SmolLM2.

usage: make_model_golden.py OUT_DIR [SMOLLM2_HF_DIR]
Needs torch, transformers, peft, gguf, safetensors. SMOLLM2_HF_DIR: the dequantised SmolLM2-135M-Instruct Q4_1 file as
a Hugging Face folder (float32); without it smollm2.safetensors is left as it is.

  base.gguf            F16 matrices, own output.weight, grouped heads, permuted q/k rows, rope_freqs (llama3 scaling)
  adapter/             r 4, alpha 6
  golden.safetensors   ids, start            samples one behind the other, and where each begins
                       logits.N, logits_adapter.N                  of sample N, without and with the adapter
                       loss                  mean token loss of samples 0 and 1 with the adapter
                       grad.<tensor>         its gradient by every adapter matrix
                       step_loss             of STEPS AdamW steps, each on two samples
                       final.<tensor>        the adapter after them
  pissa/golden.safetensors, olora/...      ids, start, step_loss as above, of r 4 with init_lora_weights pissa and olora;
                       logits_adapter.1      after the steps, the same with what PEFT converts to plain LoRA
  dora/adapter/, dora/golden.safetensors   the same with use_dora, r 2; logits_adapter.1 only, no final
  smollm2.safetensors  ids.N, columns, logits.N [T, columns], logsumexp.N [T], argmax.N [T]
"""
import math
import os
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import gguf
import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

out = sys.argv[1]
torch.set_num_threads(1)
torch.manual_seed(1)

C, H, KV, D, F, L, V, CONTEXT = 48, 6, 2, 8, 80, 2, 261, 64
ROPE = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=32)
LENGTHS, STEPS = [24, 9, 17, 31], 20
ADAMW = dict(lr=1e-2, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1)
MAX_GRAD_NORM = 0.5


def build_model():
    config = LlamaConfig(vocab_size=V, hidden_size=C, intermediate_size=F, num_hidden_layers=L, num_attention_heads=H,
                         num_key_value_heads=KV, head_dim=D, max_position_embeddings=CONTEXT, rms_norm_eps=1e-5,
                         tie_word_embeddings=False, rope_parameters=dict(ROPE, rope_theta=10000.0))
    model = LlamaForCausalLM(config).float().eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(1 + 0.2 * torch.randn_like(p) if p.dim() == 1 else 0.15 * torch.randn_like(p))
            if p.dim() == 2:
                p.copy_(p.half().float())  # what the file holds
    return model


def permute(w, heads):  # llama.cpp, conversion/llama.py
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def rope_factors():  # llama.cpp, conversion/llama.py
    freqs = 1.0 / (10000.0 ** (np.arange(0, D, 2, dtype=np.float64) / D))
    old = ROPE["original_max_position_embeddings"]
    low, high = old / ROPE["low_freq_factor"], old / ROPE["high_freq_factor"]
    factors = []
    for f in freqs:
        wavelen = 2 * math.pi / f
        if wavelen < high:
            factors.append(1)
        elif wavelen > low:
            factors.append(ROPE["factor"])
        else:
            smooth = (old / wavelen - ROPE["low_freq_factor"]) / (ROPE["high_freq_factor"] - ROPE["low_freq_factor"])
            factors.append(1 / ((1 - smooth) / ROPE["factor"] + smooth))
    return np.array(factors, dtype=np.float32)


def write_gguf(model, path):
    w = gguf.GGUFWriter(path, "llama")
    w.add_name("tiny golden")
    w.add_block_count(L), w.add_context_length(CONTEXT), w.add_embedding_length(C), w.add_feed_forward_length(F)
    w.add_head_count(H), w.add_head_count_kv(KV), w.add_rope_dimension_count(D), w.add_rope_freq_base(10000.0)
    w.add_layer_norm_rms_eps(1e-5), w.add_vocab_size(V), w.add_key_length(D), w.add_value_length(D)
    keep = set(range(33, 127)) | set(range(0xA1, 0xAD)) | set(range(0xAE, 0x100))
    other = iter(range(0x100, 0x200))
    w.add_tokenizer_model("gpt2"), w.add_tokenizer_pre("smollm")
    w.add_token_list([chr(b if b in keep else next(other)) for b in range(256)]
                     + ["he", "in", "<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    w.add_token_types([1] * 258 + [3] * 3), w.add_token_merges(["h e", "i n"])
    w.add_bos_token_id(259), w.add_eos_token_id(260)
    names = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "q_proj": "attn_q",
             "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output", "gate_proj": "ffn_gate",
             "up_proj": "ffn_up", "down_proj": "ffn_down"}
    w.add_tensor("rope_freqs.weight", rope_factors())
    for name, p in model.state_dict().items():
        part, a = name.split("."), p.numpy()
        if part[-2] in ("q_proj", "k_proj"):
            a = permute(a, H if part[-2] == "q_proj" else KV)
        top = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}.get(part[-2])
        w.add_tensor(f"{top}.weight" if top else f"blk.{part[2]}.{names[part[-2]]}.weight",
                     np.ascontiguousarray(a.astype(np.float16 if a.ndim == 2 else np.float32)))
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()


def build_adapter(model, path, **options):
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    peft = get_peft_model(model, LoraConfig(lora_alpha=6, target_modules=targets, task_type="CAUSAL_LM", **options))
    with torch.no_grad():
        for name, p in peft.named_parameters():
            if "lora_B" in name:
                p.copy_(0.1 * torch.randn_like(p))
            if "magnitude" in name:
                p.copy_(p * (1 + 0.2 * torch.randn_like(p)))
    peft.save_pretrained(path)
    return peft


def sum_loss(model, ids):
    z = model(input_ids=ids[None]).logits[0, :-1].float()
    return torch.nn.functional.cross_entropy(z, ids[1:], reduction="sum")


def saved_name(name):
    return name.replace(".default", "").replace("magnitude_vector.weight", "magnitude_vector")


def golden(model, path, small=False, **options):
    samples = [torch.randint(0, V, (n,)) for n in LENGTHS]
    result = {"ids": torch.cat(samples).int(),
              "start": torch.tensor(np.cumsum([0] + LENGTHS)).int()}
    with torch.no_grad():
        for i, ids in [] if small else enumerate(samples):
            result[f"logits.{i}"] = model(input_ids=ids[None]).logits[0].clone()
    peft = build_adapter(model, os.path.join(path, "adapter"), **options)
    with torch.no_grad():
        for i, ids in [(1, samples[1])] if small else enumerate(samples):
            result[f"logits_adapter.{i}"] = peft(input_ids=ids[None]).logits[0].clone()
    trained = {n: p for n, p in peft.named_parameters() if p.requires_grad}

    def batch_loss(a, b):
        return (sum_loss(peft, samples[a]) + sum_loss(peft, samples[b])) / (LENGTHS[a] + LENGTHS[b] - 2)

    loss = batch_loss(0, 1)
    loss.backward()
    result["loss"] = loss.detach().reshape(1)
    for n, p in trained.items():
        result["grad." + saved_name(n)] = p.grad.clone()
        p.grad = None
    optimizer, losses = torch.optim.AdamW(trained.values(), **ADAMW), []
    for step in range(STEPS):
        loss = batch_loss(2 * step % 4, (2 * step + 1) % 4)
        loss.backward()
        losses.append(float(loss.detach()))
        torch.nn.utils.clip_grad_norm_(trained.values(), MAX_GRAD_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    result["step_loss"] = torch.tensor(losses)
    for n, p in [] if small else trained.items():
        result["final." + saved_name(n)] = p.detach().clone()
    save_file(result, os.path.join(path, "golden.safetensors"))


def step_losses(peft, samples):
    trained = [p for p in peft.parameters() if p.requires_grad]
    optimizer, losses = torch.optim.AdamW(trained, **ADAMW), []
    for step in range(STEPS):
        a, b = 2 * step % 4, (2 * step + 1) % 4
        loss = (sum_loss(peft, samples[a]) + sum_loss(peft, samples[b])) / (LENGTHS[a] + LENGTHS[b] - 2)
        loss.backward()
        losses.append(float(loss.detach()))
        torch.nn.utils.clip_grad_norm_(trained, MAX_GRAD_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return torch.tensor(losses)


def golden_start(path, init):
    os.makedirs(path, exist_ok=True)
    torch.manual_seed(3)
    samples = [torch.randint(0, V, (n,)) for n in LENGTHS]
    torch.manual_seed(1)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    peft = get_peft_model(build_model(), LoraConfig(r=4, lora_alpha=6, target_modules=targets, task_type="CAUSAL_LM",
                                                    init_lora_weights=init))
    with tempfile.TemporaryDirectory() as folder:
        start, plain = os.path.join(folder, "start"), os.path.join(folder, "plain")
        peft.peft_config["default"].init_lora_weights = True
        peft.save_pretrained(start)
        losses = step_losses(peft, samples)
        with torch.no_grad():
            logits = peft(input_ids=samples[1][None]).logits[0].clone()
        peft.save_pretrained(plain, path_initial_model_for_weight_conversion=start)
        torch.manual_seed(1)
        converted = PeftModel.from_pretrained(build_model(), plain)
        with torch.no_grad():
            difference = (converted(input_ids=samples[1][None]).logits[0] - logits).abs().max()
        assert difference < 1e-5, difference
    save_file({"ids": torch.cat(samples).int(), "start": torch.tensor(np.cumsum([0] + LENGTHS)).int(),
               "step_loss": losses, "logits_adapter.1": logits}, os.path.join(path, "golden.safetensors"))


def smollm2(folder, path):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    g = torch.Generator().manual_seed(2)
    vocab, columns = model.config.vocab_size, 160
    chosen = torch.randperm(vocab, generator=g)[:columns].sort().values
    text = [504, 3575, 282, 4649, 314, 7042, 30, 378, 3575, 282, 8063, 314, 7083, 30]  # plain English
    sequences = [torch.tensor(text), torch.randint(0, vocab, (48,), generator=g),
                 torch.randint(0, vocab, (96,), generator=g)]
    result = {"columns": chosen.int()}
    for i, ids in enumerate(sequences):
        with torch.no_grad():
            z = model(input_ids=ids[None]).logits[0]
        result[f"ids.{i}"] = ids.int()
        result[f"logits.{i}"] = z[:, chosen].clone()
        result[f"logsumexp.{i}"] = z.double().logsumexp(-1).float()
        result[f"argmax.{i}"] = z.argmax(-1).int()
    save_file(result, os.path.join(path, "smollm2.safetensors"))


os.makedirs(os.path.join(out, "dora"), exist_ok=True)
base = build_model()
write_gguf(base, os.path.join(out, "base.gguf"))
golden(base, out, r=4)
torch.manual_seed(1)
golden(build_model(), os.path.join(out, "dora"), small=True, r=2, use_dora=True)
for init in ("pissa", "olora"):
    golden_start(os.path.join(out, init), init)
if len(sys.argv) > 2:
    smollm2(sys.argv[2], out)
