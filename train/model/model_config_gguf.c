// model_config_gguf: the ModelConfig of a GGUF file. Keys and defaults: llama.cpp, src/llama-model.cpp and
// src/models/*.cpp; what its converter writes: conversion/*.py.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model_config.h"

// ---- typed reading of "<architecture>.<key>" ----

typedef struct Reader {
    const WeightSource *source;
    const Gguf *g;
    char architecture[32];
    int64_t layers; // 0: not read yet
    Err *err;
} Reader;

enum { KEY_MAX = 96 };
static void full_key(char buf[KEY_MAX], const Reader *r, const char *key) {
    snprintf(buf, KEY_MAX, "%s.%s", r->architecture, key);
}

static bool has_key(const Reader *r, const char *key) {
    char name[KEY_MAX];
    full_key(name, r, key);
    return gguf_has(r->g, name);
}

// Some converters write head counts and sizes once for each layer: they must be the same in all layers.
static int read_per_layer(const Reader *r, const char *name, uint64_t *out) {
    AUTO_FREE uint64_t *values = NULL;
    size_t n, i = 0;
    if (gguf_u64_array(r->g, name, true, &values, &n, r->err)) return -1;
    while (i < n && values[i] == values[0]) i++;
    if (n != (size_t)r->layers)
        return err_input(r->err, "%s has %zu value%s; expected one for each of the %ld layer%s", name, n, plural(n),
                         r->layers, plural(r->layers));
    if (i < n)
        return err_input(r->err, "%s is %lu in layer 0 and %lu in layer %zu; expected the same in all layers", name,
                         values[0], values[i], i);
    *out = values[0];
    return 0;
}

// An integer in [min, max]; fallback < 0: the key is required.
static int read_int(const Reader *r, const char *key, int64_t fallback, int64_t min, int64_t max, int64_t *out) {
    char name[KEY_MAX];
    full_key(name, r, key);
    uint64_t value = (uint64_t)fallback;
    int rc = r->layers && gguf_has_array(r->g, name) ? read_per_layer(r, name, &value)
                                                     : gguf_u64(r->g, name, fallback < 0, &value, r->err);
    if (rc < 0) return -1;
    if (value < (uint64_t)min || value > (uint64_t)max)
        return err_input(r->err, "%s is %lu; expected %ld to %ld", name, value, min, max);
    *out = (int64_t)value;
    return 0;
}

// A finite number above 0, or also 0; absent: *out stays.
static int read_finite(const Reader *r, const char *key, bool required, bool above_0, float *out) {
    char name[KEY_MAX];
    full_key(name, r, key);
    if (gguf_f32(r->g, name, required, out, r->err) < 0) return -1;
    if (isfinite(*out) && (*out > 0 || (*out == 0 && !above_0))) return 0;
    return err_input(r->err, "%s is %g; expected a finite number %s 0", name, (double)*out,
                     above_0 ? "above" : "of at least");
}

static int read_number(const Reader *r, const char *key, float *out) { return read_finite(r, key, false, false, out); }

// fallback 0: the key is required.
static int read_positive(const Reader *r, const char *key, float fallback, float *out) {
    *out = fallback;
    return read_finite(r, key, fallback == 0, true, out);
}

// Keys whose other values lorac does not compute.
static int expect_int(const Reader *r, const char *key, int64_t value) {
    int64_t found = value;
    if (read_int(r, key, value, 0, INT32_MAX, &found)) return -1;
    if (found == value) return 0;
    return err_input(r->err, "%s.%s is %ld; lorac computes only %ld", r->architecture, key, found, value);
}

static int expect_number(const Reader *r, const char *key, float value) {
    float found = value;
    if (read_number(r, key, &found)) return -1;
    if (found == value) return 0;
    return err_input(r->err, "%s.%s is %g; lorac computes only %g", r->architecture, key, (double)found, (double)value);
}

// ---- attention ----

// Layers without key heads have a short convolution (LFM2).
static int read_conv(ModelConfig *c, const Reader *r) {
    AUTO_FREE uint64_t *heads = NULL;
    size_t n;
    char name[KEY_MAX];
    full_key(name, r, "attention.head_count_kv");
    if (read_int(r, "shortconv.l_cache", -1, 1, SHORT_CONV_MAX_TAPS, &c->conv_taps) ||
        gguf_u64_array(r->g, name, true, &heads, &n, r->err))
        return -1;
    if (n != (size_t)c->layers)
        return err_input(r->err, "%s has %zu value%s; expected one for each of the %ld layer%s", name, n, plural(n),
                         c->layers, plural(c->layers));
    c->kv_heads = 0;
    for (int64_t i = 0; i < c->layers; i++) {
        c->layer_conv[i] = heads[i] == 0;
        if (!heads[i]) continue;
        if (heads[i] > 1024 || (c->kv_heads && heads[i] != (uint64_t)c->kv_heads))
            return err_input(r->err, "%s is %lu in layer %ld; expected the same in all layers with attention", name,
                             heads[i], i);
        c->kv_heads = (int64_t)heads[i];
    }
    return c->kv_heads ? 0 : err_input(r->err, "%s is 0 in every layer; expected attention in one at least", name);
}

static int read_heads(ModelConfig *c, const Reader *r) {
    int64_t value_size = 0;
    if (read_int(r, "attention.head_count", -1, 1, 1024, &c->heads) ||
        (c->arch->gguf_names.conv ? read_conv(c, r)
                                  : read_int(r, "attention.head_count_kv", c->heads, 1, 1024, &c->kv_heads)) ||
        read_int(r, "attention.key_length", c->hidden / c->heads, 2, 1024, &c->head_size) ||
        read_int(r, "attention.value_length", c->hidden / c->heads, 2, 1024, &value_size))
        return -1;
    if (c->heads % c->kv_heads != 0)
        return err_input(r->err, "%ld attention head%s over %ld key/value head%s; expected a multiple", c->heads,
                         plural(c->heads), c->kv_heads, plural(c->kv_heads));
    if (value_size != c->head_size || c->head_size % 2 != 0)
        return err_input(r->err, "heads of %ld (keys) and %ld (values); expected the same even size", c->head_size,
                         value_size);
    // The largest Gemma models scale by another size; llama.cpp recognises them by their number of layers.
    int64_t scaled = c->head_size;
    if (c->arch->gguf_wide_layers && c->layers == c->arch->gguf_wide_layers) scaled = c->hidden / c->heads;
    c->query_scale = 1.0f / sqrtf((float)scaled);
    return 0;
}

// A list of flags, one for each layer.
static int read_sliding_layers(ModelConfig *c, const Reader *r, const char *name) {
    AUTO_FREE uint8_t *flags = NULL;
    size_t n;
    if (gguf_bool_array(r->g, name, true, &flags, &n, r->err)) return -1;
    if (n != (size_t)c->layers)
        return err_input(r->err, "%s has %zu value%s; expected one for each of the %ld layer%s", name, n, plural(n),
                         c->layers, plural(c->layers));
    memcpy(c->layer_sliding, flags, n);
    return 0;
}

// Sliding-window pattern n: every n-th layer has full attention; 0: no layer has.
static int read_window(ModelConfig *c, const Reader *r) {
    int64_t pattern = c->arch->sliding_pattern;
    bool optional = !c->arch->unrotated_full;
    if (read_int(r, "attention.sliding_window", optional ? c->arch->gguf_window : -1, optional ? 0 : 1, 1 << 24,
                 &c->window))
        return -1;
    if (c->window == 0) return 0;
    char name[KEY_MAX];
    full_key(name, r, "attention.sliding_window_pattern");
    if (gguf_has_array(r->g, name)) return read_sliding_layers(c, r, name);
    if (read_int(r, "attention.sliding_window_pattern", pattern, 0, MODEL_MAX_LAYERS, &pattern)) return -1;
    for (int64_t i = 0; i < c->layers; i++) c->layer_sliding[i] = pattern == 0 || i % pattern != pattern - 1;
    return 0;
}

static int read_softcaps(ModelConfig *c, const Reader *r) {
    c->attn_softcap = c->arch->gguf_attn_softcap;
    c->final_softcap = c->arch->gguf_final_softcap;
    if (read_number(r, "attn_logit_softcapping", &c->attn_softcap) ||
        read_number(r, "final_logit_softcapping", &c->final_softcap))
        return -1;
    return 0;
}

// Granite's factors. llama.cpp takes 0 as absent.
static int read_factor(const Reader *r, const char *key, float *out) {
    float value = 0;
    if (read_number(r, key, &value)) return -1;
    if (value > 0) *out = value;
    return 0;
}

static int read_factors(ModelConfig *c, const Reader *r) {
    float logits;
    bool rotated = true; // llama.cpp's switch of RoPE in this architecture
    if (c->arch->multiplies_logits) return read_factor(r, "logit_scale", &c->logit_scale);
    if (!c->arch->scales) return 0;
    if (read_factor(r, "embedding_scale", &c->embed_scale) || read_factor(r, "attention.scale", &c->query_scale) ||
        read_factor(r, "residual_scale", &c->residual_scale) || read_positive(r, "logit_scale", 0, &logits))
        return -1;
    c->logit_scale = 1 / logits;
    char name[KEY_MAX];
    full_key(name, r, "rope.scaling.finetuned");
    if (gguf_bool(r->g, name, false, &rotated, r->err) < 0) return -1;
    memset(c->layer_unrotated, !rotated, (size_t)c->layers);
    return 0;
}

// ---- RoPE ----

// A list of divisors of the frequencies; *found: the file has it.
static int read_divisor(const Reader *r, const RopeConfig *rope, const char *name, float *out, bool *found) {
    const SourceTensor *t = weight_source_get(r->source, name);
    *found = t != NULL;
    if (!t) return 0;
    if (t->n_dims != 1 || t->shape[0] != rope->rotated / 2 || t->dtype > DTYPE_BF16)
        return err_input(r->err, "%s has %ld value%s of type %s; expected %ld of F32, F16 or BF16", name, t->shape[0],
                         plural(t->shape[0]), t->dtype_name, rope->rotated / 2);
    for (int64_t i = 0; t->is_absent && i < t->shape[0]; i++) out[i] = 1; // sizes do not depend on them
    if (t->is_absent) return 0;
    dtype_expand(t->dtype, out, t->data, (size_t)t->shape[0]);
    for (int64_t i = 0; i < t->shape[0]; i++)
        if (!(out[i] > 0) || !isfinite(out[i]))
            return err_input(r->err, "%s[%ld] is %g; expected a finite number above 0", name, i, (double)out[i]);
    return 0;
}

static int read_divisors(RopeConfig *rope, const Reader *r) {
    bool plain, is_short, is_long;
    if (read_divisor(r, rope, "rope_freqs.weight", rope->short_divisor, &plain)) return -1;
    if (plain) {
        rope->has_divisor = true;
        return 0;
    }
    if (read_divisor(r, rope, "rope_factors_short.weight", rope->short_divisor, &is_short) ||
        read_divisor(r, rope, "rope_factors_long.weight", rope->long_divisor, &is_long))
        return -1;
    if (is_short != is_long || (rope->scaling == ROPE_LONGROPE && !is_long))
        return err_input(r->err, "LongRoPE without both of rope_factors_short.weight and rope_factors_long.weight");
    if (!is_long) return 0;
    rope->scaling = ROPE_LONGROPE;
    rope->has_divisor = true;
    return 0;
}

static int read_yarn(RopeConfig *rope, const Reader *r) {
    if (read_positive(r, "rope.scaling.yarn_beta_fast", 32, &rope->beta_fast) ||
        read_positive(r, "rope.scaling.yarn_beta_slow", 1, &rope->beta_slow) ||
        read_number(r, "rope.scaling.yarn_attn_factor", &rope->attention_factor) ||
        expect_number(r, "rope.scaling.yarn_ext_factor", 1) || expect_number(r, "rope.scaling.attn_factor", 1))
        return -1;
    return 0;
}

static int refuse_factor(const RopeConfig *rope, const Reader *r, const char *type) {
    return err_input(r->err, "%s.rope.scaling.factor is %g; expected at least 1 for %s", r->architecture,
                     (double)rope->factor, type);
}

// As in llama.cpp, a factor without a type is linear.
static int read_scaling(RopeConfig *rope, const Reader *r) {
    char name[KEY_MAX];
    full_key(name, r, "rope.scaling.type");
    GgufStr type = {"linear", 6};
    if (gguf_string(r->g, name, false, &type, r->err) < 0) return -1;
    float factor = 0;
    if (read_number(r, has_key(r, "rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear", &factor))
        return -1;
    rope->scaling = ROPE_PLAIN;
    rope->factor = factor;
    if (gguf_str_is(type, "none")) return 0;
    if (gguf_str_is(type, "linear")) {
        if (factor != 0 && factor != 1) rope->scaling = ROPE_LINEAR;
        return factor == 0 && gguf_has(r->g, name) ? refuse_factor(rope, r, "linear") : 0;
    }
    if (gguf_str_is(type, "longrope")) {
        rope->scaling = ROPE_LONGROPE;
        return 0;
    }
    if (!gguf_str_is(type, "yarn"))
        return err_input(r->err, "%s is \"%.*s\"; expected none, linear, yarn or longrope", name,
                         (int)(type.len < 64 ? type.len : 64), type.data);
    rope->scaling = ROPE_YARN;
    if (!(factor >= 1)) return refuse_factor(rope, r, "yarn");
    return read_yarn(rope, r);
}

// Ministral 3. llama.cpp takes YaRN's mscale as 1 where it has the other factor.
static int read_growth(RopeConfig *rope, const Reader *r) {
    if (read_number(r, "rope.scaling.yarn_log_multiplier", &rope->mscale_all_dim) ||
        read_number(r, "attention.temperature_scale", &rope->query_growth))
        return -1;
    rope->mscale = rope->mscale_all_dim > 0;
    return 0;
}

static int read_rope(ModelConfig *c, const Reader *r) {
    RopeConfig *rope = &c->rope;
    if (c->arch->learned_positions) return 0;
    if (c->arch->unrotated_full) model_config_unrotate_full(c);
    for (int64_t i = 0; c->arch->unrotated_pattern && i < c->layers; i++)
        c->layer_unrotated[i] = (i + 1) % c->arch->unrotated_pattern == 0;
    if (read_positive(r, "rope.freq_base", 10000.0f, &rope->base) ||
        read_int(r, "rope.dimension_count", c->head_size, 2, c->head_size, &rope->rotated) || read_scaling(rope, r) ||
        read_int(r, "rope.scaling.original_context_length", c->context, 1, 1 << 24, &rope->original_context) ||
        expect_number(r, "rope.scaling.alpha", 0) ||
        (c->arch->grows_queries ? read_growth(rope, r) : expect_number(r, "rope.scaling.yarn_log_multiplier", 0)))
        return -1;
    if (rope->rotated % 2 != 0 || (c->permuted_qk && rope->rotated != c->head_size))
        return err_input(r->err, "%s.rope.dimension_count is %ld; expected %s %ld", r->architecture, rope->rotated,
                         c->permuted_qk ? "the head size" : "an even number to", c->head_size);
    if (read_divisors(rope, r)) return -1;
    if (rope->scaling == ROPE_LONGROPE) {
        rope->factor = (float)c->context / (float)rope->original_context;
        if (read_number(r, "rope.scaling.attn_factor", &rope->attention_factor)) return -1;
    }
    if (!c->arch->local_rope || c->window == 0) return 0;
    c->rope_local = (RopeConfig){.scaling = ROPE_PLAIN, .rotated = rope->rotated};
    float base = c->arch->gguf_local_base > 0 ? c->arch->gguf_local_base : rope->base;
    return read_positive(r, "rope.freq_base_swa", base, &c->rope_local.base);
}

// ---- experts ----

static int read_experts(ModelConfig *c, const Reader *r) {
    if (c->experts == 0) return 0;
    c->renormalise_experts = !c->arch->gguf_plain_scores; // as llama.cpp computes the architecture
    if (weight_source_get(r->source, "blk.0.ffn_gate.0.weight"))
        return err_input(r->err,
                         "experts as single tensors (blk.0.ffn_gate.0.weight), as llama.cpp wrote them before "
                         "April 2024; expected stacked ones (blk.0.ffn_gate_exps.weight): convert the model again");
    if (read_int(r, "expert_used_count", -1, 1, c->experts, &c->experts_used) ||
        read_int(r, "expert_feed_forward_length", c->ffn, 1, 1 << 18, &c->expert_ffn) ||
        (c->arch->hf.shared_gate &&
         read_int(r, "expert_shared_feed_forward_length", c->ffn, 1, 1 << 18, &c->shared_ffn)) ||
        expect_int(r, "expert_shared_count", 0) || expect_int(r, "leading_dense_block_count", 0) ||
        expect_int(r, "expert_group_count", 0) || expect_number(r, "expert_weights_scale", 1))
        return -1;
    return 0;
}

// ---- vocabulary, head and biases, from the tensors ----

static bool has_tensor(const Reader *r, const char *name) { return weight_source_get(r->source, name) != NULL; }

static int read_tensors(ModelConfig *c, const Reader *r) {
    const SourceTensor *embedding = weight_source_get(r->source, "token_embd.weight");
    if (!embedding) return err_input(r->err, "token_embd.weight is missing; expected a whole model");
    if (embedding->n_dims != 2 || embedding->shape[0] < 1 || embedding->shape[0] > 1 << 24)
        return err_input(r->err, "token_embd.weight has %ld row%s; expected a matrix of 1 to 2^24", embedding->shape[0],
                         plural(embedding->shape[0]));
    if (read_int(r, "vocab_size", embedding->shape[0], 1, 1 << 24, &c->vocab)) return -1;
    c->tied_head = !has_tensor(r, "output.weight");
    if (c->arch->learned_positions) c->positions_table = c->context;
    c->qkv_bias = has_tensor(r, "blk.0.attn_q.bias") || has_tensor(r, "blk.0.attn_qkv.bias");
    c->o_bias = has_tensor(r, "blk.0.attn_output.bias");
    c->mlp_bias = has_tensor(r, "blk.0.ffn_up.bias");
    return 0;
}

// ---- reading ----

static int find_architecture(ModelConfig *c, Reader *r) {
    GgufStr name;
    if (gguf_string(r->g, "general.architecture", true, &name, r->err) < 0) return -1;
    snprintf(r->architecture, sizeof r->architecture, "%.*s", (int)(name.len < 31 ? name.len : 31), name.data);
    int64_t experts = 0;
    if (read_int(r, "expert_count", 0, 0, 4096, &experts)) return -1;
    const Architecture *a = architecture_by_gguf(name.data, name.len, experts > 0);
    if (a) {
        model_config_init(c, a);
        c->experts = experts;
        c->permuted_qk = a->gguf_permuted_qk;
        return 0;
    }
    if (architecture_by_gguf(name.data, name.len, experts == 0))
        return err_input(r->err, "%s.expert_count is %ld; expected %s", r->architecture, experts,
                         experts ? "none in this architecture" : "at least 1");
    AUTO_STR StrBuf known = {0};
    architecture_list(&known, false);
    return err_input(r->err, "architecture \"%.*s\"; expected one of %s", (int)(name.len < 64 ? name.len : 64),
                     name.data, known.data);
}

static int read_config(ModelConfig *c, Reader *r) {
    if (find_architecture(c, r) || read_int(r, "block_count", -1, 1, MODEL_MAX_LAYERS, &c->layers)) return -1;
    bool layer_norm = c->arch->norm == NORM_KIND_LAYER;
    r->layers = c->layers;
    if (read_int(r, "embedding_length", -1, 2, 1 << 18, &c->hidden) ||
        read_int(r, "feed_forward_length", -1, 1, 1 << 18, &c->ffn) ||
        read_int(r, "context_length", -1, 1, 1 << 24, &c->context) ||
        read_positive(r, layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", 0,
                      &c->norm_eps))
        return -1;
    if (c->arch->scaled_embedding) c->embed_scale = sqrtf((float)c->hidden);
    if (read_heads(c, r) || read_window(c, r) || read_softcaps(c, r) || read_factors(c, r) || read_rope(c, r) ||
        read_experts(c, r) || read_tensors(c, r))
        return -1;
    return 0;
}

int model_config_gguf_read(ModelConfig *c, const WeightSource *s, Err *err) {
    Reader r = {.source = s, .g = s->gguf, .err = err};
    return read_config(c, &r) ? err_context(err, "%s", gguf_path(r.g)) : 0;
}
