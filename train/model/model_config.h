// model_config: the configuration of a base model: sizes and what its graph computes. Read from files, every value is
// in a range in which products of sizes cannot overflow.
#pragma once

#include "architecture.h"
#include "enum_words.h"
#include "weight_source.h"

#define ROPE_SCALINGS(X)                                                                                               \
    X(ROPE_NONE, "none", "no rotary positions")                                                                        \
    X(ROPE_PLAIN, "default", "not scaled")                                                                             \
    X(ROPE_LINEAR, "linear", NULL)                                                                                     \
    X(ROPE_DYNAMIC, "dynamic", NULL)                                                                                   \
    X(ROPE_LLAMA3, "llama3", NULL)                                                                                     \
    X(ROPE_YARN, "yarn", NULL)                                                                                         \
    X(ROPE_LONGROPE, "longrope", NULL)
typedef enum { ROPE_SCALINGS(ENUM_CONSTANT) } RopeScaling;
enum { ROPE_MAX_PAIRS = 512 };

// Rotation angles of positions (rope_table). Names as in transformers' modeling_rope_utils; fields that a scaling does
// not use are 0.
typedef struct RopeConfig {
    RopeScaling scaling;
    float base;
    int64_t rotated; // rotated dims of a head, at most the head size
    float factor, low_freq_factor, high_freq_factor;
    float beta_fast, beta_slow, mscale, mscale_all_dim;
    float attention_factor; // factor of cos and sin; 0: by the scaling's formula
    bool keep_range;        // YaRN "truncate": false
    int64_t original_context;
    float query_growth; // queries are times 1 + this * log(1 + floor(position / original_context)) (Llama 4); 0: none
    bool of_run;        // set by model_config_scale_rope: the files of the base do not have this scaling
    // Frequencies are divided by these: LongRoPE's lists; or, in short_divisor alone, GGUF's rope_freqs.
    bool has_divisor;
    float short_divisor[ROPE_MAX_PAIRS], long_divisor[ROPE_MAX_PAIRS];
} RopeConfig;

enum { MODEL_MAX_LAYERS = 1024 };

// A plain value. model_config_init sets what the family implies; a reader fills in the rest.
typedef struct ModelConfig {
    const Architecture *arch;
    const char *architecture; // arch->gguf: also the architecture of adapter files
    int64_t layers, hidden, heads, kv_heads, head_size, ffn, vocab, context;
    float norm_eps;
    float embed_scale;                 // 1: none
    float query_scale;                 // of q k^T
    float residual_scale;              // of a branch before it is added; 1: none
    float logit_scale;                 // 1: none
    float attn_softcap, final_softcap; // 0: none
    int64_t window;                    // of the sliding layers; 0: none. An encoder's: to both sides (AttentionShape)
    uint8_t layer_sliding[MODEL_MAX_LAYERS];
    uint8_t layer_unrotated[MODEL_MAX_LAYERS]; // layers without RoPE
    uint8_t layer_conv[MODEL_MAX_LAYERS];      // layers with a short convolution instead of attention
    int64_t conv_taps;                         // of it; 0: no layer has one
    bool tied_head;                            // the head is the embedding
    bool head_unties;                          // config.json ties the head, but the files have one
    bool has_glu;
    GluKind glu;               // with has_glu
    ActivationKind activation; // without
    bool qkv_bias, o_bias, mlp_bias;
    RopeConfig rope, rope_local; // rope_local: of sliding layers where it differs (Gemma 3), else scaling is ROPE_NONE
    int64_t experts, experts_used, expert_ffn; // 0: dense
    int64_t shared_ffn;                        // of an expert that every token uses, times a gate; 0: none
    bool renormalise_experts;
    uint8_t layer_dense[MODEL_MAX_LAYERS]; // with experts: layers with a plain MLP
    int64_t positions_table, token_types;  // rows of the learned tables; 0: none
    int64_t first_position;                // row of the first token
    ActivationKind masked_activation;      // of an encoder's head of masked language modelling
    bool masked_dense_bias, masked_bias;   // of its first layer, and of its decoder
    bool no_norm_bias;                     // NORM_KIND_LAYER without biases
    bool mean_pooled;                      // its classifiers read the mean of all tokens
    bool permuted_qk;                      // the q/k rows of this file are in llama.cpp's interleaved order
} ModelConfig;

// Sets what the family implies; sizes stay 0.
void model_config_init(ModelConfig *c, const Architecture *a);
// Shape of a projection's weight: rows [out], cols [in]; of one expert.
void model_projection_shape(const ModelConfig *c, Projection p, int64_t *rows, int64_t *cols);
// For readers: layers without a sliding window have no RoPE.
void model_config_unrotate_full(ModelConfig *c);
// Elements of a norm's weight.
int64_t model_norm_size(const ModelConfig *c, NormSite site);
// The layer has a weight of this projection.
bool model_layer_has(const ModelConfig *c, int64_t layer, Projection p);
// It can have an adapter, in all layers that have it (none of the MLP of a mixture's dense layers).
bool model_has_projection(const ModelConfig *c, Projection p);
// Another RoPE scaling in place of the model's own; the context grows by `factor`. ROPE_LLAMA3 and ROPE_YARN have their
// usual parameters: low_freq_factor 1 and high_freq_factor 4, beta_fast 32 and beta_slow 1.
int model_config_scale_rope(ModelConfig *c, RopeScaling scaling, float factor, Err *err);

// ---- reading (model_config_gguf.c; model_config_hf.c, model_config_hf_families.c, model_config_hf_rope.c) ----

// Of a GGUF file, from its metadata and its tensors (vocabulary, biases, divisors of RoPE). ERR_INPUT names the key,
// the value and the expected one; what lorac does not compute is refused by name.
int model_config_gguf_read(ModelConfig *c, const WeightSource *s, Err *err);
// Of the config.json of a Hugging Face folder, or of the file itself; errors likewise.
int model_config_hf_read(ModelConfig *c, const char *where, Err *err);
// The metadata of a GGUF file (model_config_gguf_write.c) of a configuration that was read from a Hugging Face folder.
// _check refuses what a GGUF file or llama.cpp cannot express.
int model_config_gguf_check(const ModelConfig *c, Err *err);
void model_config_gguf_write(GgufWriter *w, const ModelConfig *c);
// The context that is written: at most the sliding window, where llama.cpp computes none for the family.
int64_t model_config_gguf_context(const ModelConfig *c);
// What transformers would do to this base during training and lorac does not, as "attn_pdrop 0.1, embd_pdrop 0.1"
// (dropout inside the base, noise of a router). Adds nothing for a GGUF file, which has no such keys.
// The type of the weights that the config.json of a folder names (dtype, torch_dtype); DTYPE_COUNT: none that is known.
DType model_config_hf_dtype(const char *dir);
int model_config_hf_training_noise(StrBuf *out, const char *path, Err *err);

// *table [positions, rotated]: rotated / 2 cosines, then as many sines, times the attention factor. The float32
// arithmetic is that of transformers' modeling_rope_utils: far positions are sensitive to the rounding of the angle.
// LongRoPE's long list is used for all positions when positions > original_context (as in vLLM and llama.cpp;
// transformers decides for each sequence). ROPE_DYNAMIC: the table of a sequence of that length. Refused (ERR_INPUT): a
// table over 1 GiB, frequencies that are not finite. The caller frees.
int rope_table(float **table, const RopeConfig *r, int64_t positions, Err *err);
float rope_query_scale(const RopeConfig *r, int64_t position); // of query_growth
float rope_attention_factor(const RopeConfig *r);              // of cosines and sines
// Of ROPE_LLAMA3: out [rotated / 2], what the frequencies of plain RoPE are divided by.
void rope_llama3_divisors(float *out, const RopeConfig *r);
// The check of rope_table, without the table.
int rope_check(const RopeConfig *r, int64_t positions, Err *err);
// ROPE_DYNAMIC (dynamic NTK) has other frequencies for each length of a sequence, so no table serves all. The length is
// that of a sample, wherever it is packed: what transformers computes for the sample alone. In cached generation it is
// that of the prompt, or of the sequence so far: keys in the cache keep their rotation, as in transformers.
static inline bool rope_is_by_length(const RopeConfig *r) { return r->scaling == ROPE_DYNAMIC; }
// out [n, rotated] = rows [first, first + n) of the table of a sequence of `length` tokens.
void rope_rows(float *out, const RopeConfig *r, int64_t first, int64_t n, int64_t length);
