#include "architecture.h"

#include <stdio.h>
#include <string.h>

enum { Q = PROJ_BIT(PROJ_Q), K = PROJ_BIT(PROJ_K), V = PROJ_BIT(PROJ_V), O = PROJ_BIT(PROJ_O) };
enum {
    CONV_IN = PROJ_BIT(PROJ_CONV_B) | PROJ_BIT(PROJ_CONV_C) | PROJ_BIT(PROJ_CONV_X),
    CONV_OUT = PROJ_BIT(PROJ_CONV_OUT)
};
enum { GATE = PROJ_BIT(PROJ_GATE), UP = PROJ_BIT(PROJ_UP), DOWN = PROJ_BIT(PROJ_DOWN) };
enum {
    SHARED_GATE = PROJ_BIT(PROJ_SHARED_GATE),
    SHARED_UP = PROJ_BIT(PROJ_SHARED_UP),
    SHARED_DOWN = PROJ_BIT(PROJ_SHARED_DOWN),
    EXPERT_GATE = PROJ_BIT(PROJ_EXPERT_GATE),
    EXPERT_UP = PROJ_BIT(PROJ_EXPERT_UP),
    EXPERT_DOWN = PROJ_BIT(PROJ_EXPERT_DOWN),
};
enum {
    PRE_NORMS = PROJ_BIT(NORM_ATTN) | PROJ_BIT(NORM_FFN),
    POST_NORMS = PROJ_BIT(NORM_POST_ATTN) | PROJ_BIT(NORM_POST_FFN),
    QK_NORMS = PROJ_BIT(NORM_Q) | PROJ_BIT(NORM_K),
};

const char *projection_name(Projection p) {
    static const char *const names[PROJ_COUNT] = {
        [PROJ_Q] = "q_proj",
        [PROJ_K] = "k_proj",
        [PROJ_V] = "v_proj",
        [PROJ_O] = "o_proj",
        [PROJ_GATE] = "gate_proj",
        [PROJ_UP] = "up_proj",
        [PROJ_DOWN] = "down_proj",
        [PROJ_CONV_B] = "in_proj",
        [PROJ_CONV_C] = "in_proj",
        [PROJ_CONV_X] = "in_proj",
        [PROJ_CONV_OUT] = "out_proj",
        [PROJ_SHARED_GATE] = "shared_expert.gate_proj",
        [PROJ_SHARED_UP] = "shared_expert.up_proj",
        [PROJ_SHARED_DOWN] = "shared_expert.down_proj",
        [PROJ_EXPERT_GATE] = "experts.gate_proj",
        [PROJ_EXPERT_UP] = "experts.up_proj",
        [PROJ_EXPERT_DOWN] = "experts.down_proj",
    };
    return names[p];
}

// ---- names shared by several families ----

// Hugging Face: Llama and similar families.
// clang-format off
#define SELF_ATTENTION \
    {"self_attn.q_proj", Q}, {"self_attn.k_proj", K}, {"self_attn.v_proj", V}, {"self_attn.o_proj", O}
#define GATED_MLP {"mlp.gate_proj", GATE}, {"mlp.up_proj", UP}, {"mlp.down_proj", DOWN}
#define QWEN_EXPERTS \
    {"mlp.experts.%d.gate_proj", EXPERT_GATE}, {"mlp.experts.%d.up_proj", EXPERT_UP}, \
    {"mlp.experts.%d.down_proj", EXPERT_DOWN}
// clang-format on
static const Module llama_modules[] = {SELF_ATTENTION, GATED_MLP, {0}};
static const Module mixtral_modules[] = {SELF_ATTENTION,
                                         {"block_sparse_moe.experts.%d.w1", EXPERT_GATE},
                                         {"block_sparse_moe.experts.%d.w3", EXPERT_UP},
                                         {"block_sparse_moe.experts.%d.w2", EXPERT_DOWN},
                                         {0}};
static const Module qwen3_moe_modules[] = {SELF_ATTENTION, GATED_MLP, QWEN_EXPERTS, {0}};
static const Module qwen2_moe_modules[] = {SELF_ATTENTION,
                                           GATED_MLP,
                                           {"mlp.shared_expert.gate_proj", SHARED_GATE},
                                           {"mlp.shared_expert.up_proj", SHARED_UP},
                                           {"mlp.shared_expert.down_proj", SHARED_DOWN},
                                           QWEN_EXPERTS,
                                           {0}};
#define LLAMA_NAMES_WITH(MODULES)                                                                                      \
    .embedding = "embed_tokens", .final_norm = "norm", .head = "lm_head", .layer = "layers.%d.", .modules = (MODULES)
#define LLAMA_NAMES LLAMA_NAMES_WITH(llama_modules)
#define LLAMA_NORMS                                                                                                    \
    [NORM_ATTN] = "input_layernorm", [NORM_FFN] = "post_attention_layernorm", [NORM_Q] = "self_attn.q_norm",           \
    [NORM_K] = "self_attn.k_norm"
#define GEMMA_NORMS                                                                                                    \
    [NORM_ATTN] = "input_layernorm", [NORM_POST_ATTN] = "post_attention_layernorm",                                    \
    [NORM_FFN] = "pre_feedforward_layernorm", [NORM_POST_FFN] = "post_feedforward_layernorm",                          \
    [NORM_Q] = "self_attn.q_norm", [NORM_K] = "self_attn.k_norm"
#define LLAMA_FILES                                                                                                    \
    .hf_prefixes = {{"model.", "model.", "lm_head", false}, {"", "model.", "", false}},                                \
    .hf_ignored = {".rotary_emb.inv_freq"}
#define OLMO_NORMS                                                                                                     \
    [NORM_POST_ATTN] = "post_attention_layernorm", [NORM_POST_FFN] = "post_feedforward_layernorm",                     \
    [NORM_Q] = "self_attn.q_norm", [NORM_K] = "self_attn.k_norm"
#define GLM4_NORMS                                                                                                     \
    [NORM_ATTN] = "input_layernorm", [NORM_POST_ATTN] = "post_self_attn_layernorm",                                    \
    [NORM_FFN] = "post_attention_layernorm", [NORM_POST_FFN] = "post_mlp_layernorm"
#define TEXT_OR_IMAGE_FILES                                                                                            \
    .hf_prefixes = {{"language_model.model.", "model.language_model.", "language_model.lm_head", true},                \
                    {"model.language_model.", "model.language_model.", "lm_head", true},                               \
                    {"model.", "model.", "lm_head", false},                                                            \
                    {"", "model.", "", false}},                                                                        \
    .hf_ignored = {".rotary_emb.inv_freq"},                                                                            \
    .hf_other = {"vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."}
#define LLAMA_HF .hf = {LLAMA_NAMES, .norms = {LLAMA_NORMS}}, LLAMA_FILES

// GGUF: llama.cpp has one set of names for all families.
#define GGUF_EXPERTS                                                                                                   \
    {"ffn_gate_shexp", SHARED_GATE}, {"ffn_up_shexp", SHARED_UP}, {"ffn_down_shexp", SHARED_DOWN},                     \
        {"ffn_gate_exps", EXPERT_GATE}, {"ffn_up_exps", EXPERT_UP}, {                                                  \
        "ffn_down_exps", EXPERT_DOWN                                                                                   \
    }
static const Module gguf_split[] = {{"attn_q", Q},      {"attn_k", K},      {"attn_v", V},
                                    {"attn_output", O}, {"ffn_gate", GATE}, {"ffn_up", UP},
                                    {"ffn_down", DOWN}, GGUF_EXPERTS,       {0}};
static const Module gguf_phi3[] = {
    {"attn_qkv", Q | K | V}, {"attn_output", O}, {"ffn_up", GATE | UP}, {"ffn_down", DOWN}, {0}};
static const Module gguf_glm[] = {
    {"attn_q", Q}, {"attn_k", K}, {"attn_v", V}, {"attn_output", O}, {"ffn_up", GATE | UP}, {"ffn_down", DOWN}, {0}};
static const Module gguf_gpt2[] = {
    {"attn_qkv", Q | K | V}, {"attn_output", O}, {"ffn_up", UP}, {"ffn_down", DOWN}, {0}};
static const Module gguf_plain[] = {
    {"attn_q", Q}, {"attn_k", K}, {"attn_v", V}, {"attn_output", O}, {"ffn_up", UP}, {"ffn_down", DOWN}, {0}};
static const Module gguf_fused[] = {{"attn_qkv", Q | K | V},
                                    {"attn_output", O},
                                    {"ffn_gate", GATE},
                                    {"ffn_up", UP},
                                    {"ffn_down", DOWN},
                                    GGUF_EXPERTS,
                                    {0}};
static const Module gguf_lfm2[] = {{"attn_q", Q},
                                   {"attn_k", K},
                                   {"attn_v", V},
                                   {"attn_output", O},
                                   {"shortconv.in_proj", CONV_IN},
                                   {"shortconv.out_proj", CONV_OUT},
                                   {"ffn_gate", GATE},
                                   {"ffn_up", UP},
                                   {"ffn_down", DOWN},
                                   {0}};
#define GGUF_NAMES(MODULES, FUSED)                                                                                     \
    .gguf_names = {                                                                                                    \
        .embedding = "token_embd",                                                                                     \
        .positions = "position_embd",                                                                                  \
        .final_norm = "output_norm",                                                                                   \
        .head = "output",                                                                                              \
        .layer = "blk.%d.",                                                                                            \
        .norms = {"attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "attn_q_norm", "attn_k_norm"},      \
        .modules = (MODULES),                                                                                          \
        .fused_modules = (FUSED),                                                                                      \
        .router = "ffn_gate_inp",                                                                                      \
        .shared_gate = "ffn_gate_inp_shexp"}

// ---- the families ----

static const Module gpt2_modules[] = {
    {"attn.c_attn", Q | K | V}, {"attn.c_proj", O}, {"mlp.c_fc", UP}, {"mlp.c_proj", DOWN}, {0}};
static const Module starcoder2_modules[] = {SELF_ATTENTION, {"mlp.c_fc", UP}, {"mlp.c_proj", DOWN}, {0}};
static const Module phi_modules[] = {{"self_attn.q_proj", Q},
                                     {"self_attn.k_proj", K},
                                     {"self_attn.v_proj", V},
                                     {"self_attn.dense", O},
                                     {"mlp.fc1", UP},
                                     {"mlp.fc2", DOWN},
                                     {0}};
static const Module glm_modules[] = {SELF_ATTENTION, {"mlp.gate_up_proj", GATE | UP}, {"mlp.down_proj", DOWN}, {0}};
static const Module granite4_modules[] = {
    SELF_ATTENTION, {"shared_mlp.input_linear", GATE | UP}, {"shared_mlp.output_linear", DOWN}, {0}};
static const Module phi3_modules[] = {{"self_attn.qkv_proj", Q | K | V},
                                      {"self_attn.o_proj", O},
                                      {"mlp.gate_up_proj", GATE | UP},
                                      {"mlp.down_proj", DOWN},
                                      {0}};
static const Module bert_modules[] = {{"attention.self.query", Q},
                                      {"attention.self.key", K},
                                      {"attention.self.value", V},
                                      {"attention.output.dense", O},
                                      {"intermediate.dense", UP},
                                      {"output.dense", DOWN},
                                      {0}};

static const Module distilbert_modules[] = {{"attention.q_lin", Q},
                                            {"attention.k_lin", K},
                                            {"attention.v_lin", V},
                                            {"attention.out_lin", O},
                                            {"ffn.lin1", UP},
                                            {"ffn.lin2", DOWN},
                                            {0}};

static const Module modernbert_modules[] = {
    {"attn.Wqkv", Q | K | V}, {"attn.Wo", O}, {"mlp.Wi", GATE | UP}, {"mlp.Wo", DOWN}, {0}};

static const Module lfm2_modules[] = {{"self_attn.q_proj", Q},   {"self_attn.k_proj", K},
                                      {"self_attn.v_proj", V},   {"self_attn.out_proj", O},
                                      {"conv.in_proj", CONV_IN}, {"conv.out_proj", CONV_OUT},
                                      {"feed_forward.w1", GATE}, {"feed_forward.w3", UP},
                                      {"feed_forward.w2", DOWN}, {0}};

#define GLM_NAMES                                                                                                      \
    .embedding = "embed_tokens", .final_norm = "norm", .head = "lm_head", .layer = "layers.%d.", .modules = glm_modules
#define GGUF_ALL GGUF_NAMES(gguf_split, gguf_fused)

// clang-format off
static const Architecture table[] = {
    { // Llama 2 and 3, SmolLM2, TinyLlama, Yi, Falcon 3, InternLM 3; in GGUF Mistral too
        .gguf = "llama", .model_types = {"llama", "internlm3"}, LLAMA_HF, GGUF_ALL, .norms = PRE_NORMS,
        .gguf_permuted_qk = true,
    },
    {
        .gguf = "llama", .model_types = {"mistral"}, LLAMA_HF, GGUF_ALL, .norms = PRE_NORMS, .gguf_permuted_qk = true,
    },
    { // Ministral 3; Mistral Small 3.1 and 3.2 in their multimodal form, of which the language model
        .gguf = "mistral3", .model_types = {"ministral3", "mistral3"}, .hf = {LLAMA_NAMES, .norms = {LLAMA_NORMS}},
        TEXT_OR_IMAGE_FILES, GGUF_ALL, .norms = PRE_NORMS, .gguf_permuted_qk = true, .grows_queries = true,
    },
    { // with expert_count
        .gguf = "llama", .model_types = {"mixtral"},
        .hf = {LLAMA_NAMES_WITH(mixtral_modules), .norms = {LLAMA_NORMS}, .router = "block_sparse_moe.gate"},
        LLAMA_FILES, GGUF_ALL,
        .norms = PRE_NORMS, .gguf_permuted_qk = true, .experts = true,
    },
    {
        .gguf = "smollm3", .model_types = {"smollm3"}, LLAMA_HF, GGUF_ALL, .norms = PRE_NORMS, .gguf_permuted_qk = true,
        .unrotated_pattern = 4,
    },
    {
        .gguf = "granite", .model_types = {"granite"}, LLAMA_HF, GGUF_ALL, .norms = PRE_NORMS, .gguf_permuted_qk = true,
        .scales = true,
    },
    { // Granite 4 without Mamba layers and experts, in a folder; as a GGUF file it is a "granite"
        .model_types = {"granitemoehybrid"},
        .hf = {.embedding = "embed_tokens", .final_norm = "norm", .head = "lm_head", .layer = "layers.%d.",
               .norms = {LLAMA_NORMS}, .modules = granite4_modules},
        LLAMA_FILES, .norms = PRE_NORMS, .scales = true,
    },
    {
        .gguf = "qwen2", .model_types = {"qwen2"}, LLAMA_HF, GGUF_ALL, .norms = PRE_NORMS,
    },
    {
        .gguf = "qwen3", .model_types = {"qwen3"}, LLAMA_HF, GGUF_ALL, .norms = PRE_NORMS | QK_NORMS,
    },
    {
        .gguf = "qwen3moe", .model_types = {"qwen3_moe"},
        .hf = {LLAMA_NAMES_WITH(qwen3_moe_modules), .norms = {LLAMA_NORMS}, .router = "mlp.gate"}, LLAMA_FILES,
        GGUF_ALL, .norms = PRE_NORMS | QK_NORMS, .experts = true,
    },
    {
        .gguf = "qwen2moe", .model_types = {"qwen2_moe"},
        .hf = {LLAMA_NAMES_WITH(qwen2_moe_modules), .norms = {LLAMA_NORMS}, .router = "mlp.gate",
               .shared_gate = "mlp.shared_expert_gate"},
        LLAMA_FILES, GGUF_ALL, .norms = PRE_NORMS, .experts = true, .gguf_plain_scores = true, .gguf_untied = true,
    },
    {
        .gguf = "gemma", .model_types = {"gemma"}, LLAMA_HF, GGUF_ALL, .norms = PRE_NORMS, .hf_norm_plus_one = true,
        .scaled_embedding = true, .gguf_tied = true, .glu = GLU_GELU_TANH,
    },
    {
        .gguf = "gemma2", .model_types = {"gemma2"}, .hf = {LLAMA_NAMES, .norms = {GEMMA_NORMS}}, LLAMA_FILES, GGUF_ALL,
        .norms = PRE_NORMS | POST_NORMS, .hf_norm_plus_one = true, .scaled_embedding = true, .gguf_tied = true,
        .glu = GLU_GELU_TANH, .sliding_pattern = 2, .gguf_window = 4096, .gguf_wide_layers = 46,
        .gguf_attn_softcap = 50.0f, .gguf_final_softcap = 30.0f,
    },
    { // text; of multimodal checkpoints the language model
        .gguf = "gemma3", .model_types = {"gemma3_text", "gemma3"}, .hf = {LLAMA_NAMES, .norms = {GEMMA_NORMS}},
        TEXT_OR_IMAGE_FILES, GGUF_ALL,
        .norms = PRE_NORMS | POST_NORMS | QK_NORMS, .hf_norm_plus_one = true, .scaled_embedding = true,
        .gguf_tied = true, .local_rope = true, .glu = GLU_GELU_TANH, .sliding_pattern = 6,
        .gguf_wide_layers = 62, .gguf_local_base = 1e4f,
    },
    {
        .gguf = "olmo2", .model_types = {"olmo2", "olmo3"}, .hf = {LLAMA_NAMES, .norms = {OLMO_NORMS}}, LLAMA_FILES,
        GGUF_ALL, .norms = POST_NORMS | QK_NORMS, .wide_qk_norms = true, .local_rope = true, .sliding_pattern = 4,
        .gguf_untied = true, .gguf_window_list = true,
    },
    { // GLM-4-9B of 2024; in GGUF also its first form, with one matrix of queries, keys and values
        .gguf = "chatglm", .model_types = {"glm"}, .hf = {GLM_NAMES, .norms = {LLAMA_NORMS}}, LLAMA_FILES,
        GGUF_NAMES(gguf_glm, gguf_phi3), .norms = PRE_NORMS, .interleaved_rope = true, .gguf_square = true,
    },
    { // GLM-4-0414
        .gguf = "glm4", .model_types = {"glm4"}, .hf = {GLM_NAMES, .norms = {GLM4_NORMS}}, LLAMA_FILES,
        GGUF_NAMES(gguf_glm, gguf_phi3), .norms = PRE_NORMS | POST_NORMS, .interleaved_rope = true,
    },
    { // Command-R, Aya 23, Aya Expanse
        .gguf = "command-r", .model_types = {"cohere"}, LLAMA_HF, GGUF_ALL, .norm = NORM_KIND_LAYER, .bare_norms = true,
        .norms = PROJ_BIT(NORM_ATTN), .parallel = true, .interleaved_rope = true, .multiplies_logits = true,
        .gguf_square = true, .gguf_tied = true,
    },
    { // Command-R7B, Command A
        .gguf = "cohere2", .model_types = {"cohere2"}, LLAMA_HF, GGUF_ALL, .norm = NORM_KIND_LAYER, .bare_norms = true,
        .norms = PROJ_BIT(NORM_ATTN), .parallel = true, .interleaved_rope = true, .multiplies_logits = true,
        .sliding_pattern = 4, .unrotated_full = true, .gguf_square = true, .gguf_tied = true,
    },
    { // dense
        .gguf = "ernie4_5", .model_types = {"ernie4_5"}, LLAMA_HF, GGUF_ALL, .norms = PRE_NORMS,
        .interleaved_rope = true,
    },
    { // gpt-oss; experts in MXFP4 or BF16
        .gguf = "gpt-oss", .model_types = {"gpt_oss"},
        .hf = {LLAMA_NAMES, .norms = {LLAMA_NORMS}, .router = "mlp.router", .sinks = "self_attn.sinks"}, LLAMA_FILES,
        .gguf_names = {.embedding = "token_embd", .final_norm = "output_norm", .head = "output", .layer = "blk.%d.",
                       .norms = {[NORM_ATTN] = "attn_norm", [NORM_FFN] = "post_attention_norm"}, .modules = gguf_split,
                       .router = "ffn_gate_inp", .sinks = "attn_sinks.weight"},
        .norms = PRE_NORMS, .experts = true, .expert_biases = true, .glu = GLU_CLAMPED, .sliding_pattern = 2,
        .gguf_untied = true,
    },
    { // Hugging Face only
        .model_types = {"helium"}, LLAMA_HF, .norms = PRE_NORMS, .interleaved_rope = true,
    },
    { // LFM2, LFM2.5
        .gguf = "lfm2", .model_types = {"lfm2"},
        .hf = {.embedding = "embed_tokens", .final_norm = "embedding_norm", .head = "lm_head", .layer = "layers.%d.",
               .norms = {[NORM_ATTN] = "operator_norm", [NORM_FFN] = "ffn_norm", [NORM_Q] = "self_attn.q_layernorm",
                         [NORM_K] = "self_attn.k_layernorm"},
               .modules = lfm2_modules, .conv = "conv.conv"},
        LLAMA_FILES,
        .gguf_names = {.embedding = "token_embd", .final_norm = "token_embd_norm", .head = "output",
                       .layer = "blk.%d.",
                       .norms = {[NORM_ATTN] = "attn_norm", [NORM_FFN] = "ffn_norm", [NORM_Q] = "attn_q_norm",
                                 [NORM_K] = "attn_k_norm"},
                       .modules = gguf_lfm2, .conv = "shortconv.conv"},
        .norms = PRE_NORMS | QK_NORMS,
    },
    { // Phi-3, Phi-3.5, Phi-4, Phi-4-mini
        .gguf = "phi3", .model_types = {"phi3"},
        .hf = {.embedding = "embed_tokens", .final_norm = "norm", .head = "lm_head", .layer = "layers.%d.",
               .norms = {LLAMA_NORMS}, .modules = phi3_modules},
        LLAMA_FILES, GGUF_NAMES(gguf_phi3, NULL), .norms = PRE_NORMS,
    },
    {
        .gguf = "starcoder2", .model_types = {"starcoder2"},
        .hf = {.embedding = "embed_tokens", .final_norm = "norm", .head = "lm_head", .layer = "layers.%d.",
               .norms = {LLAMA_NORMS}, .modules = starcoder2_modules},
        LLAMA_FILES, GGUF_NAMES(gguf_plain, NULL), .norm = NORM_KIND_LAYER, .norms = PRE_NORMS, .plain_mlp = true,
    },
    { // Phi-1, Phi-1.5, Phi-2
        .gguf = "phi2", .model_types = {"phi"},
        .hf = {.embedding = "embed_tokens", .final_norm = "final_layernorm", .head = "lm_head", .layer = "layers.%d.",
               .norms = {LLAMA_NORMS}, .modules = phi_modules},
        LLAMA_FILES, GGUF_NAMES(gguf_plain, NULL), .norm = NORM_KIND_LAYER, .norms = PROJ_BIT(NORM_ATTN),
        .plain_mlp = true, .parallel = true, .head_bias = true, .gguf_untied = true,
    },
    {
        .gguf = "gpt2", .model_types = {"gpt2"},
        .hf = {.embedding = "wte", .positions = "wpe", .final_norm = "ln_f", .head = "lm_head", .layer = "h.%d.",
               .norms = {[NORM_ATTN] = "ln_1", [NORM_FFN] = "ln_2"}, .modules = gpt2_modules},
        .hf_prefixes = {{"transformer.", "transformer.", "lm_head", false}, {"", "transformer.", "lm_head", false}},
        .hf_ignored = {".attn.bias", ".attn.masked_bias"},
        GGUF_NAMES(gguf_gpt2, NULL), .norm = NORM_KIND_LAYER, .norms = PRE_NORMS,
        .hf_conv1d = true, .plain_mlp = true, .learned_positions = true,
    },
    { // Hugging Face only
        .model_types = {"bert"},
        .hf = {.embedding = "embeddings.word_embeddings", .positions = "embeddings.position_embeddings",
               .token_types = "embeddings.token_type_embeddings", .embed_norm = "embeddings.LayerNorm",
               .pooler = "pooler.dense", .layer = "encoder.layer.%d.",
               .norms = {[NORM_POST_ATTN] = "attention.output.LayerNorm", [NORM_POST_FFN] = "output.LayerNorm"},
               .modules = bert_modules,
               .masked = {"cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm",
                          "cls.predictions.decoder", "cls.predictions"}},
        .hf_prefixes = {{"bert.", "bert.", "", false}, {"", "bert.", "", false}},
        .hf_ignored = {"embeddings.position_ids"}, .hf_other = {"cls."},
        .hf_linears = {"pooler.dense", "classifier", "cls.predictions.transform.dense"},
        .norm = NORM_KIND_LAYER, .norms = POST_NORMS, .encoder = true, .plain_mlp = true,
        .activation = ACTIVATION_GELU, .learned_positions = true,
    },
    {
        .model_types = {"roberta", "xlm-roberta", "camembert"},
        .hf = {.embedding = "embeddings.word_embeddings", .positions = "embeddings.position_embeddings",
               .token_types = "embeddings.token_type_embeddings", .embed_norm = "embeddings.LayerNorm",
               .layer = "encoder.layer.%d.",
               .norms = {[NORM_POST_ATTN] = "attention.output.LayerNorm", [NORM_POST_FFN] = "output.LayerNorm"},
               .modules = bert_modules, .class_dense = "classifier.dense", .class_head = "classifier.out_proj",
               .masked = {"lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head"}},
        .hf_prefixes = {{"roberta.", "roberta.", "", false}, {"", "roberta.", "", false}},
        .hf_ignored = {"embeddings.position_ids"},
        .hf_other = {"lm_head.", "classifier.", "roberta.pooler.", "pooler."},
        .hf_linears = {"pooler.dense", "classifier.dense", "lm_head.dense"},
        .norm = NORM_KIND_LAYER, .norms = POST_NORMS, .encoder = true, .plain_mlp = true,
        .activation = ACTIVATION_GELU, .class_activation = ACTIVATION_TANH, .learned_positions = true,
        .offset_positions = true,
    },
    {
        .model_types = {"distilbert"},
        .hf = {.embedding = "embeddings.word_embeddings", .positions = "embeddings.position_embeddings",
               .embed_norm = "embeddings.LayerNorm", .layer = "transformer.layer.%d.",
               .norms = {[NORM_POST_ATTN] = "sa_layer_norm", [NORM_POST_FFN] = "output_layer_norm"},
               .modules = distilbert_modules, .class_dense = "pre_classifier",
               .masked = {"vocab_transform", "vocab_layer_norm", "vocab_projector", "vocab_projector"}},
        .hf_prefixes = {{"distilbert.", "distilbert.", "", false}, {"", "distilbert.", "", false}},
        .hf_ignored = {"embeddings.position_ids"}, .hf_other = {"vocab_", "pre_classifier.", "classifier."},
        .hf_linears = {"pre_classifier", "classifier", "vocab_transform"},
        .norm = NORM_KIND_LAYER, .norms = POST_NORMS, .encoder = true, .plain_mlp = true,
        .activation = ACTIVATION_GELU, .class_activation = ACTIVATION_RELU, .learned_positions = true,
    },
    { // a decoder's blocks that see both sides; the head of masked language modelling is a classifier's pooler, too
        .model_types = {"modernbert"},
        .hf = {.embedding = "embeddings.tok_embeddings", .embed_norm = "embeddings.norm", .final_norm = "final_norm",
               .layer = "layers.%d.", .norms = {[NORM_ATTN] = "attn_norm", [NORM_FFN] = "mlp_norm"},
               .modules = modernbert_modules, .masked = {"head.dense", "head.norm", "decoder", "decoder"}},
        .hf_prefixes = {{"model.", "model.", "", false}, {"", "model.", "", false}},
        .hf_other = {"head.", "decoder.", "classifier."}, .hf_linears = {"head.dense", "classifier", "decoder"},
        .norm = NORM_KIND_LAYER, .norms = PRE_NORMS, .encoder = true, .local_rope = true, .glu = GLU_GELU,
        .activation = ACTIVATION_GELU, .sliding_pattern = 3, .bare_first = true, .masked_pooler = true,
    },
};
// clang-format on
enum { N_ARCHITECTURES = sizeof table / sizeof *table };

const Architecture *architecture_by_gguf(const char *name, size_t len, bool experts) {
    for (int i = 0; i < N_ARCHITECTURES; i++) {
        const char *known = table[i].gguf;
        if (known && strlen(known) == len && memcmp(known, name, len) == 0 && table[i].experts == experts)
            return &table[i];
    }
    return NULL;
}

const Architecture *architecture_by_model_type(const char *model_type) {
    for (int i = 0; i < N_ARCHITECTURES; i++)
        for (const char *const *known = table[i].model_types; *known; known++)
            if (strcmp(*known, model_type) == 0) return &table[i];
    return NULL;
}

// Several rows may be one architecture in GGUF.
static bool is_listed(int row) {
    for (int i = 0; i < row; i++)
        if (table[i].gguf && table[row].gguf && strcmp(table[i].gguf, table[row].gguf) == 0) return true;
    return false;
}

void architecture_list(StrBuf *out, bool hugging_face) {
    const char *before = "";
    for (int i = 0; i < N_ARCHITECTURES; i++) {
        const char *const gguf[] = {is_listed(i) ? NULL : table[i].gguf, NULL};
        for (const char *const *name = hugging_face ? table[i].model_types : gguf; *name; name++) {
            str_printf(out, "%s%s", before, *name);
            before = ", ";
        }
    }
}

const char *architecture_class_head(const Architecture *a, bool tokens) {
    return !tokens && a->hf.class_head ? a->hf.class_head : a->encoder ? "classifier" : "score";
}

void architecture_layer_prefix(char *buf, size_t size, const TensorNames *names, int64_t layer) {
    const char *number = strstr(names->layer, "%d");
    snprintf(buf, size, "%.*s%ld%s", (int)(number - names->layer), names->layer, layer, number + 2);
}
