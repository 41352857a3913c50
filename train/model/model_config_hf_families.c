// model_config_hf_families: one row for each model_type. The defaults are those of the classes in
// transformers/models/NAME/configuration_NAME.py; tests/golden/make_config_golden.py compares them.
#include "model_config_hf_internal.h"

#include <string.h>

#define SIZES(VOCAB, HIDDEN, FFN, LAYERS, HEADS, CONTEXT)                                                              \
    .vocab = (VOCAB), .hidden = (HIDDEN), .ffn = (FFN), .layers = (LAYERS), .heads = (HEADS), .context = (CONTEXT)
#define RMS(EPS) .eps_key = "rms_norm_eps", .eps = (EPS)
#define LAYER_NORM .eps_key = "layer_norm_eps", .eps = 1e-5
#define SILU .activation_key = "hidden_act", .activation = "silu"
#define GELU_TANH .activation_key = "hidden_activation", .activation = "gelu_pytorch_tanh"
#define ATTENTION_BIAS_KEY .qkv_bias = BIAS_KEY, .o_bias = BIAS_KEY
#define ROBERTA                                                                                                        \
    .noises = {{"attention_probs_dropout_prob", 0.1}, {"hidden_dropout_prob", 0.1}}, .eps_key = "layer_norm_eps",      \
    .eps = 1e-12, .activation_key = "hidden_act", .activation = "gelu", .tied_head = true, BIAS_EVERYWHERE
#define BIAS_EVERYWHERE .qkv_bias = BIAS_ALWAYS, .o_bias = BIAS_ALWAYS, .mlp_bias = BIAS_ALWAYS

// clang-format off
static const HfFamily families[] = {
    {
        .model_type = "llama", SIZES(32000, 4096, 11008, 32, 32, 2048), RMS(1e-6), SILU,
        ATTENTION_BIAS_KEY, .mlp_bias = BIAS_KEY, .rope = {.base = 1e4f},
    },
    {
        .model_type = "internlm3", SIZES(128512, 4096, 10240, 48, 32, 32768), .kv_heads = 2, .head_size = 128,
        RMS(1e-5), SILU, ATTENTION_BIAS_KEY, .mlp_bias = BIAS_KEY, .bias_aliases = true,
        .rope = {.base = 1e4f},
    },
    {
        .model_type = "ministral3", SIZES(131072, 4096, 14336, 34, 32, 262144), .kv_heads = 8, .head_size = 128,
        RMS(1e-5), SILU, .window_rule = WINDOW_ALL, .rope = {.base = 1e6f, .growth = true},
    },
    {
        .model_type = "mistral", SIZES(32000, 4096, 14336, 32, 32, 131072), .kv_heads = 8, RMS(1e-6), SILU,
        .window_rule = WINDOW_ALL, .window = 4096, .rope = {.base = 1e4f},
    },
    {
        .model_type = "mixtral", SIZES(32000, 4096, 14336, 32, 32, 131072), .kv_heads = 8, RMS(1e-5), SILU,
        .window_rule = WINDOW_ALL, .rope = {.base = 1e6f},
        .noises = {{"router_jitter_noise", 0}},
        .experts = 8, .experts_used = 2, .experts_key = "num_local_experts", .experts_alias = "num_experts",
    },
    {
        .model_type = "smollm3", SIZES(128256, 2048, 11008, 36, 16, 32768), .kv_heads = 4, RMS(1e-6), SILU,
        .tied_head = true, ATTENTION_BIAS_KEY, .mlp_bias = BIAS_KEY, .window_rule = WINDOW_UNROTATED,
        .window_switch = true, .rope = {.base = 2e6f},
    },
    {
        .model_type = "granite", SIZES(32000, 4096, 11008, 32, 32, 2048), RMS(1e-6), SILU,
        ATTENTION_BIAS_KEY, .mlp_bias = BIAS_KEY, .rope = {.base = 1e4f},
    },
    {
        .model_type = "granitemoehybrid", SIZES(32000, 4096, 1024, 32, 32, 2048), .ffn_key = "shared_intermediate_size",
        RMS(1e-6), SILU, ATTENTION_BIAS_KEY, .attention_alone = true, .rope = {.base = 1e4f},
    },
    {
        .model_type = "qwen2", SIZES(151936, 4096, 22016, 32, 32, 32768), .kv_heads = 32, RMS(1e-6), SILU,
        .qkv_bias = BIAS_ALWAYS, .window_rule = WINDOW_UPPER, .window = 4096, .window_switch = true,
        .rope = {.base = 1e4f},
    },
    {
        .model_type = "qwen3", SIZES(151936, 4096, 22016, 32, 32, 32768), .kv_heads = 32, .head_size = 128,
        RMS(1e-6), SILU, ATTENTION_BIAS_KEY, .window_rule = WINDOW_UPPER, .window = 4096, .window_switch = true,
        .rope = {.base = 1e4f},
    },
    {
        .model_type = "qwen3_moe", SIZES(151936, 2048, 6144, 24, 32, 32768), .kv_heads = 4, RMS(1e-6), SILU,
        ATTENTION_BIAS_KEY, .window_rule = WINDOW_ALL, .window = 4096, .window_switch = true, .rope = {.base = 1e4f},
        .experts = 128, .experts_used = 8, .expert_ffn = 768, .experts_key = "num_experts",
        .experts_alias = "num_local_experts",
    },
    {
        .model_type = "qwen2_moe", SIZES(151936, 2048, 5632, 24, 16, 32768), .kv_heads = 16, RMS(1e-6), SILU,
        .qkv_bias_key = "qkv_bias", .window_switch = true, .rope = {.base = 1e4f},
        .experts = 60, .experts_used = 4, .expert_ffn = 1408, .shared_ffn = 5632, .experts_key = "num_experts",
        .experts_alias = "num_local_experts",
    },
    {
        .model_type = "gemma", SIZES(256000, 3072, 24576, 28, 16, 8192), .kv_heads = 16, .head_size = 256, RMS(1e-6),
        .activation_key = "hidden_act", .activation = "gelu_pytorch_tanh", .gelu_is_tanh = true, .tied_head = true,
        ATTENTION_BIAS_KEY, .rope = {.base = 1e4f},
    },
    {
        .model_type = "gemma2", SIZES(256000, 2304, 9216, 26, 8, 8192), .kv_heads = 4, .head_size = 256, RMS(1e-6),
        GELU_TANH, .tied_head = true, ATTENTION_BIAS_KEY, .window_rule = WINDOW_PATTERN, .window = 4096,
        .window_pattern = 2, .rope = {.base = 1e4f}, .query_scalar = true, .attn_softcap = 50, .final_softcap = 30,
    },
    {
        .model_type = "gemma3_text", SIZES(262208, 2304, 9216, 26, 8, 131072), .kv_heads = 4, .head_size = 256,
        RMS(1e-6), GELU_TANH, .tied_head = true, ATTENTION_BIAS_KEY, .window_rule = WINDOW_PATTERN, .window = 4096,
        .window_pattern = 6, .window_pattern_key = "sliding_window_pattern",
        .rope = {.base = 1e6f, .local_base = 1e4f}, .query_scalar = true,
    },
    {
        .model_type = "olmo2", SIZES(50304, 4096, 11008, 32, 32, 2048), RMS(1e-5), SILU, ATTENTION_BIAS_KEY,
        .rope = {.base = 1e4f},
    },
    {
        .model_type = "olmo3", SIZES(50304, 4096, 11008, 32, 32, 2048), RMS(1e-5), SILU, ATTENTION_BIAS_KEY,
        .window_rule = WINDOW_PATTERN, .window = 4096, .window_pattern = 4, .rope = {.base = 5e5f, .local_base = 5e5f},
    },
    {
        .model_type = "glm", SIZES(151552, 4096, 13696, 40, 32, 131072), .kv_heads = 2, .head_size = 128,
        RMS(1.5625e-7), SILU, .qkv_bias_key = "attention_bias", .rope = {.base = 1e4f, .part = 0.5f},
    },
    {
        .model_type = "glm4", SIZES(151552, 4096, 13696, 40, 32, 131072), .kv_heads = 2, .head_size = 128,
        RMS(1.5625e-7), SILU, .qkv_bias_key = "attention_bias", .rope = {.base = 1e4f, .part = 0.5f},
    },
    {
        .model_type = "cohere", SIZES(256000, 8192, 22528, 40, 64, 8192), LAYER_NORM, SILU, .tied_head = true,
        ATTENTION_BIAS_KEY, .rope = {.base = 5e5f}, .logit_scale = 0.0625, .context_key = "model_max_length",
    },
    {
        .model_type = "cohere2", SIZES(256000, 8192, 22528, 40, 64, 8192), LAYER_NORM, SILU, .tied_head = true,
        ATTENTION_BIAS_KEY, .window_rule = WINDOW_PATTERN, .window = 4096, .window_pattern = 4,
        .window_pattern_key = "sliding_window_pattern", .rope = {.base = 1e4f}, .logit_scale = 0.0625,
    },
    {
        .model_type = "ernie4_5", SIZES(103424, 1024, 3072, 18, 16, 131072), .kv_heads = 2, .head_size = 128, RMS(1e-5),
        SILU, .tied_head = true, .qkv_bias_key = "use_bias", .bias_is_off = true, .o_bias = BIAS_OF_QKV,
        .mlp_bias = BIAS_OF_QKV, .rope = {.base = 5e5f},
    },
    {
        .model_type = "gpt_oss", SIZES(201088, 2880, 2880, 36, 64, 131072), .kv_heads = 8, .head_size = 64, RMS(1e-5),
        SILU, .qkv_bias_key = "attention_bias", .o_bias = BIAS_OF_QKV, .window_rule = WINDOW_PATTERN, .window = 128,
        .window_pattern = 2, .rope = {.base = 1.5e5f, .yarn = true},
        .experts = 128, .experts_used = 4, .experts_key = "num_local_experts", .experts_alias = "num_experts",
    },
    {
        .model_type = "helium", SIZES(48000, 2560, 7040, 24, 20, 4096), .kv_heads = 20, .head_size = 128, RMS(1e-8),
        SILU, .qkv_bias = BIAS_KEY, .mlp_bias = BIAS_KEY, .rope = {.base = 1e5f},
    },
    {
        .model_type = "lfm2", SIZES(65536, 2560, 12288, 32, 32, 128000), .kv_heads = 8, .eps_key = "norm_eps",
        .eps = 1e-5, .activation_key = "hidden_act", .activation = "silu", .tied_head = true, .short_conv = true,
        .rope = {.base = 1e6f},
    },
    {
        .model_type = "phi3", SIZES(32064, 3072, 8192, 32, 32, 4096), RMS(1e-5), SILU, .window_rule = WINDOW_ALL,
        .rope = {.base = 1e4f, .phi3 = true}, .noises = {{"embd_pdrop", 0}, {"resid_pdrop", 0}},
    },
    {
        .model_type = "starcoder2", SIZES(49152, 3072, 12288, 30, 24, 4096), .kv_heads = 2,
        .eps_key = "norm_epsilon", .eps = 1e-5, .activation_key = "hidden_act", .activation = "gelu_pytorch_tanh",
        .tied_head = true, .qkv_bias_key = "use_bias", .o_bias = BIAS_OF_QKV, .mlp_bias = BIAS_OF_QKV,
        .window_rule = WINDOW_ALL, .rope = {.base = 1e4f},
        .noises = {{"embedding_dropout", 0}, {"residual_dropout", 0}},
    },
    {
        .model_type = "phi", SIZES(51200, 2048, 8192, 24, 32, 2048), LAYER_NORM,
        .activation_key = "hidden_act", .activation = "gelu_new",
        BIAS_EVERYWHERE, .rope = {.base = 1e4f, .part = 0.5f}, .noises = {{"embd_pdrop", 0}, {"resid_pdrop", 0}},
    },
    {
        .model_type = "gpt2", .keys = KEYS_GPT2, SIZES(50257, 768, 0, 12, 12, 1024),
        .noises = {{"attn_pdrop", 0.1}, {"embd_pdrop", 0.1}, {"resid_pdrop", 0.1}},
        .eps_key = "layer_norm_epsilon", .eps = 1e-5, .activation_key = "activation_function", .activation = "gelu_new",
        .tied_head = true, BIAS_EVERYWHERE,
    },
    {
        .model_type = "bert", SIZES(30522, 768, 3072, 12, 12, 512),
        .noises = {{"attention_probs_dropout_prob", 0.1}, {"hidden_dropout_prob", 0.1}},
        .eps_key = "layer_norm_eps", .eps = 1e-12,
        .activation_key = "hidden_act", .activation = "gelu", .tied_head = true, BIAS_EVERYWHERE,
    },
    {
        .model_type = "roberta", SIZES(50265, 768, 3072, 12, 12, 512), .pad = 1, .masked_gelu = true, ROBERTA,
    },
    {
        .model_type = "xlm-roberta", SIZES(30522, 768, 3072, 12, 12, 512), .pad = 1, .masked_gelu = true, ROBERTA,
    },
    {
        .model_type = "camembert", SIZES(30522, 768, 3072, 12, 12, 512), .pad = 1, .masked_gelu = true, ROBERTA,
    },
    {
        .model_type = "modernbert", SIZES(50368, 768, 1152, 22, 12, 8192), .eps_key = "norm_eps", .eps = 1e-5,
        .noises = {{"embedding_dropout", 0}, {"mlp_dropout", 0}}, .no_token_types = true,
        .activation_key = "hidden_activation", .activation = "gelu", .tied_head = true, ATTENTION_BIAS_KEY,
        .mlp_bias = BIAS_KEY, .window_rule = WINDOW_LOCAL, .window = 128, .window_pattern = 3,
        .window_pattern_key = "global_attn_every_n_layers",
        .rope = {.base = 1.6e5f, .local_base = 1e4f, .key = "global_rope_theta", .local_key = "local_rope_theta"},
    },
    {
        .model_type = "distilbert", .keys = KEYS_DISTILBERT, SIZES(30522, 768, 3072, 6, 12, 512),
        .noises = {{"dropout", 0.1}},
        .eps_key = "layer_norm_eps", .eps = 1e-12, .no_token_types = true,
        .activation_key = "activation", .activation = "gelu", .tied_head = true, BIAS_EVERYWHERE,
    },
};
// clang-format on

const HfFamily *model_config_hf_family(const char *model_type) {
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i].model_type, model_type) == 0) return &families[i];
    return NULL;
}
