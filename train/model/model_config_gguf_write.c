// model_config_gguf_write: the configuration of a Hugging Face folder as GGUF metadata, with the keys that llama.cpp's
// converter writes for its family (conversion/*.py). What a GGUF file or llama.cpp cannot express is refused.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model_config.h"

// ---- what can be written ----

static bool is_sliding(const ModelConfig *c) {
    for (int64_t i = 0; i < c->layers; i++)
        if (c->layer_sliding[i]) return true;
    return false;
}

// Every n-th layer has full attention; 0: none has; -1: no such pattern.
static int64_t window_pattern(const ModelConfig *c) {
    int64_t n = 0;
    while (n < c->layers && c->layer_sliding[n]) n++;
    n = n == c->layers ? 0 : n + 1;
    for (int64_t i = 0; i < c->layers; i++)
        if (c->layer_sliding[i] != (n == 0 || i % n != n - 1)) return -1;
    return n;
}

// Short models do not reach the first full layer of their family's pattern.
static bool is_family_pattern(const ModelConfig *c) {
    int64_t n = c->arch->sliding_pattern;
    for (int64_t i = 0; i < c->layers; i++)
        if (c->layer_sliding[i] != (n == 0 || i % n != n - 1)) return false;
    return true;
}

// Families of which llama.cpp computes windows.
static bool has_windows(const ModelConfig *c) {
    return c->arch->sliding_pattern > 0 || strcmp(c->architecture, "phi3") == 0;
}

static int check_rope(const RopeConfig *r, const ModelConfig *c, Err *err) {
    bool phi3 = strcmp(c->architecture, "phi3") == 0;
    if (r->scaling == ROPE_DYNAMIC) return err_input(err, "dynamic RoPE scaling has no form in GGUF");
    if (r->scaling == ROPE_LONGROPE && !phi3) return err_input(err, "longrope has a form in GGUF for Phi-3 only");
    if (r->scaling != ROPE_PLAIN && c->arch->bare_norms)
        return err_input(err, "RoPE scaling has no form in GGUF for %s", c->arch->model_types[0]);
    if (r->scaling == ROPE_LLAMA3 && strcmp(c->architecture, "llama") != 0)
        return err_input(err, "llama3 RoPE scaling has a form in GGUF for Llama only");
    bool plain = r->mscale == 0 && r->mscale_all_dim == 0;
    bool known = c->arch->grows_queries && r->mscale == 1 && r->mscale_all_dim > 0;
    if (r->scaling == ROPE_YARN && (r->keep_range || !(plain || known)))
        return err_input(err, "YaRN with truncate false, mscale or mscale_all_dim has no form in GGUF");
    return 0;
}

static int check_experts(const ModelConfig *c, Err *err) {
    if (!c->experts) return 0;
    for (int64_t i = 0; i < c->layers; i++)
        if (c->layer_dense[i])
            return err_input(err, "layer %ld of a mixture of experts is dense, which llama.cpp does not compute", i);
    bool computed = !c->arch->gguf_plain_scores;
    if (c->renormalise_experts == computed || (!c->renormalise_experts && c->experts_used == c->experts)) return 0;
    return err_input(err, "norm_topk_prob is %s with %ld of %ld experts; llama.cpp computes only %s",
                     computed ? "false" : "true", c->experts_used, c->experts, computed ? "true" : "false");
}

static int check_unrotated(const ModelConfig *c, Err *err) {
    int64_t pattern = c->arch->unrotated_pattern;
    if (c->arch->unrotated_full) return 0;
    for (int64_t i = 0; i < c->layers; i++)
        if (c->layer_unrotated[i] != (pattern && (i + 1) % pattern == 0))
            return err_input(err, "layer %ld has %sRoPE; llama.cpp computes %s with none in every %ldth layer", i,
                             c->layer_unrotated[i] ? "no " : "", c->arch->model_types[0], pattern);
    return 0;
}

static int check_attention(const ModelConfig *c, Err *err) {
    int64_t scaled = c->head_size;
    if (c->arch->gguf_wide_layers == c->layers) scaled = c->hidden / c->heads;
    float expected = 1.0f / sqrtf((float)scaled);
    if (!c->arch->scales && fabsf(c->query_scale - expected) > 1e-6f * expected)
        return err_input(err, "query_pre_attn_scalar is %g; llama.cpp computes this model with %ld",
                         1 / ((double)c->query_scale * (double)c->query_scale), scaled);
    if (is_sliding(c) && has_windows(c) && !c->arch->gguf_window_list && !is_family_pattern(c) && window_pattern(c) < 0)
        return err_input(err, "the layers with a sliding window follow no pattern that GGUF has a key for");
    return 0;
}

int model_config_gguf_check(const ModelConfig *c, Err *err) {
    const Architecture *a = c->arch;
    if (!a->gguf) return err_input(err, "%s has no form in GGUF that lorac writes", a->model_types[0]);
    if (a->expert_biases)
        return err_input(err, "%s is not converted in this version; llama.cpp's convert_hf_to_gguf.py does it",
                         a->model_types[0]);
    if (c->has_glu ? c->glu != a->glu : c->activation != a->activation)
        return err_input(err, "another activation than that of %s in llama.cpp", a->model_types[0]);
    if (a->gguf_tied && !c->tied_head)
        return err_input(err, "a head of its own (lm_head), which llama.cpp does not compute for %s",
                         a->model_types[0]);
    if (a->bare_norms && (c->qkv_bias || c->o_bias))
        return err_input(err, "biases of attention, which llama.cpp does not compute for %s", a->model_types[0]);
    bool has_local = c->rope_local.scaling != ROPE_NONE;
    if (has_local && a->gguf_local_base == 0 && c->rope_local.base != c->rope.base)
        return err_input(err, "layers with a sliding window have rope_theta %g; llama.cpp computes all with %g",
                         (double)c->rope_local.base, (double)c->rope.base);
    if (a->gguf_square && c->heads * c->head_size != c->hidden)
        return err_input(err,
                         "%ld heads of size %ld over a hidden size of %ld, which llama.cpp does not compute for %s",
                         c->heads, c->head_size, c->hidden, a->model_types[0]);
    if (a->gguf_untied && c->tied_head)
        return err_input(err, "a tied head, which llama.cpp does not compute for %s", a->model_types[0]);
    return check_attention(c, err) || check_unrotated(c, err) || check_rope(&c->rope, c, err) || check_experts(c, err)
               ? -1
               : 0;
}

int64_t model_config_gguf_context(const ModelConfig *c) {
    return is_sliding(c) && !has_windows(c) && c->window < c->context ? c->window : c->context;
}

// ---- keys ----

typedef struct Keys {
    GgufWriter *w;
    const char *architecture;
} Keys;

static const char *full_key(char buf[96], const Keys *k, const char *key) {
    snprintf(buf, 96, "%s.%s", k->architecture, key);
    return buf;
}

static void put_int(const Keys *k, const char *key, int64_t value) {
    char name[96];
    gguf_writer_u32(k->w, full_key(name, k, key), (uint32_t)value);
}

static void put_float(const Keys *k, const char *key, float value) {
    char name[96];
    gguf_writer_f32(k->w, full_key(name, k, key), value);
}

static void put_bools(const Keys *k, const char *key, const uint8_t *values, size_t count) {
    char name[96];
    gguf_writer_bools(k->w, full_key(name, k, key), values, count);
}

static void put_string(const Keys *k, const char *key, const char *value) {
    char name[96];
    gguf_writer_string(k->w, full_key(name, k, key), value);
}

// Families whose converter is that of Llama.
static bool is_llama(const ModelConfig *c) { return c->arch->gguf_permuted_qk; }

static void put_factors(const Keys *k, const ModelConfig *c) {
    if (c->arch->multiplies_logits) put_float(k, "logit_scale", c->logit_scale);
    if (!c->arch->scales) return;
    put_float(k, "attention.scale", c->query_scale);
    put_float(k, "embedding_scale", c->embed_scale);
    put_float(k, "residual_scale", c->residual_scale);
    put_float(k, "logit_scale", 1 / c->logit_scale);
}

static void put_scaling(const Keys *k, const RopeConfig *r) {
    if (r->scaling == ROPE_LINEAR || r->scaling == ROPE_YARN) {
        put_string(k, "rope.scaling.type", r->scaling == ROPE_YARN ? "yarn" : "linear");
        put_float(k, "rope.scaling.factor", r->factor);
    }
    if (r->scaling != ROPE_YARN) return;
    if (r->query_growth != 0) {
        put_float(k, "rope.scaling.yarn_log_multiplier", r->mscale_all_dim);
        put_float(k, "attention.temperature_scale", r->query_growth);
    }
    put_int(k, "rope.scaling.original_context_length", r->original_context);
    if (r->attention_factor != 0) put_float(k, "rope.scaling.yarn_attn_factor", r->attention_factor);
    if (r->beta_fast != 32) put_float(k, "rope.scaling.yarn_beta_fast", r->beta_fast);
    if (r->beta_slow != 1) put_float(k, "rope.scaling.yarn_beta_slow", r->beta_slow);
}

static void put_rope(const Keys *k, const ModelConfig *c) {
    const RopeConfig *r = &c->rope;
    if (r->scaling == ROPE_NONE) return;
    bool plain = c->arch->head_bias || (c->arch->scaled_embedding && !c->arch->local_rope); // Phi-2, Gemma 1 and 2
    bool phi3 = strcmp(c->architecture, "phi3") == 0;
    if (c->arch->bare_norms) put_string(k, "rope.scaling.type", "none");
    put_scaling(k, r);
    if (!plain || r->base != 10000.0f) put_float(k, "rope.freq_base", r->base);
    if (c->rope_local.scaling != ROPE_NONE) put_float(k, "rope.freq_base_swa", c->rope_local.base);
    if (phi3 || is_llama(c) || c->arch->unrotated_full || c->arch->head_bias || r->rotated < c->head_size)
        put_int(k, "rope.dimension_count", r->rotated);
    if (phi3)
        put_int(k, "rope.scaling.original_context_length", r->original_context ? r->original_context : c->context);
    if (r->scaling == ROPE_LONGROPE) put_float(k, "rope.scaling.attn_factor", rope_attention_factor(r));
}

// Layers without key heads have a short convolution.
static void put_convs(const Keys *k, const ModelConfig *c) {
    char name[96];
    AUTO_FREE int32_t *heads = mem_alloc((size_t)c->layers, sizeof *heads);
    for (int64_t i = 0; i < c->layers; i++) heads[i] = c->layer_conv[i] ? 0 : (int32_t)c->kv_heads;
    gguf_writer_i32s(k->w, full_key(name, k, "attention.head_count_kv"), heads, (size_t)c->layers);
    put_int(k, "shortconv.l_cache", c->conv_taps);
}

static void put_attention(const Keys *k, const ModelConfig *c) {
    bool phi3 = strcmp(c->architecture, "phi3") == 0, layer_norm = c->arch->norm == NORM_KIND_LAYER;
    put_int(k, "attention.head_count", c->heads);
    if (c->conv_taps)
        put_convs(k, c);
    else if (!c->arch->learned_positions)
        put_int(k, "attention.head_count_kv", c->kv_heads);
    put_float(k, layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", c->norm_eps);
    bool plain = c->head_size == c->hidden / c->heads && (phi3 || c->arch->learned_positions);
    if (!plain) {
        put_int(k, "attention.key_length", c->head_size);
        put_int(k, "attention.value_length", c->head_size);
    }
    if (phi3) put_int(k, "attention.sliding_window", c->window); // 0 tells Phi-4 from others
    if (!is_sliding(c) || !has_windows(c)) return;
    if (!phi3) put_int(k, "attention.sliding_window", c->window);
    if (c->arch->gguf_window_list)
        put_bools(k, "attention.sliding_window_pattern", c->layer_sliding, (size_t)c->layers);
    else if (!phi3 && !is_family_pattern(c))
        put_int(k, "attention.sliding_window_pattern", window_pattern(c));
}

void model_config_gguf_write(GgufWriter *w, const ModelConfig *c) {
    const Keys k = {w, c->architecture};
    gguf_writer_string(w, "general.architecture", c->architecture);
    put_int(&k, "block_count", c->layers);
    put_int(&k, "context_length", model_config_gguf_context(c));
    put_int(&k, "embedding_length", c->hidden);
    put_int(&k, "feed_forward_length", c->ffn);
    if (is_llama(c) || c->arch->unrotated_full || c->arch->hf.conv) put_int(&k, "vocab_size", c->vocab);
    put_attention(&k, c);
    put_factors(&k, c);
    put_rope(&k, c);
    if (c->attn_softcap != 0) put_float(&k, "attn_logit_softcapping", c->attn_softcap);
    if (c->final_softcap != 0) put_float(&k, "final_logit_softcapping", c->final_softcap);
    if (!c->experts) return;
    put_int(&k, "expert_count", c->experts);
    put_int(&k, "expert_used_count", c->experts_used);
    if (c->expert_ffn != c->ffn) put_int(&k, "expert_feed_forward_length", c->expert_ffn);
    if (c->shared_ffn) put_int(&k, "expert_shared_feed_forward_length", c->shared_ffn);
}
