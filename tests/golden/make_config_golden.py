"""Writes configs/: what real models ship as config.json (NAME.json), the same as transformers writes it today
(NAME.saved.json), golden.txt: what transformers computes with it, and angles.txt: some cosines and sines of its positions.
test_model_config_hf.c reads both files of each model and compares. Facts come from the configuration classes, the modules of an instance on the meta device, and the classes' own
rotary embeddings; nothing is taken from lorac.

Run with transformers 5.23 and torch: python make_config_golden.py
"""
import json
import os
import shutil

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, CONFIG_MAPPING

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "configs")
GEMMA_TYPES = ["sliding_attention"] * 5 + ["full_attention"]
SU_LONG = [1.0299999713897705, 1.0499999523162842, 1.0499999523162842, 1.0799999237060547, 1.2299998998641968,
           1.2299998998641968, 1.2999999523162842, 1.4499999284744263, 1.5999999046325684, 1.6499998569488525,
           1.8999998569488525, 2.859999895095825, 3.68999981880188, 5.419999599456787, 5.489999771118164,
           5.489999771118164, 9.09000015258789, 11.579999923706055, 15.65999984741211, 15.769999504089355,
           15.789999961853027, 18.360000610351562, 21.989999771118164, 23.079999923706055, 30.009998321533203,
           32.35000228881836, 32.590003967285156, 35.56000518798828, 39.95000457763672, 53.840003967285156,
           56.20000457763672, 57.95000457763672, 59.29000473022461, 59.77000427246094, 59.920005798339844,
           61.190006256103516, 61.96000671386719, 62.50000762939453, 63.3700065612793, 63.48000717163086,
           63.48000717163086, 63.66000747680664, 63.850006103515625, 64.08000946044922, 64.760009765625,
           64.80001068115234, 64.81001281738281, 64.81001281738281]
SU_SHORT = [1.05] * 3 + [1.1] * 3 + [1.2500000000000002] * 2 + [1.4000000000000004, 1.4500000000000004,
            1.5500000000000005, 1.8500000000000008, 1.9000000000000008] + [2.000000000000001] * 19 + [
            2.1000000000000005] * 2 + [2.2] + [2.3499999999999996] * 4 + [2.3999999999999995] * 2 + [
            2.6499999999999986, 2.6999999999999984, 2.8999999999999977, 2.9499999999999975] + [3.049999999999997] * 3
PHI4_LONG = [1, 1.118320672, 1.250641126, 1.398617824, 1.564103225, 1.74916897, 1.956131817, 2.187582649, 2.446418898,
             2.735880826, 3.059592084, 3.421605075, 3.826451687, 4.279200023, 4.785517845, 5.351743533, 5.984965424,
             6.693110555, 7.485043894, 8.370679318, 9.36110372, 10.4687158, 11.70738129, 13.09260651, 14.64173252,
             16.37415215, 18.31155283, 20.47818807, 22.90118105, 25.61086418, 28.64115884, 32.03, 32.1, 32.13, 32.23,
             32.6, 32.61, 32.64, 32.66, 32.7, 32.71, 32.93, 32.97, 33.28, 33.49, 33.5, 44.16, 47.77]


def shipped(arch, model_type, **keys):
    return {"architectures": [arch], "model_type": model_type, **keys}


SHIPPED = {
    "llama-2-7b": shipped(
        "LlamaForCausalLM", "llama", bos_token_id=1, eos_token_id=2, hidden_act="silu", hidden_size=4096,
        initializer_range=0.02, intermediate_size=11008, max_position_embeddings=4096, num_attention_heads=32,
        num_hidden_layers=32, num_key_value_heads=32, pretraining_tp=1, rms_norm_eps=1e-05, rope_scaling=None,
        tie_word_embeddings=False, torch_dtype="float16", use_cache=True, vocab_size=32000),
    "llama-3.2-1b": shipped(
        "LlamaForCausalLM", "llama", attention_bias=False, attention_dropout=0.0, bos_token_id=128000,
        eos_token_id=128001, head_dim=64, hidden_act="silu", hidden_size=2048, initializer_range=0.02,
        intermediate_size=8192, max_position_embeddings=131072, mlp_bias=False, num_attention_heads=32,
        num_hidden_layers=16, num_key_value_heads=8, pretraining_tp=1, rms_norm_eps=1e-05,
        rope_scaling={"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                      "original_max_position_embeddings": 8192, "rope_type": "llama3"},
        rope_theta=500000.0, tie_word_embeddings=True, torch_dtype="bfloat16", use_cache=True, vocab_size=128256),
    "smollm2-135m": shipped(
        "LlamaForCausalLM", "llama", attention_bias=False, attention_dropout=0.0, bos_token_id=1, eos_token_id=2,
        hidden_act="silu", hidden_size=576, initializer_range=0.041666666666666664, intermediate_size=1536,
        is_llama_config=True, max_position_embeddings=8192, mlp_bias=False, num_attention_heads=9,
        num_hidden_layers=30, num_key_value_heads=3, pad_token_id=2, pretraining_tp=1, rms_norm_eps=1e-05,
        rope_interleaved=False, rope_scaling=None, rope_theta=100000, tie_word_embeddings=True,
        torch_dtype="bfloat16", use_cache=True, vocab_size=49152),
    "llama-dynamic": shipped(  # Llama 2 with longer contexts by dynamic NTK scaling
        "LlamaForCausalLM", "llama", hidden_act="silu", hidden_size=4096, intermediate_size=11008,
        max_position_embeddings=4096, num_attention_heads=32, num_hidden_layers=32, num_key_value_heads=32,
        rms_norm_eps=1e-05, rope_scaling={"factor": 2.0, "type": "dynamic"}, rope_theta=10000.0,
        tie_word_embeddings=False, torch_dtype="float16", vocab_size=32000),
    "llama-linear": shipped(  # Llama 2 with longer contexts by linear interpolation, as the LongChat models have it
        "LlamaForCausalLM", "llama", hidden_act="silu", hidden_size=4096, intermediate_size=11008,
        max_position_embeddings=16384, num_attention_heads=32, num_hidden_layers=32, num_key_value_heads=32,
        rms_norm_eps=1e-05, rope_scaling={"factor": 8.0, "type": "linear"}, attention_bias=True, mlp_bias=True,
        tie_word_embeddings=False, vocab_size=32000),
    "mistral-7b-v0.1": shipped(
        "MistralForCausalLM", "mistral", bos_token_id=1, eos_token_id=2, hidden_act="silu", hidden_size=4096,
        initializer_range=0.02, intermediate_size=14336, max_position_embeddings=32768, num_attention_heads=32,
        num_hidden_layers=32, num_key_value_heads=8, rms_norm_eps=1e-05, rope_theta=10000.0, sliding_window=4096,
        tie_word_embeddings=False, torch_dtype="bfloat16", use_cache=True, vocab_size=32000),
    "mistral-7b-instruct-v0.3": shipped(
        "MistralForCausalLM", "mistral", attention_dropout=0.0, bos_token_id=1, eos_token_id=2, hidden_act="silu",
        hidden_size=4096, initializer_range=0.02, intermediate_size=14336, max_position_embeddings=32768,
        num_attention_heads=32, num_hidden_layers=32, num_key_value_heads=8, rms_norm_eps=1e-05,
        rope_theta=1000000.0, sliding_window=None, tie_word_embeddings=False, vocab_size=32768),
    "mistral-nemo-12b": shipped(  # heads of 128, not hidden / heads
        "MistralForCausalLM", "mistral", attention_dropout=0.0, bos_token_id=1, eos_token_id=2, head_dim=128,
        hidden_act="silu", hidden_size=5120, initializer_range=0.02, intermediate_size=14336,
        max_position_embeddings=131072, num_attention_heads=32, num_hidden_layers=40, num_key_value_heads=8,
        rms_norm_eps=1e-05, rope_theta=1000000.0, sliding_window=None, tie_word_embeddings=False, vocab_size=131072),
    "mixtral-8x7b": shipped(
        "MixtralForCausalLM", "mixtral", attention_dropout=0.0, bos_token_id=1, eos_token_id=2, hidden_act="silu",
        hidden_size=4096, initializer_range=0.02, intermediate_size=14336, max_position_embeddings=32768,
        num_attention_heads=32, num_experts_per_tok=2, num_hidden_layers=32, num_key_value_heads=8,
        num_local_experts=8, output_router_logits=False, rms_norm_eps=1e-05, rope_theta=1000000.0,
        router_aux_loss_coef=0.02, sliding_window=None, tie_word_embeddings=False, torch_dtype="bfloat16",
        use_cache=True, vocab_size=32000),
    "qwen2.5-0.5b": shipped(
        "Qwen2ForCausalLM", "qwen2", attention_dropout=0.0, bos_token_id=151643, eos_token_id=151643,
        hidden_act="silu", hidden_size=896, initializer_range=0.02, intermediate_size=4864,
        max_position_embeddings=32768, max_window_layers=24, num_attention_heads=14, num_hidden_layers=24,
        num_key_value_heads=2, rms_norm_eps=1e-06, rope_theta=1000000.0, sliding_window=32768,
        tie_word_embeddings=True, torch_dtype="bfloat16", use_cache=True, use_mrope=False, use_sliding_window=False,
        vocab_size=151936),
    "qwen2.5-7b-yarn": shipped(  # Qwen2.5-7B-Instruct with what its README adds for 128k tokens
        "Qwen2ForCausalLM", "qwen2", attention_dropout=0.0, bos_token_id=151643, eos_token_id=151645,
        hidden_act="silu", hidden_size=3584, initializer_range=0.02, intermediate_size=18944,
        max_position_embeddings=32768, max_window_layers=28, num_attention_heads=28, num_hidden_layers=28,
        num_key_value_heads=4, rms_norm_eps=1e-06, rope_theta=1000000.0, sliding_window=131072,
        rope_scaling={"factor": 4.0, "original_max_position_embeddings": 32768, "type": "yarn"},
        tie_word_embeddings=False, use_sliding_window=False, vocab_size=152064),
    "qwen2-window": shipped(  # Qwen2's upper layers with a window
        "Qwen2ForCausalLM", "qwen2", hidden_act="silu", hidden_size=3584, intermediate_size=18944,
        max_position_embeddings=131072, max_window_layers=20, num_attention_heads=28, num_hidden_layers=28,
        num_key_value_heads=4, rms_norm_eps=1e-06, rope_theta=1000000.0, sliding_window=65536,
        use_sliding_window=True, vocab_size=152064),
    "qwen3-0.6b": shipped(
        "Qwen3ForCausalLM", "qwen3", attention_bias=False, attention_dropout=0.0, bos_token_id=151643,
        eos_token_id=151645, head_dim=128, hidden_act="silu", hidden_size=1024, initializer_range=0.02,
        intermediate_size=3072, max_position_embeddings=40960, max_window_layers=28, num_attention_heads=16,
        num_hidden_layers=28, num_key_value_heads=8, rms_norm_eps=1e-06, rope_scaling=None, rope_theta=1000000,
        sliding_window=None, tie_word_embeddings=True, torch_dtype="bfloat16", use_cache=True,
        use_sliding_window=False, vocab_size=151936),
    "qwen3-30b-a3b": shipped(
        "Qwen3MoeForCausalLM", "qwen3_moe", attention_bias=False, attention_dropout=0.0, bos_token_id=151643,
        decoder_sparse_step=1, eos_token_id=151645, head_dim=128, hidden_act="silu", hidden_size=2048,
        initializer_range=0.02, intermediate_size=6144, max_position_embeddings=40960, max_window_layers=48,
        mlp_only_layers=[], moe_intermediate_size=768, norm_topk_prob=True, num_attention_heads=32, num_experts=128,
        num_experts_per_tok=8, num_hidden_layers=48, num_key_value_heads=4, output_router_logits=False,
        rms_norm_eps=1e-06, rope_scaling=None, rope_theta=1000000.0, router_aux_loss_coef=0.001, sliding_window=None,
        tie_word_embeddings=False, use_sliding_window=False, vocab_size=151936),
    "qwen1.5-moe-a2.7b": shipped(
        "Qwen2MoeForCausalLM", "qwen2_moe", attention_dropout=0.0, bos_token_id=151643, decoder_sparse_step=1,
        eos_token_id=151643, hidden_act="silu", hidden_size=2048, initializer_range=0.02, intermediate_size=5632,
        max_position_embeddings=8192, max_window_layers=21, moe_intermediate_size=1408, norm_topk_prob=False,
        num_attention_heads=16, num_experts=60, num_experts_per_tok=4, num_hidden_layers=24, num_key_value_heads=16,
        output_router_logits=False, rms_norm_eps=1e-06, rope_theta=1000000.0, router_aux_loss_coef=0.001,
        shared_expert_intermediate_size=5632, sliding_window=32768, tie_word_embeddings=False, torch_dtype="bfloat16",
        use_cache=True, use_sliding_window=False, vocab_size=151936),
    "qwen3-moe-mixed": shipped(  # some layers without experts, a window
        "Qwen3MoeForCausalLM", "qwen3_moe", decoder_sparse_step=2, mlp_only_layers=[3, 5], num_hidden_layers=8,
        num_experts=16, num_experts_per_tok=2, head_dim=64, use_sliding_window=True, sliding_window=1024,
        attention_bias=True),
    "smollm3-3b": shipped(  # every fourth layer without RoPE
        "SmolLM3ForCausalLM", "smollm3", attention_bias=False, attention_dropout=0.0, eos_token_id=128012,
        hidden_act="silu", hidden_size=2048, initializer_range=0.02, intermediate_size=11008,
        layer_types=["full_attention"] * 36, max_position_embeddings=65536, max_window_layers=28, mlp_bias=False,
        no_rope_layer_interval=4, no_rope_layers=[1, 1, 1, 0] * 9, num_attention_heads=16, num_hidden_layers=36,
        num_key_value_heads=4, pad_token_id=128004, pretraining_tp=2, rms_norm_eps=1e-06, rope_scaling=None,
        rope_theta=5000000.0, sliding_window=None, torch_dtype="bfloat16", use_cache=False, use_sliding_window=False,
        vocab_size=128256),
    "granite-3.3-2b": shipped(
        "GraniteForCausalLM", "granite", attention_bias=False, attention_dropout=0.0, attention_multiplier=0.015625,
        bos_token_id=0, embedding_multiplier=12.0, eos_token_id=0, hidden_act="silu", hidden_size=2048,
        initializer_range=0.02, intermediate_size=8192, logits_scaling=8.0, max_position_embeddings=131072,
        mlp_bias=False, num_attention_heads=32, num_hidden_layers=40, num_key_value_heads=8, pad_token_id=0,
        residual_multiplier=0.22, rms_norm_eps=1e-05, rope_scaling=None, rope_theta=10000000.0,
        tie_word_embeddings=True, torch_dtype="bfloat16", use_cache=True, vocab_size=49159),
    "olmo-2-7b": shipped(
        "Olmo2ForCausalLM", "olmo2", attention_bias=False, attention_dropout=0.0, eos_token_id=100257,
        hidden_act="silu", hidden_size=4096, initializer_range=0.02, intermediate_size=11008,
        max_position_embeddings=4096, num_attention_heads=32, num_hidden_layers=32, num_key_value_heads=32,
        pad_token_id=100277, rms_norm_eps=1e-06, rope_scaling=None, rope_theta=500000, tie_word_embeddings=False,
        torch_dtype="float32", use_cache=True, vocab_size=100352),
    "olmo-3-7b": shipped(  # YaRN in the layers without a window
        "Olmo3ForCausalLM", "olmo3", attention_bias=False, attention_dropout=0.0, eos_token_id=100257,
        hidden_act="silu", hidden_size=4096, initializer_range=0.02, intermediate_size=11008,
        layer_types=(["sliding_attention"] * 3 + ["full_attention"]) * 8, max_position_embeddings=65536,
        num_attention_heads=32, num_hidden_layers=32, num_key_value_heads=32, pad_token_id=100277, rms_norm_eps=1e-06,
        rope_scaling={"attention_factor": 1.2079441541679836, "beta_fast": 32.0, "beta_slow": 1.0, "factor": 8.0,
                      "original_max_position_embeddings": 8192, "rope_type": "yarn"},
        rope_theta=500000, sliding_window=4096, tie_word_embeddings=False, torch_dtype="bfloat16", vocab_size=100278),
    "gemma-2b": shipped(  # hidden_act is the approximation, whatever it says
        "GemmaForCausalLM", "gemma", attention_bias=False, attention_dropout=0.0, bos_token_id=2, eos_token_id=1,
        head_dim=256, hidden_act="gelu", hidden_activation=None, hidden_size=2048, initializer_range=0.02,
        intermediate_size=16384, max_position_embeddings=8192, num_attention_heads=8, num_hidden_layers=18,
        num_key_value_heads=1, pad_token_id=0, rms_norm_eps=1e-06, rope_scaling=None, rope_theta=10000.0,
        torch_dtype="bfloat16", use_cache=True, vocab_size=256000),
    "gemma-2-2b": shipped(
        "Gemma2ForCausalLM", "gemma2", attention_bias=False, attention_dropout=0.0, attn_logit_softcapping=50.0,
        bos_token_id=2, cache_implementation="hybrid", eos_token_id=1, final_logit_softcapping=30.0, head_dim=256,
        hidden_act="gelu_pytorch_tanh", hidden_activation="gelu_pytorch_tanh", hidden_size=2304,
        initializer_range=0.02, intermediate_size=9216, max_position_embeddings=8192, num_attention_heads=8,
        num_hidden_layers=26, num_key_value_heads=4, pad_token_id=0, query_pre_attn_scalar=256, rms_norm_eps=1e-06,
        rope_theta=10000.0, sliding_window=4096, torch_dtype="float32", use_cache=True, vocab_size=256000),
    "gemma-2-27b": shipped(
        "Gemma2ForCausalLM", "gemma2", attention_bias=False, attn_logit_softcapping=50.0,
        final_logit_softcapping=30.0, head_dim=128, hidden_act="gelu_pytorch_tanh",
        hidden_activation="gelu_pytorch_tanh", hidden_size=4608, intermediate_size=36864,
        max_position_embeddings=8192, num_attention_heads=32, num_hidden_layers=46, num_key_value_heads=16,
        query_pre_attn_scalar=144, rms_norm_eps=1e-06, rope_theta=10000.0, sliding_window=4096, vocab_size=256000),
    "gemma-3-270m": shipped(
        "Gemma3ForCausalLM", "gemma3_text", _sliding_window_pattern=6, attention_bias=False, attention_dropout=0.0,
        attn_logit_softcapping=None, bos_token_id=2, eos_token_id=1, final_logit_softcapping=None, head_dim=256,
        hidden_activation="gelu_pytorch_tanh", hidden_size=640, initializer_range=0.02, intermediate_size=2048,
        layer_types=GEMMA_TYPES * 3, max_position_embeddings=32768, num_attention_heads=4, num_hidden_layers=18,
        num_key_value_heads=1, pad_token_id=0, query_pre_attn_scalar=256, rms_norm_eps=1e-06,
        rope_local_base_freq=10000.0, rope_scaling=None, rope_theta=1000000.0, sliding_window=512,
        torch_dtype="bfloat16", use_bidirectional_attention=False, use_cache=True, vocab_size=262144),
    "gemma-3-1b": shipped(
        "Gemma3ForCausalLM", "gemma3_text", attention_bias=False, attention_dropout=0.0, attn_logit_softcapping=None,
        bos_token_id=2, cache_implementation="hybrid", eos_token_id=[1, 106], final_logit_softcapping=None,
        head_dim=256, hidden_activation="gelu_pytorch_tanh", hidden_size=1152, initializer_range=0.02,
        intermediate_size=6912, max_position_embeddings=32768, num_attention_heads=4, num_hidden_layers=26,
        num_key_value_heads=1, pad_token_id=0, query_pre_attn_scalar=256, rms_norm_eps=1e-06,
        rope_local_base_freq=10000, rope_scaling=None, rope_theta=1000000, sliding_window=512,
        sliding_window_pattern=6, torch_dtype="bfloat16", use_cache=True, vocab_size=262144),
    "gemma-3-4b": shipped(
        "Gemma3ForConditionalGeneration", "gemma3", boi_token_index=255999, eoi_token_index=256000,
        eos_token_id=[1, 106], image_token_index=262144, initializer_range=0.02, mm_tokens_per_image=256,
        text_config={"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text",
                     "num_hidden_layers": 34, "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
                     "sliding_window": 1024},
        torch_dtype="bfloat16",
        vision_config={"hidden_size": 1152, "image_size": 896, "intermediate_size": 4304,
                       "model_type": "siglip_vision_model", "num_attention_heads": 16, "num_hidden_layers": 27,
                       "patch_size": 14, "vision_use_head": False}),
    "gemma-3-27b": shipped(
        "Gemma3ForConditionalGeneration", "gemma3", mm_tokens_per_image=256,
        text_config={"head_dim": 128, "hidden_size": 5376, "intermediate_size": 21504, "model_type": "gemma3_text",
                     "num_attention_heads": 32, "num_hidden_layers": 62, "num_key_value_heads": 16,
                     "query_pre_attn_scalar": 168, "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
                     "sliding_window": 1024}),
    "phi-3-mini-4k": shipped(
        "Phi3ForCausalLM", "phi3", attention_bias=False, attention_dropout=0.0,
        auto_map={"AutoConfig": "configuration_phi3.Phi3Config", "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"},
        bos_token_id=1, embd_pdrop=0.0, eos_token_id=32000, hidden_act="silu", hidden_size=3072,
        initializer_range=0.02, intermediate_size=8192, max_position_embeddings=4096, num_attention_heads=32,
        num_hidden_layers=32, num_key_value_heads=32, original_max_position_embeddings=4096, pad_token_id=32000,
        resid_pdrop=0.0, rms_norm_eps=1e-05, rope_scaling=None, rope_theta=10000.0, sliding_window=2047,
        tie_word_embeddings=False, torch_dtype="bfloat16", use_cache=True, vocab_size=32064),
    "phi-3-128k": shipped(  # the language model of Phi-3-vision-128k-instruct
        "Phi3ForCausalLM", "phi3", attention_dropout=0.0, bos_token_id=1, eos_token_id=2, hidden_act="silu",
        hidden_size=3072, initializer_range=0.02, intermediate_size=8192, max_position_embeddings=131072,
        num_attention_heads=32, num_hidden_layers=32, num_key_value_heads=32, original_max_position_embeddings=4096,
        rms_norm_eps=1e-05, rope_scaling={"long_factor": SU_LONG, "short_factor": SU_SHORT, "type": "longrope"},
        rope_theta=10000.0, sliding_window=131072, tie_word_embeddings=False, torch_dtype="bfloat16", use_cache=True,
        vocab_size=32064),
    "phi-4": shipped(
        "Phi3ForCausalLM", "phi3", attention_bias=False, attention_dropout=0.0, bos_token_id=100257, embd_pdrop=0.0,
        eos_token_id=100265, hidden_act="silu", hidden_size=5120, initializer_range=0.02, intermediate_size=17920,
        max_position_embeddings=16384, num_attention_heads=40, num_hidden_layers=40, num_key_value_heads=10,
        original_max_position_embeddings=16384, pad_token_id=100349, resid_pdrop=0.0, rms_norm_eps=1e-05,
        rope_scaling=None, rope_theta=250000, sliding_window=None, tie_word_embeddings=False, torch_dtype="bfloat16",
        use_cache=True, vocab_size=100352),
    "phi-4-mini": shipped(
        "Phi3ForCausalLM", "phi3", attention_bias=False, attention_dropout=0.0, bos_token_id=199999, embd_pdrop=0.0,
        eos_token_id=199999, full_attn_mod=1, hidden_act="silu", hidden_size=3072, initializer_range=0.02,
        intermediate_size=8192, interpolate_factor=1, lm_head_bias=False, max_position_embeddings=131072,
        mlp_bias=False, num_attention_heads=24, num_hidden_layers=32, num_key_value_heads=8,
        original_max_position_embeddings=4096, pad_token_id=199999, partial_rotary_factor=0.75, resid_pdrop=0.0,
        rms_norm_eps=1e-05, rope_scaling={"long_factor": PHI4_LONG, "short_factor": [1.0] * 48, "type": "longrope"},
        rope_theta=10000.0, sliding_window=262144, tie_word_embeddings=True, torch_dtype="bfloat16", use_cache=True,
        vocab_size=200064),
    "starcoder2-3b": shipped(
        "Starcoder2ForCausalLM", "starcoder2", activation_function="gelu", attention_dropout=0.1,
        attention_softmax_in_fp32=True, bos_token_id=0, embedding_dropout=0.1, eos_token_id=0,
        hidden_act="gelu_pytorch_tanh", hidden_size=3072, initializer_range=0.018042, intermediate_size=12288,
        layer_norm_epsilon=1e-05, max_position_embeddings=16384, mlp_type="default", norm_epsilon=1e-05,
        norm_type="layer_norm", num_attention_heads=24, num_hidden_layers=30, num_key_value_heads=2,
        residual_dropout=0.1, rope_theta=999999.4420358813, scale_attention_softmax_in_fp32=True,
        scale_attn_weights=True, sliding_window=4096, torch_dtype="bfloat16", use_bias=True, use_cache=True,
        vocab_size=49152),
    "phi-2": shipped(
        "PhiForCausalLM", "phi", attention_dropout=0.0, bos_token_id=50256, embd_pdrop=0.0, eos_token_id=50256,
        hidden_act="gelu_new", hidden_size=2560, initializer_range=0.02, intermediate_size=10240, layer_norm_eps=1e-05,
        max_position_embeddings=2048, num_attention_heads=32, num_hidden_layers=32, num_key_value_heads=32,
        partial_rotary_factor=0.4, qk_layernorm=False, resid_pdrop=0.1, rope_scaling=None, rope_theta=10000.0,
        tie_word_embeddings=False, torch_dtype="float16", use_cache=True, vocab_size=51200),
    "gpt2": shipped(
        "GPT2LMHeadModel", "gpt2", activation_function="gelu_new", attn_pdrop=0.1, bos_token_id=50256, embd_pdrop=0.1,
        eos_token_id=50256, initializer_range=0.02, layer_norm_epsilon=1e-05, n_ctx=1024, n_embd=768, n_head=12,
        n_layer=12, n_positions=1024, resid_pdrop=0.1, summary_activation=None, summary_first_dropout=0.1,
        summary_proj_to_labels=True, summary_type="cls_index", summary_use_proj=True,
        task_specific_params={"text-generation": {"do_sample": True, "max_length": 50}}, vocab_size=50257),
    "glm-4-9b-chat-hf": shipped(
        "GlmForCausalLM", "glm", attention_bias=True, attention_dropout=0.0, eos_token_id=[151329, 151336, 151338],
        head_dim=128, hidden_act="silu", hidden_size=4096, initializer_range=0.02, intermediate_size=13696,
        max_position_embeddings=131072, num_attention_heads=32, num_hidden_layers=40, num_key_value_heads=2,
        pad_token_id=151329, partial_rotary_factor=0.5, rms_norm_eps=1.5625e-07, rope_theta=5000000.0,
        tie_word_embeddings=False, torch_dtype="bfloat16", use_cache=True, vocab_size=151552),
    "glm-4-9b-0414": shipped(
        "Glm4ForCausalLM", "glm4", attention_bias=True, attention_dropout=0.0, eos_token_id=[151329, 151336, 151338],
        head_dim=128, hidden_act="silu", hidden_size=4096, initializer_range=0.02, intermediate_size=13696,
        max_position_embeddings=32768, num_attention_heads=32, num_hidden_layers=40, num_key_value_heads=2,
        pad_token_id=151329, partial_rotary_factor=0.5, rms_norm_eps=1e-05, rope_theta=10000.0,
        tie_word_embeddings=False, torch_dtype="bfloat16", use_cache=True, vocab_size=151552),
    "command-r-v01": shipped(
        "CohereForCausalLM", "cohere", attention_bias=False, attention_dropout=0.0, bos_token_id=5, eos_token_id=255001,
        hidden_act="silu", hidden_size=8192, initializer_range=0.02, intermediate_size=22528, layer_norm_eps=1e-05,
        logit_scale=0.0625, max_position_embeddings=8192, model_max_length=131072, num_attention_heads=64,
        num_hidden_layers=40, num_key_value_heads=64, pad_token_id=0, pretraining_tp=1, rope_theta=8000000.0,
        torch_dtype="float16", use_cache=True, vocab_size=256000),
    "aya-expanse-8b": shipped(
        "CohereForCausalLM", "cohere", attention_bias=False, attention_dropout=0.0, bos_token_id=5, eos_token_id=255001,
        hidden_act="silu", hidden_size=4096, initializer_range=0.02, intermediate_size=14336, layer_norm_eps=1e-05,
        logit_scale=0.125, max_position_embeddings=8192, num_attention_heads=32, num_hidden_layers=32,
        num_key_value_heads=8, pad_token_id=0, rope_theta=10000, torch_dtype="float16", use_cache=True,
        use_qk_norm=False, vocab_size=256000),
    "command-r7b": shipped(
        "Cohere2ForCausalLM", "cohere2", attention_bias=False, attention_dropout=0.0, bos_token_id=5,
        cache_implementation="hybrid", eos_token_id=255001, head_dim=128, hidden_act="silu", hidden_size=4096,
        initializer_range=0.02, intermediate_size=14336, layer_norm_eps=1e-05, layer_switch=4, logit_scale=0.25,
        max_position_embeddings=8192, num_attention_heads=32, num_hidden_layers=32, num_key_value_heads=8,
        order_of_interleaved_layers="local_attn_first", pad_token_id=0, position_embedding_type="rope_gptj",
        rope_scaling=None, rope_theta=50000, rotary_pct=1.0, sliding_window=4096, sliding_window_pattern=4,
        torch_dtype="bfloat16", use_cache=True, use_embedding_sharing=True, use_gated_activation=True,
        use_parallel_block=True, use_parallel_embedding=False, vocab_size=256000),
    "falcon3-7b": shipped(
        "LlamaForCausalLM", "llama", attention_bias=False, attention_dropout=0.0, eos_token_id=11, head_dim=256,
        hidden_act="silu", hidden_size=3072, initializer_range=0.02, intermediate_size=23040,
        max_position_embeddings=32768, mlp_bias=False, num_attention_heads=12, num_hidden_layers=28,
        num_key_value_heads=4, pretraining_tp=1, rms_norm_eps=1e-06, rope_scaling=None, rope_theta=1000042,
        tie_word_embeddings=False, torch_dtype="bfloat16", use_cache=True, vocab_size=131072),
    "internlm3-8b": shipped(
        "InternLM3ForCausalLM", "internlm3", attention_dropout=0.0, bias=False, bos_token_id=1, eos_token_id=[2, 128131],
        head_dim=128, hidden_act="silu", hidden_size=4096, initializer_range=0.02, intermediate_size=10240,
        max_position_embeddings=32768, num_attention_heads=32, num_hidden_layers=48, num_key_value_heads=2,
        pad_token_id=2, qkv_bias=False, rms_norm_eps=1e-05, rope_scaling={"factor": 6.0, "rope_type": "dynamic"},
        rope_theta=50000000, tie_word_embeddings=False, torch_dtype="bfloat16", use_cache=True, vocab_size=128512),
    "ministral-3-3b": shipped(
        "Ministral3ForCausalLM", "ministral3", attention_dropout=0.0, bos_token_id=1, eos_token_id=2, head_dim=128,
        hidden_act="silu", hidden_size=3072, initializer_range=0.02, intermediate_size=9216,
        max_position_embeddings=262144, num_attention_heads=32, num_hidden_layers=26, num_key_value_heads=8,
        rms_norm_eps=1e-05, rope_parameters={
            "beta_fast": 32.0, "beta_slow": 1.0, "factor": 16.0, "llama_4_scaling_beta": 0.1, "mscale": 1.0,
            "mscale_all_dim": 1.0, "original_max_position_embeddings": 16384, "rope_theta": 1000000.0,
            "rope_type": "yarn", "type": "yarn"},
        sliding_window=None, tie_word_embeddings=True, use_cache=True, vocab_size=131072),
    "granite-4.0-micro": shipped(
        "GraniteMoeHybridForCausalLM", "granitemoehybrid", attention_bias=False, attention_dropout=0.0,
        attention_multiplier=0.015625, bos_token_id=100257, embedding_multiplier=12, eos_token_id=100257,
        hidden_act="silu", hidden_size=2560, init_method="mup", initializer_range=0.1, intermediate_size=8192,
        layer_types=["attention"] * 40, logits_scaling=10, mamba_chunk_size=256, mamba_conv_bias=True, mamba_d_conv=4,
        mamba_d_head=64, mamba_d_state=256, mamba_expand=2, mamba_n_groups=1, mamba_n_heads=80, mamba_proj_bias=False,
        max_position_embeddings=131072, normalization_function="rmsnorm", num_attention_heads=40, num_experts_per_tok=0,
        num_hidden_layers=40, num_key_value_heads=8, num_local_experts=0, output_router_logits=False,
        pad_token_id=100256, position_embedding_type="rope", residual_multiplier=0.22, rms_norm_eps=1e-05,
        rope_scaling=None, rope_theta=10000000, router_aux_loss_coef=0.01, shared_intermediate_size=8192,
        tie_word_embeddings=True, use_cache=True, vocab_size=100352),
    "ernie-4.5-0.3b": shipped(
        "Ernie4_5ForCausalLM", "ernie4_5", bos_token_id=1, compression_ratio=1.0, eos_token_id=2, head_dim=128,
        hidden_act="silu", hidden_size=1024, intermediate_size=3072, max_position_embeddings=131072,
        num_attention_heads=16, num_hidden_layers=18, num_key_value_heads=2, pad_token_id=0, rms_norm_eps=1e-05,
        rope_theta=500000, tie_word_embeddings=True, torch_dtype="bfloat16", use_bias=False, use_cache=False,
        vocab_size=103424),
    "gpt-oss-20b": shipped(
        "GptOssForCausalLM", "gpt_oss", attention_bias=True, attention_dropout=0.0, eos_token_id=200002,
        experts_per_token=4, head_dim=64, hidden_act="silu", hidden_size=2880, initial_context_length=4096,
        initializer_range=0.02, intermediate_size=2880, layer_types=["sliding_attention", "full_attention"] * 12,
        max_position_embeddings=131072, num_attention_heads=64, num_experts_per_tok=4, num_hidden_layers=24,
        num_key_value_heads=8, num_local_experts=32, output_router_logits=False, pad_token_id=199999,
        quantization_config=dict(modules_to_not_convert=["model.layers.*.self_attn", "model.layers.*.mlp.router",
                                                         "model.embed_tokens", "lm_head"], quant_method="mxfp4"),
        rms_norm_eps=1e-05, rope_scaling=dict(beta_fast=32.0, beta_slow=1.0, factor=32.0, rope_type="yarn",
                                              original_max_position_embeddings=4096, truncate=False),
        rope_theta=150000, router_aux_loss_coef=0.9, sliding_window=128, swiglu_limit=7.0, tie_word_embeddings=False,
        use_cache=True, vocab_size=201088),
    "lfm2-1.2b": shipped(
        "Lfm2ForCausalLM", "lfm2", block_auto_adjust_ff_dim=True, block_dim=2048, block_ff_dim=12288,
        block_ffn_dim_multiplier=1.0, block_multiple_of=256, block_norm_eps=1e-05, bos_token_id=1, conv_L_cache=3,
        conv_bias=False, conv_dim=2048, eos_token_id=7, full_attn_idxs=[2, 5, 8, 10, 12, 14], hidden_size=2048,
        initializer_range=0.02, max_position_embeddings=128000, norm_eps=1e-05, num_attention_heads=32, num_heads=32,
        num_hidden_layers=16, num_key_value_heads=8, pad_token_id=0, rope_theta=1000000.0, torch_dtype="bfloat16",
        use_cache=True, use_pos_enc=True, vocab_size=65536),
    "bert-base-uncased": shipped(
        "BertForMaskedLM", "bert", attention_probs_dropout_prob=0.1, gradient_checkpointing=False, hidden_act="gelu",
        hidden_dropout_prob=0.1, hidden_size=768, initializer_range=0.02, intermediate_size=3072,
        layer_norm_eps=1e-12, max_position_embeddings=512, num_attention_heads=12, num_hidden_layers=12,
        pad_token_id=0, position_embedding_type="absolute", type_vocab_size=2, use_cache=True, vocab_size=30522),
    "roberta-base": shipped(
        "RobertaForMaskedLM", "roberta", attention_probs_dropout_prob=0.1, bos_token_id=0, eos_token_id=2,
        hidden_act="gelu", hidden_dropout_prob=0.1, hidden_size=768, initializer_range=0.02, intermediate_size=3072,
        layer_norm_eps=1e-05, max_position_embeddings=514, num_attention_heads=12, num_hidden_layers=12, pad_token_id=1,
        type_vocab_size=1, vocab_size=50265),
    "distilbert-base-uncased": shipped(
        "DistilBertForMaskedLM", "distilbert", activation="gelu", attention_dropout=0.1, dim=768, dropout=0.1,
        hidden_dim=3072, initializer_range=0.02, max_position_embeddings=512, n_heads=12, n_layers=6, pad_token_id=0,
        qa_dropout=0.1, seq_classif_dropout=0.2, sinusoidal_pos_embds=False, tie_weights_=True, vocab_size=30522),
    "modernbert-base": shipped(
        "ModernBertForMaskedLM", "modernbert", attention_bias=False, attention_dropout=0.0, bos_token_id=50281,
        classifier_activation="gelu", classifier_bias=False, classifier_dropout=0.0, classifier_pooling="mean",
        cls_token_id=50281, decoder_bias=True, deterministic_flash_attn=False, embedding_dropout=0.0, eos_token_id=50282,
        global_attn_every_n_layers=3, global_rope_theta=160000.0, gradient_checkpointing=False, hidden_activation="gelu",
        hidden_size=768, initializer_cutoff_factor=2.0, initializer_range=0.02, intermediate_size=1152,
        layer_norm_eps=1e-05, local_attention=128, local_rope_theta=10000.0, max_position_embeddings=8192, mlp_bias=False,
        mlp_dropout=0.0, norm_bias=False, norm_eps=1e-05, num_attention_heads=12, num_hidden_layers=22, pad_token_id=50283,
        position_embedding_type="absolute", sep_token_id=50282, tie_word_embeddings=True, torch_dtype="float32",
        vocab_size=50368),
}
ENCODERS = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert")
for name in ["llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gemma2", "gemma3_text", "phi3", "gpt2",
             "bert", "roberta", "xlm-roberta", "camembert", "distilbert", "modernbert", "smollm3", "granite", "gemma", "olmo2", "olmo3", "qwen2_moe",
             "starcoder2", "phi", "glm", "glm4", "cohere", "cohere2", "internlm3", "ernie4_5",
             "helium", "gpt_oss", "lfm2"]:
    SHIPPED["default-" + name] = {"model_type": name}  # every default of the class

ACTIVATIONS = {"silu": "silu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh", "gelu": "gelu"}
GGUF = {"mistral": "llama", "mixtral": "llama", "qwen3_moe": "qwen3moe", "qwen2_moe": "qwen2moe", "gemma3_text": "gemma3", "gemma3": "gemma3", "olmo3": "olmo2", "phi": "phi2", "glm": "chatglm",
        "cohere": "command-r", "internlm3": "llama", "ministral3": "mistral3", "granitemoehybrid": "none", "helium": "none", "gpt_oss": "gpt-oss",
        "modernbert": "none", **{name: "none" for name in ENCODERS}}


def number(x):
    return "%.9g" % np.float32(x)


def rope_line(parameters, config):
    """The parameters that the type uses, as transformers reads them."""
    kind = parameters["rope_type"]
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    partial = parameters.get("partial_rotary_factor", 1.0) if config.model_type in ("phi3", "phi", "glm", "glm4") else 1.0
    words = [kind, "base", number(parameters["rope_theta"]), "rotated", str(int(head * partial))]
    original = parameters.get("original_max_position_embeddings")
    if kind == "dynamic":
        words += ["factor", number(parameters["factor"]), "original", str(config.max_position_embeddings)]
    elif kind == "linear":
        words += ["factor", number(parameters["factor"])]
    elif kind == "llama3":
        words += ["factor", number(parameters["factor"]), "original", str(original), "low",
                  number(parameters["low_freq_factor"]), "high", number(parameters["high_freq_factor"])]
    elif kind == "yarn":
        words += ["factor", number(parameters["factor"]), "original", str(original), "fast",
                  number(parameters.get("beta_fast") or 32), "slow", number(parameters.get("beta_slow") or 1)]
    elif kind == "longrope":
        factor = parameters.get("factor") or config.max_position_embeddings / original
        words += ["factor", number(factor), "original", str(original), "short",
                  number(np.sum(np.float32(parameters["short_factor"]), dtype=np.float64)), "long",
                  number(np.sum(np.float32(parameters["long_factor"]), dtype=np.float64))]
    return " ".join(words)


def facts(config):
    with torch.device("meta"):
        model = AutoModel.from_config(config) if config.model_type in (*ENCODERS, "modernbert") else AutoModelForCausalLM.from_config(config)
    text = config.get_text_config()
    body = model.base_model
    body = getattr(body, "language_model", body)
    kind = text.model_type
    layers = (body.h if kind == "gpt2" else body.transformer.layer if kind == "distilbert" else body.encoder.layer
              if kind in ENCODERS else body.layers)
    convs = ["c" if t == "conv" else "a" for t in getattr(text, "layer_types", None) or []]
    modules = dict(layers[convs.index("a") if "c" in convs else 0].named_modules())
    find = lambda *names: next(modules[n] for n in names if n in modules)
    q = find("self_attn.q_proj", "self_attn.qkv_proj", "attn.c_attn", "attention.self.query", "attention.q_lin", "attn.Wqkv")
    o = find("self_attn.o_proj", "self_attn.out_proj", "self_attn.dense", "attn.c_proj", "attention.output.dense", "attention.out_lin", "attn.Wo")
    sparse = [hasattr(layer, "mlp") and hasattr(layer.mlp, "experts") for layer in layers]
    dense_up = [m for layer in layers for n, m in layer.named_modules()
                if n in ("mlp.up_proj", "mlp.gate_up_proj", "shared_mlp.input_linear", "mlp.c_fc", "mlp.fc1", "intermediate.dense", "ffn.lin1", "mlp.Wi", "feed_forward.w1")]
    heads = text.num_attention_heads
    head = getattr(text, "head_dim", None) or text.hidden_size // heads
    attention = find("self_attn", "attn", "attention.self", "attention")
    scale = getattr(attention, "scaling", head**-0.5)
    window = getattr(text, "sliding_window", None) or 0
    if kind == "modernbert":
        window += 1  # the farthest key that is seen is `sliding_window` away
    if kind == "smollm3" and not text.use_sliding_window:
        window = 0
    types = getattr(text, "layer_types", None)
    if types is None:
        types = ["sliding_attention" if window else "full_attention"] * text.num_hidden_layers
    gated = kind not in ("gpt2", "starcoder2", "phi", *ENCODERS)
    rotated = kind not in ("gpt2", *ENCODERS)
    act = next(getattr(text, k) for k in ("hidden_activation", "hidden_act", "activation_function", "activation") if getattr(text, k, None)) if kind != "lfm2" else "silu"
    ffn = getattr(text, "intermediate_size", None) or getattr(text, "n_inner", None) or getattr(text, "hidden_dim", None) or 4 * text.hidden_size
    ffn = text.shared_intermediate_size if kind == "granitemoehybrid" else dense_up[0].out_features if kind == "lfm2" else ffn
    experts = (getattr(text, "num_experts", None) or text.num_local_experts) if any(sparse) else 0
    yield "architecture", GGUF.get(text.model_type, text.model_type)
    context = text.max_position_embeddings - (text.pad_token_id + 1 if kind in ENCODERS[1:4] else 0)
    if (getattr(text, "rope_parameters", None) or {}).get("rope_type") == "dynamic":
        context = int(context * text.rope_parameters["factor"])  # transformers sets no limit
    if kind == "cohere":
        context = getattr(text, "model_max_length", context)  # likewise; vLLM and llama.cpp's converter read this one
    yield "sizes", "layers %d hidden %d heads %d kv %d head %d ffn %d vocab %d context %d" % (
        text.num_hidden_layers, text.hidden_size, heads, getattr(text, "num_key_value_heads", heads), head, ffn,
        text.vocab_size, context)
    yield "scales", "eps %s embed %s query %s attn_cap %s final_cap %s" % (
        number(layers[0].sa_layer_norm.eps if kind == "distilbert" else
               next(getattr(text, k) for k in ("rms_norm_eps", "norm_eps", "norm_epsilon", "layer_norm_epsilon", "layer_norm_eps") if hasattr(text, k))),
        number(getattr(getattr(body, "embed_tokens", None), "scalar_embed_scale", getattr(body, "embedding_multiplier", 1))),
        number(scale),
        number((getattr(text, "attn_logit_softcapping", None) or 0) if kind == "gemma2" else 0),
        number(getattr(text, "final_logit_softcapping", None) or 0))
    if kind in ("granite", "granitemoehybrid"):
        yield "factors", "branch %s logits %s" % (number(layers[0].residual_multiplier), number(1 / text.logits_scaling))
    if kind in ("cohere", "cohere2"):
        yield "factors", "branch 1 logits %s" % number(model.logit_scale)
    if not all(getattr(layer.self_attn, "use_rope", True) for layer in layers if hasattr(layer, "self_attn")):
        yield "rotated", "".join("r" if layer.self_attn.use_rope else "n" for layer in layers)
    if kind == "cohere2":
        yield "rotated", "".join("r" if layer.self_attn.sliding_window is not None else "n" for layer in layers)
    yield "window", "%d %s" % (window, "".join("s" if t == "sliding_attention" else "f" for t in types))
    if "c" in convs:
        yield "conv", "%d %s" % (text.conv_L_cache, "".join(convs))
    yield "head", "tied" if config.tie_word_embeddings else "own"
    yield "mlp", ("glu " if gated else "plain ") + ("clamped" if kind == "gpt_oss" else ACTIVATIONS[act])
    yield "bias", "qkv %d o %d mlp %d" % (q.bias is not None, o.bias is not None,
                                          any(m.bias is not None for m in dense_up))
    yield "experts", "%d used %d ffn %d renormalise %d dense %s" % (
        experts, text.num_experts_per_tok if experts else 0,
        getattr(text, "moe_intermediate_size", ffn) if experts else 0,
        getattr(text, "norm_topk_prob", True) if experts else 0,
        "".join("e" if s else "d" for s in sparse) if experts else "")
    if kind == "qwen2_moe":
        yield "shared", text.shared_expert_intermediate_size
    yield "positions", "%d types %d" % (text.max_position_embeddings if not rotated else 0,
                                        getattr(text, "type_vocab_size", 0) if kind in ENCODERS else 0)
    if not rotated:
        yield "rope", "none"
    elif kind in ("gemma3_text", "olmo3", "modernbert"):
        yield "rope", rope_line(text.rope_parameters["full_attention"], text)
        yield "rope_local", rope_line(text.rope_parameters["sliding_attention"], text)
    else:
        yield "rope", rope_line(text.rope_parameters, text)


ROW, LENGTHS = 100, [4096, 8192]  # 8192 is beyond the original context of the LongRoPE models


def angles(config):
    """(kind, positions, cosines and sines of some pairs of dimensions at position ROW of so long a sequence)"""
    text = config.get_text_config()
    if text.model_type in ("gpt2", *ENCODERS):
        return
    with torch.device("meta"):
        cls = AutoModel if text.model_type == "modernbert" else AutoModelForCausalLM
        body = cls.from_config(config).base_model
    rotary = type(getattr(body, "language_model", body).rotary_emb)(config=text)
    kinds = ["full_attention", "sliding_attention"] if text.model_type in ("gemma3_text", "olmo3", "modernbert") else [None]
    for kind in kinds:
        for length in LENGTHS:
            layer = {"layer_type": kind} if kind else {}
            cos, sin = rotary(torch.zeros(1, 1), torch.arange(length)[None], **layer)
            if text.model_type in ("cohere", "cohere2"):  # each value twice in a row there
                cos, sin = (torch.cat((t[..., ::2], t[..., ::2]), -1) for t in (cos, sin))
            if text.model_type == "gpt_oss":  # each value once there
                cos, sin = torch.cat((cos, cos), -1), torch.cat((sin, sin), -1)
            pairs = cos.shape[-1] // 2
            picked = [0, pairs // 4, pairs // 2, pairs - 1]
            values = [t[0, ROW, i].item() for t in (cos, sin) for i in picked]
            yield "rope_local" if kind == "sliding_attention" else "rope", length, values


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    os.makedirs(HERE)
    golden, turned = ["# made by make_config_golden.py\n"], []
    for name, raw in SHIPPED.items():
        with open(os.path.join(HERE, name + ".json"), "w") as f:
            json.dump(raw, f, indent=1)
        config = CONFIG_MAPPING[raw["model_type"]].from_dict(dict(raw))
        saved = config.to_dict()
        saved.pop("vision_config", None)
        with open(os.path.join(HERE, name + ".saved.json"), "w") as f:
            json.dump(saved, f, separators=(",", ":"))
        golden.append("model %s\n" % name)
        golden += ["%s %s\n" % line for line in facts(config)]
        for kind, length, values in angles(config):
            turned.append("%s %s %d %s\n" % (name, kind, length, " ".join("%.9g" % v for v in values)))
    with open(os.path.join(HERE, "golden.txt"), "w") as f:
        f.writelines(line.rstrip() + "\n" for line in golden)
    with open(os.path.join(HERE, "angles.txt"), "w") as f:
        f.writelines(turned)


main()
