// model_config_hf_internal: what the files model_config_hf*.c share.
#pragma once

#include "json_read.h"
#include "model_config.h"

typedef struct HfRope {
    float base;                  // rope_theta when the file has none; 0: learned positions
    float local_base;            // of the sliding layers; 0: the family has one kind of rope
    const char *key, *local_key; // NULL: rope_theta, rope_local_base_freq
    float part;  // partial_rotary_factor, the share of a head that rotates; 0: all of it, in every model
    bool yarn;   // absent parameters are those of gpt-oss
    bool growth; // of queries with their position: YaRN and llama_4_scaling_beta, both required
    bool phi3;   // Phi-3: partial rotation, "su", original_max_position_embeddings outside the object
} HfRope;

// Which layers have sliding-window attention.
typedef enum {
    WINDOW_NONE,      // the family has none
    WINDOW_ALL,       // all, if there is a window
    WINDOW_UPPER,     // layer_types, or those from max_window_layers on
    WINDOW_PATTERN,   // layer_types, or all but each n-th
    WINDOW_UNROTATED, // layer_types, or those without RoPE
    WINDOW_LOCAL,     // layer_types, or all but each n-th from the first on; half of local_attention to each side
} WindowRule;

// BIAS_KEY: attention_bias, mlp_bias; BIAS_OF_QKV: where q, k and v have one.
typedef enum { BIAS_NONE, BIAS_ALWAYS, BIAS_KEY, BIAS_OF_QKV } BiasRule;

// Dropout and the like that transformers applies while training.
typedef struct HfNoise {
    const char *key;
    double absent; // its value where the key is absent
} HfNoise;

typedef enum { KEYS_USUAL, KEYS_GPT2, KEYS_DISTILBERT } HfKeys; // hidden_size, ...; n_embd, ...; dim, ...

// A model_type: the defaults of its configuration class in transformers, and its keys besides the shared ones.
typedef struct HfFamily {
    const char *model_type;
    HfKeys keys;                                        // of sizes
    int64_t vocab, hidden, ffn, layers, heads, context; // ffn 0: 4 * hidden
    int64_t kv_heads;                                   // 0: as many as heads
    int64_t head_size;                                  // 0: hidden / heads
    const char *eps_key;
    double eps;
    const char *activation_key, *activation;
    bool gelu_is_tanh; // an old name in its files
    bool tied_head;
    BiasRule qkv_bias, o_bias, mlp_bias;
    int64_t pad;              // pad_token_id, with offset_positions
    bool no_token_types;      // an encoder's
    bool masked_gelu;         // of the head of masked language modelling, whatever the activation is
    const char *qkv_bias_key; // true by default, instead of attention_bias; NULL: none
    bool bias_is_off;         // qkv_bias_key is false by default
    double logit_scale;       // where logit_scale is absent
    const char *ffn_key;      // instead of intermediate_size; NULL: none
    bool bias_aliases;        // qkv_bias and bias, which must be off (InternLM 3)
    bool short_conv;          // layers of convolutions, and their keys (LFM2)
    bool attention_alone;     // of a hybrid family without its other layers and experts (Granite 4)
    const char *context_key;  // replaces max_position_embeddings where it is given; NULL: none
    WindowRule window_rule;
    int64_t window, window_pattern;
    const char *window_pattern_key; // NULL: the pattern is fixed
    bool window_switch;             // use_sliding_window, off by default; with WINDOW_NONE it must be off
    HfRope rope;
    bool query_scalar; // query_pre_attn_scalar instead of the head size, and the two soft-caps
    double attn_softcap, final_softcap;
    int64_t experts, experts_used, expert_ffn; // expert_ffn 0: intermediate_size
    int64_t shared_ffn;                        // shared_expert_intermediate_size; 0: the family has none
    const char *experts_key, *experts_alias;
    HfNoise noises[4]; // besides attention_dropout; the list ends with key NULL
} HfFamily;
const HfFamily *model_config_hf_family(const char *model_type); // NULL when unknown

// Of LFM2: kinds of layers, taps, and the size of the feed-forward (model_config_hf_conv.c).
int model_config_hf_read_conv(ModelConfig *c, const JsonReader *j);

// Fills c->rope and c->rope_local; heads and context are set already.
int model_config_hf_read_rope(ModelConfig *c, const JsonReader *j, const HfRope *family);
