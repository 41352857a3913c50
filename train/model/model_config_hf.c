// model_config_hf: reads a config.json into a checked ModelConfig. Families are rows of model_config_hf_families.c;
// positions are read by model_config_hf_rope.c.
#include "model_config_hf_internal.h"

#include <math.h>
#include <string.h>

#include "path.h"
#include "weight_source.h"

enum { MAX_CONTEXT = 1 << 24, MAX_HIDDEN = 1 << 18, MAX_HEADS = 1024 };

// Switches of computations that lorac does not do: each must be off in the families whose class in transformers reads
// it (in others it has no effect).
enum {
    READ_BY_BERT = 1,
    READ_BY_GPT2 = 2,
    READ_BY_OTHERS = 4,
    READ_BY_ALL = READ_BY_BERT | READ_BY_GPT2 | READ_BY_OTHERS,
    READ_BY_MIXTURES = 8,
    READ_BY_PHI = 16,
    READ_BY_COHERE = 32
};
static const struct {
    const char *key;
    bool expected;
    unsigned readers; // bit set
} switches[] = {
    {"add_cross_attention", false, READ_BY_BERT | READ_BY_GPT2},
    {"is_causal", true, READ_BY_GPT2 | READ_BY_OTHERS},
    {"is_decoder", false, READ_BY_BERT},
    {"is_encoder_decoder", false, READ_BY_ALL},
    {"output_router_logits", false, READ_BY_MIXTURES}, // adds the load-balancing loss
    {"reorder_and_upcast_attn", false, READ_BY_GPT2},
    {"scale_attn_by_inverse_layer_idx", false, READ_BY_GPT2},
    {"use_bidirectional_attention", false, READ_BY_ALL},
    {"scale_attn_weights", true, READ_BY_GPT2},
    {"qk_layernorm", false, READ_BY_PHI},
    {"use_qk_norm", false, READ_BY_COHERE},
};
// Likewise; off: null, false or an empty list.
static const char *const foreign_keys[] = {"quantization_config", "quantization", "per_layer_config", "pruned_heads"};

static int refuse_switches(const JsonReader *j, const Architecture *a) {
    unsigned reader = a->encoder ? READ_BY_BERT : a->hf_conv1d ? READ_BY_GPT2 : READ_BY_OTHERS;
    if (a->experts) reader |= READ_BY_MIXTURES;
    if (a->parallel) reader |= a->bare_norms ? READ_BY_COHERE : READ_BY_PHI;
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++) {
        bool value;
        if (!(switches[i].readers & reader)) continue;
        if (json_read_flag(j, switches[i].key, switches[i].expected, &value)) return -1;
        if (value != switches[i].expected)
            return json_refuse(j, switches[i].key, NULL, "%s", switches[i].expected ? "true" : "false");
    }
    const char *positions;
    if (!a->encoder || !a->learned_positions) return 0;
    if (json_read_string(j, "position_embedding_type", "absolute", &positions)) return -1;
    if (strcmp(positions, "absolute") == 0) return 0;
    return json_refuse(j, "position_embedding_type", NULL, "\"absolute\"");
}

static int refuse_foreign(const JsonReader *j, const Architecture *a) {
    if (refuse_switches(j, a)) return -1;
    bool nested = *j->prefix; // quantization_config of the whole: quantized.c
    for (size_t i = nested ? 0 : 1; i < sizeof foreign_keys / sizeof *foreign_keys; i++)
        if (!json_is_off(json_get(j->object, foreign_keys[i]))) return json_refuse(j, foreign_keys[i], NULL, "none");
    return 0;
}

// ---- sizes ----

static int read_sizes(ModelConfig *c, const JsonReader *j, const HfFamily *f) {
    const struct {
        const char *keys[3]; // by HfKeys
        int64_t absent, min, max, *out;
    } sizes[] = {
        {{"hidden_size", "n_embd", "dim"}, f->hidden, 2, MAX_HIDDEN, &c->hidden},
        {{"num_hidden_layers", "n_layer", "n_layers"}, f->layers, 1, MODEL_MAX_LAYERS, &c->layers},
        {{"num_attention_heads", "n_head", "n_heads"}, f->heads, 1, MAX_HEADS, &c->heads},
        {{"max_position_embeddings", "n_positions", "max_position_embeddings"},
         f->context,
         1,
         MAX_CONTEXT,
         &c->context},
        {{"vocab_size", "vocab_size", "vocab_size"}, f->vocab, 1, 1 << 24, &c->vocab},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const char *const *keys = sizes[i].keys;
        JsonIntRule size = {keys[f->keys],  keys[KEYS_USUAL], sizes[i].absent,
                            JSON_AS_ABSENT, sizes[i].min,     sizes[i].max};
        if (json_read_int(j, &size, sizes[i].out)) return -1;
    }
    if (f->context_key &&
        json_read_int(j, &(JsonIntRule){f->context_key, NULL, c->context, JSON_AS_ABSENT, 1, MAX_CONTEXT}, &c->context))
        return -1;
    static const char *const ffn_keys[] = {"intermediate_size", "n_inner", "hidden_dim"};
    int64_t ffn = f->ffn ? f->ffn : 4 * c->hidden, null = f->keys == KEYS_GPT2 ? ffn : JSON_AS_ABSENT;
    return json_read_int(
        j, &(JsonIntRule){f->ffn_key ? f->ffn_key : ffn_keys[f->keys], NULL, ffn, null, 1, MAX_HIDDEN * 4}, &c->ffn);
}

static int read_heads(ModelConfig *c, const JsonReader *j, const HfFamily *f) {
    int64_t share = c->hidden / c->heads;
    c->kv_heads = c->heads;
    c->head_size = share;
    if (f->rope.base > 0) {
        int64_t kv_heads = f->kv_heads ? f->kv_heads : c->heads, head_size = f->head_size ? f->head_size : share;
        if (json_read_int(j, &(JsonIntRule){"num_key_value_heads", NULL, kv_heads, c->heads, 1, MAX_HEADS},
                          &c->kv_heads) ||
            json_read_int(j, &(JsonIntRule){"head_dim", NULL, head_size, share, 2, 1024}, &c->head_size))
            return -1;
    }
    if (c->heads % c->kv_heads != 0)
        return err_input(j->err, "%ld attention head%s over %ld key/value head%s; expected a multiple", c->heads,
                         plural(c->heads), c->kv_heads, plural(c->kv_heads));
    if (c->head_size == share && c->hidden % c->heads != 0)
        return err_input(j->err, "a hidden size of %ld for %ld attention heads; expected a multiple", c->hidden,
                         c->heads);
    if (c->head_size < 2 || c->head_size > 1024 || (f->rope.base > 0 && c->head_size % 2))
        return err_input(j->err, "heads of size %ld; expected an even size from 2 to 1024", c->head_size);
    return 0;
}

// ---- activation, biases, scales ----

static int read_activation(ModelConfig *c, const JsonReader *j, const HfFamily *f) {
    static const struct {
        const char *name;
        ActivationKind kind;
        GluKind glu;
        bool has_glu; // has a gated form
    } known[] = {
        {"silu", ACTIVATION_SILU, GLU_SILU, true},
        {"swish", ACTIVATION_SILU, GLU_SILU, true},
        {"gelu", ACTIVATION_GELU, GLU_GELU, true},
        {"gelu_python", ACTIVATION_GELU, GLU_GELU, true},
        {"gelu_new", ACTIVATION_GELU_TANH, GLU_GELU_TANH, true},
        {"gelu_pytorch_tanh", ACTIVATION_GELU_TANH, GLU_GELU_TANH, true},
        {"gelu_python_tanh", ACTIVATION_GELU_TANH, GLU_GELU_TANH, true},
        {"gelu_accurate", ACTIVATION_GELU_TANH, GLU_GELU_TANH, true},
        {"gelu_fast", ACTIVATION_GELU_TANH, GLU_GELU_TANH, true}, // the same formula with a rounded constant
        {"relu", ACTIVATION_RELU, GLU_SILU, false},
        {"tanh", ACTIVATION_TANH, GLU_SILU, false},
    };
    const char *name;
    if (json_read_string(j, f->activation_key, f->activation, &name)) return -1;
    if (f->gelu_is_tanh && strcmp(name, "gelu") == 0) name = "gelu_pytorch_tanh";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i].name) != 0 || (c->has_glu && !known[i].has_glu)) continue;
        c->activation = known[i].kind;
        c->glu = known[i].glu;
        return 0;
    }
    return json_refuse(j, f->activation_key, NULL, "silu, gelu%s or a form of them (gelu_new, gelu_pytorch_tanh, ...)",
                       c->has_glu ? "" : ", relu, tanh");
}

static int read_bias(bool *out, const JsonReader *j, BiasRule rule, const char *key) {
    *out = rule == BIAS_ALWAYS;
    return rule == BIAS_KEY ? json_read_flag(j, key, false, out) : 0;
}

static int read_biases(ModelConfig *c, const JsonReader *j, const HfFamily *f) {
    if (read_bias(&c->qkv_bias, j, f->qkv_bias, "attention_bias") ||
        (f->qkv_bias_key && json_read_flag(j, f->qkv_bias_key, !f->bias_is_off, &c->qkv_bias)) ||
        read_bias(&c->o_bias, j, f->o_bias, "attention_bias") || read_bias(&c->mlp_bias, j, f->mlp_bias, "mlp_bias"))
        return -1;
    static const char *const aliases[] = {"qkv_bias", "bias"};
    for (int i = 0; f->bias_aliases && i < 2; i++)
        if (!json_is_off(json_get(j->object, aliases[i]))) return json_refuse(j, aliases[i], NULL, "false");
    if (f->o_bias == BIAS_OF_QKV) c->o_bias = c->qkv_bias;
    if (f->mlp_bias == BIAS_OF_QKV) c->mlp_bias = c->qkv_bias;
    return 0;
}

// Granite.
static int read_factors(ModelConfig *c, const JsonReader *j) {
    float logits;
    if (json_read_positive(j, &(JsonPositiveRule){"embedding_multiplier", 1, 1}, &c->embed_scale) ||
        json_read_positive(j, &(JsonPositiveRule){"attention_multiplier", 1, 1}, &c->query_scale) ||
        json_read_positive(j, &(JsonPositiveRule){"residual_multiplier", 1, 1}, &c->residual_scale) ||
        json_read_positive(j, &(JsonPositiveRule){"logits_scaling", 1, 1}, &logits))
        return -1;
    c->logit_scale = 1 / logits;
    return 0;
}

static int read_scales(ModelConfig *c, const JsonReader *j, const HfFamily *f) {
    int64_t scalar = c->head_size;
    if (f->query_scalar &&
        json_read_int(j, &(JsonIntRule){"query_pre_attn_scalar", NULL, 256, JSON_AS_ABSENT, 1, 1 << 24}, &scalar))
        return -1;
    c->query_scale = (float)(1 / sqrt((double)scalar));
    if (c->arch->scaled_embedding) c->embed_scale = (float)sqrt((double)c->hidden);
    if (c->arch->scales) return read_factors(c, j);
    if (c->arch->multiplies_logits)
        return json_read_positive(j, &(JsonPositiveRule){"logit_scale", f->logit_scale, 0}, &c->logit_scale);
    if (!f->query_scalar) return 0; // the Gemmas have soft-caps too
    if (json_read_positive(j, &(JsonPositiveRule){"attn_logit_softcapping", f->attn_softcap, 0}, &c->attn_softcap) ||
        json_read_positive(j, &(JsonPositiveRule){"final_logit_softcapping", f->final_softcap, 0}, &c->final_softcap))
        return -1;
    if (f->rope.local_base > 0 && c->attn_softcap > 0) // Gemma 3 has the key, but transformers ignores it
        return json_refuse(j, "attn_logit_softcapping", NULL, "null");
    return 0;
}

// ---- layers without RoPE ----

static int read_unrotated(ModelConfig *c, const JsonReader *j) {
    int64_t pattern = c->arch->unrotated_pattern;
    const Json *list;
    if (!pattern) return 0;
    if (json_read_array(j, "no_rope_layers", &list) ||
        json_read_int(j, &(JsonIntRule){"no_rope_layer_interval", NULL, pattern, JSON_AS_ABSENT, 1, INT32_MAX},
                      &pattern))
        return -1;
    if (list && list->count < (size_t)c->layers)
        return err_input(j->err, "%sno_rope_layers has %zu entries; expected one for each of the %ld layer%s",
                         j->prefix, list->count, c->layers, plural(c->layers));
    for (int64_t i = 0; i < c->layers; i++) {
        int64_t rotated = (i + 1) % pattern != 0;
        if (list && (!json_whole(&list->items[i], &rotated) || rotated < 0 || rotated > 1))
            return json_refuse(j, "no_rope_layers", &list->items[i], "1 (RoPE) or 0 (none) for each layer");
        c->layer_unrotated[i] = !rotated;
    }
    return 0;
}

// ---- hybrid families without their other layers ----

static int read_attention_alone(ModelConfig *c, const JsonReader *j) {
    const Json *types, *v;
    const char *positions;
    int64_t experts = 8;
    if (json_read_int(j, &(JsonIntRule){"num_local_experts", NULL, 8, JSON_AS_ABSENT, 0, 4096}, &experts) ||
        json_read_array(j, "layer_types", &types) || json_read_string(j, "position_embedding_type", "nope", &positions))
        return -1;
    if (experts) return json_refuse(j, "num_local_experts", NULL, "0: experts of this family are not computed");
    for (int64_t i = 0; i < c->layers; i++) {
        v = types && i < (int64_t)types->count ? &types->items[i] : NULL;
        if (!v || (!json_is_string(v, "attention") && !json_is_string(v, "full_attention")))
            return json_refuse(j, "layer_types", v,
                               "attention in every layer: Mamba layers are not computed (layer %ld)", i);
        c->layer_unrotated[i] = strcmp(positions, "rope") != 0; // as transformers takes the key
    }
    return 0;
}

// ---- windows ----

static int read_layer_types(ModelConfig *c, const JsonReader *j, const Json *list) {
    if (list->count != (size_t)c->layers)
        return err_input(j->err, "%slayer_types has %zu entries; expected one for each of the %ld layer%s", j->prefix,
                         list->count, c->layers, plural(c->layers));
    for (int64_t i = 0; i < c->layers; i++) {
        bool sliding = json_is_string(&list->items[i], "sliding_attention");
        if (!sliding && !json_is_string(&list->items[i], "full_attention"))
            return json_refuse(j, "layer_types", &list->items[i], "full_attention or sliding_attention (layer %ld)", i);
        if (sliding && !c->window)
            return json_refuse(j, "layer_types", &list->items[i],
                               "full_attention, as there is no sliding_window (layer %ld)", i);
        c->layer_sliding[i] = sliding;
    }
    return 0;
}

static int read_layers_of_rule(ModelConfig *c, const JsonReader *j, const HfFamily *f) {
    int64_t first = 0, pattern = f->window_pattern;
    if (f->window_rule == WINDOW_UPPER &&
        json_read_int(j, &(JsonIntRule){"max_window_layers", NULL, 28, JSON_AS_ABSENT, 0, INT32_MAX}, &first))
        return -1;
    if (f->window_pattern_key &&
        json_read_int(j, &(JsonIntRule){f->window_pattern_key, NULL, pattern, JSON_AS_ABSENT, 1, MODEL_MAX_LAYERS},
                      &pattern))
        return -1;
    int64_t offset = f->window_rule == WINDOW_LOCAL ? 0 : 1;
    for (int64_t i = 0; i < c->layers; i++)
        c->layer_sliding[i] = c->window && i >= first && !(pattern && (i + offset) % pattern == 0) &&
                              (f->window_rule != WINDOW_UNROTATED || c->layer_unrotated[i]);
    return 0;
}

static int read_window(ModelConfig *c, const JsonReader *j, const HfFamily *f) {
    bool on = true;
    const Json *types;
    if (f->window_switch && json_read_flag(j, "use_sliding_window", false, &on)) return -1;
    if (f->window_rule == WINDOW_NONE)
        return f->window_switch && on ? json_refuse(j, "use_sliding_window", NULL, "false") : 0;
    bool needed = f->window_rule == WINDOW_PATTERN || f->window_rule == WINDOW_LOCAL; // a pattern needs its window
    int64_t null = needed ? JSON_NOT_NULL : 0;
    const char *key = f->window_rule == WINDOW_LOCAL ? "local_attention" : "sliding_window";
    if (on && json_read_int(j, &(JsonIntRule){key, NULL, f->window, null, 1, INT32_MAX}, &c->window)) return -1;
    if (f->window_rule == WINDOW_LOCAL) c->window = c->window / 2 + 1;
    if (json_read_array(j, "layer_types", &types) || read_layers_of_rule(c, j, f)) return -1;
    bool all = f->window_rule == WINDOW_ALL; // such a family has no layer_types
    if (types && !all && read_layer_types(c, j, types)) return -1;
    if (c->arch->unrotated_full) model_config_unrotate_full(c);
    return 0;
}

// ---- experts ----

// Of gpt-oss; its hidden_act is not read by its class.
static int read_clamped(ModelConfig *c, const JsonReader *j) {
    const struct {
        const char *key;
        float expected;
    } numbers[] = {{"swiglu_limit", GLU_CLAMP_LIMIT}, {"swiglu_alpha", GLU_CLAMP_SLOPE}};
    for (int i = 0; i < 2; i++) {
        float value;
        double expected = (double)numbers[i].expected;
        if (json_read_positive(j, &(JsonPositiveRule){numbers[i].key, expected, expected}, &value)) return -1;
        if (value != numbers[i].expected) return json_refuse(j, numbers[i].key, NULL, "%g", expected);
    }
    c->glu = c->arch->glu;
    return 0;
}

static int read_dense_layers(ModelConfig *c, const JsonReader *j) {
    int64_t step;
    const Json *dense;
    if (json_read_int(j, &(JsonIntRule){"decoder_sparse_step", NULL, 1, JSON_AS_ABSENT, 1, MODEL_MAX_LAYERS}, &step) ||
        json_read_array(j, "mlp_only_layers", &dense))
        return -1;
    for (int64_t i = 0; i < c->layers; i++) c->layer_dense[i] = (i + 1) % step != 0;
    for (size_t i = 0; dense && i < dense->count; i++) {
        const Json *v = &dense->items[i];
        int64_t layer;
        if (!json_whole(v, &layer) || layer < 0 || layer >= c->layers)
            return json_refuse(j, "mlp_only_layers", v, "numbers of layers, from 0 to %ld", c->layers - 1);
        c->layer_dense[layer] = 1;
    }
    return 0;
}

static int read_experts(ModelConfig *c, const JsonReader *j, const HfFamily *f) {
    if (!f->experts) return 0;
    if (json_read_int(j, &(JsonIntRule){f->experts_key, f->experts_alias, f->experts, JSON_AS_ABSENT, 1, 4096},
                      &c->experts) ||
        json_read_int(j, &(JsonIntRule){"num_experts_per_tok", NULL, f->experts_used, JSON_AS_ABSENT, 1, c->experts},
                      &c->experts_used))
        return -1;
    if (c->experts_used > c->experts) // the family's default
        return err_input(j->err,
                         "%snum_experts_per_tok is missing and %ld by default; expected an integer from 1 to %ld",
                         j->prefix, c->experts_used, c->experts);
    c->expert_ffn = c->ffn;
    c->renormalise_experts = true;
    if (c->arch->glu == GLU_CLAMPED && read_clamped(c, j)) return -1;
    if (!f->expert_ffn) return 0;
    if (json_read_int(j, &(JsonIntRule){"moe_intermediate_size", NULL, f->expert_ffn, JSON_AS_ABSENT, 1, MAX_HIDDEN},
                      &c->expert_ffn) ||
        json_read_flag(j, "norm_topk_prob", false, &c->renormalise_experts))
        return -1;
    JsonIntRule shared = {"shared_expert_intermediate_size", NULL, f->shared_ffn, JSON_AS_ABSENT, 1, MAX_HIDDEN};
    if (f->shared_ffn && json_read_int(j, &shared, &c->shared_ffn)) return -1;
    return read_dense_layers(c, j);
}

// ---- reading ----

static int read_first_position(ModelConfig *c, const JsonReader *j, const HfFamily *f) {
    int64_t pad;
    if (json_read_int(j, &(JsonIntRule){"pad_token_id", NULL, f->pad, JSON_NOT_NULL, 0, c->context - 2}, &pad))
        return -1;
    c->first_position = pad + 1;
    c->context -= c->first_position;
    return 0;
}

// The parts of an encoder's head, and of its norms, that a configuration leaves out.
static int read_masked_head(ModelConfig *c, const JsonReader *j, const HfFamily *f) {
    bool norm_bias;
    const char *activation, *pooling;
    c->masked_activation = f->masked_gelu ? ACTIVATION_GELU : c->activation;
    if (!c->arch->masked_pooler) return 0;
    if (json_read_flag(j, "norm_bias", false, &norm_bias) ||
        json_read_flag(j, "classifier_bias", false, &c->masked_dense_bias) ||
        json_read_flag(j, "decoder_bias", true, &c->masked_bias) ||
        json_read_string(j, "classifier_activation", "gelu", &activation) ||
        json_read_string(j, "classifier_pooling", "cls", &pooling))
        return -1;
    c->no_norm_bias = !norm_bias;
    c->mean_pooled = strcmp(pooling, "cls") != 0;
    c->masked_activation = ACTIVATION_GELU;
    return strcmp(activation, "gelu") == 0 ? 0 : json_refuse(j, "classifier_activation", NULL, "\"gelu\"");
}

static int read_family(ModelConfig *c, const JsonReader *j, const HfFamily *f) {
    if (read_sizes(c, j, f) || read_heads(c, j, f) || read_activation(c, j, f) || read_scales(c, j, f) ||
        json_read_positive(j, &(JsonPositiveRule){f->eps_key, f->eps, f->eps}, &c->norm_eps) ||
        json_read_flag(j, "tie_word_embeddings", f->tied_head, &c->tied_head) || read_biases(c, j, f) ||
        read_unrotated(c, j) || (f->attention_alone && read_attention_alone(c, j)) ||
        (f->short_conv && model_config_hf_read_conv(c, j)) || read_window(c, j, f) || read_experts(c, j, f) ||
        read_masked_head(c, j, f))
        return -1;
    if (f->rope.base > 0) return model_config_hf_read_rope(c, j, &f->rope);
    c->positions_table = c->context;
    if (c->arch->offset_positions && read_first_position(c, j, f)) return -1;
    if (!c->arch->encoder || f->no_token_types) return 0;
    return json_read_int(j, &(JsonIntRule){"type_vocab_size", NULL, 2, JSON_AS_ABSENT, 1, 1024}, &c->token_types);
}

// A multimodal model has its language model's configuration in text_config, but tie_word_embeddings outside.
static int read_nested(ModelConfig *c, const JsonReader *j, bool gemma) {
    const char *usual = gemma ? "gemma3_text" : "mistral";
    JsonReader text = {NULL, NULL, "text_config.", j->err};
    const char *type;
    bool tied;
    if (json_read_object(j, "text_config", &text.object)) return -1;
    if (!text.object) return json_refuse(j, "text_config", NULL, "an object");
    if (json_read_string(&text, "model_type", usual, &type) || json_read_flag(j, "tie_word_embeddings", gemma, &tied))
        return -1;
    if (strcmp(type, usual) != 0 && (gemma || strcmp(type, "ministral3") != 0))
        return json_refuse(&text, "model_type", NULL, gemma ? "\"gemma3_text\"" : "\"mistral\" or \"ministral3\"");
    if (refuse_foreign(&text, c->arch) || read_family(c, &text, model_config_hf_family(type))) return -1;
    c->tied_head = tied;
    return 0;
}

static int read_config(ModelConfig *c, const JsonReader *j) {
    const char *type;
    if (!j->object || j->object->type != JSON_OBJECT)
        return err_input(j->err, "found %s; expected an object", json_type_name(j->object));
    if (json_read_string(j, "model_type", "", &type)) return -1;
    const Architecture *a = architecture_by_model_type(type);
    AUTO_STR StrBuf known = {0};
    architecture_list(&known, true);
    if (!a)
        return json_refuse(j, "model_type", NULL, "one of %s%s", known.data,
                           json_get(j->object, "auto_map") ? " (the code of a model, auto_map, is never run)" : "");
    model_config_init(c, a);
    if (refuse_foreign(j, a)) return -1;
    if (strcmp(type, "gemma3") == 0 || strcmp(type, "mistral3") == 0)
        return read_nested(c, j, strcmp(type, "gemma3") == 0);
    const HfFamily *f = model_config_hf_family(type);
    CHECK(f, "%s has a row in architecture.c and none in model_config_hf_families.c", type);
    return read_family(c, j, f);
}

// The config.json of a folder, or the .json file itself. *path is its name, which the caller frees after a failure too.
static int open_config(JsonDoc **doc, char **path, const char *where, Err *err) {
    enum { MAX_CONFIG_BYTES = 4 << 20 };
    bool is_file = ends_with(where, ".json") && !path_is_dir(where);
    *path = is_file ? mem_strdup(where) : path_join(where, "config.json");
    return json_load(doc, *path, MAX_CONFIG_BYTES, err);
}

int model_config_hf_read(ModelConfig *c, const char *where, Err *err) {
    AUTO_JSON JsonDoc *doc = NULL;
    AUTO_FREE char *path = NULL;
    *c = (ModelConfig){0};
    if (open_config(&doc, &path, where, err)) return -1;
    return read_config(c, &(JsonReader){json_root(doc), NULL, "", err}) ? err_context(err, "%s", path) : 0;
}

// ---- the type of the weights ----

DType model_config_hf_dtype(const char *dir) {
    static const struct {
        const char *name;
        DType dtype;
    } types[] = {{"bfloat16", DTYPE_BF16}, {"float16", DTYPE_F16}, {"float32", DTYPE_F32}};
    AUTO_FREE char *file = NULL;
    AUTO_JSON JsonDoc *doc = NULL;
    if (open_config(&doc, &file, dir, NULL)) return DTYPE_COUNT;
    const Json *config = json_root(doc), *text = json_given(config, "text_config");
    const Json *places[] = {json_given(config, "dtype"), json_given(config, "torch_dtype"),
                            text ? json_given(text, "dtype") : NULL, text ? json_given(text, "torch_dtype") : NULL};
    for (size_t p = 0; p < 4; p++)
        for (size_t i = 0; places[p] && i < sizeof types / sizeof *types; i++)
            if (json_is_string(places[p], types[i].name)) return types[i].dtype;
    return DTYPE_COUNT;
}

// ---- noise ----

static void list_noise(StrBuf *out, const Json *config, HfNoise noise) {
    const Json *v = json_given(config, noise.key);
    double p = !v ? noise.absent : v->type == JSON_INT || v->type == JSON_FLOAT ? v->number : 0;
    if (p > 0) str_printf(out, "%s%s %g", out->len ? ", " : "", noise.key, p);
}

// lorac trains the model that inference engines run: no dropout inside the base, whatever its config.json contains;
// lora_dropout is separate.
int model_config_hf_training_noise(StrBuf *out, const char *path, Err *err) {
    AUTO_FREE char *dir = weight_source_folder(path), *file = NULL;
    AUTO_JSON JsonDoc *doc = NULL;
    if (!dir) return 0;
    if (open_config(&doc, &file, dir, err)) return -1;
    const Json *config = json_root(doc), *text = json_get(config, "text_config");
    if (text && text->type == JSON_OBJECT) config = text;
    const Json *type = json_get(config, "model_type");
    const HfFamily *f = type && type->type == JSON_STRING ? model_config_hf_family(type->str.data) : NULL;
    list_noise(out, config, (HfNoise){"attention_dropout", 0});
    for (const HfNoise *n = f ? f->noises : NULL; n && n->key; n++) list_noise(out, config, *n);
    return 0;
}
