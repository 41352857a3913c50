// model_config_hf_rope: the RoPE of a config.json. Two forms: rope_theta and rope_scaling, or (transformers 5) both
// inside rope_parameters; Gemma 3 has two of the latter, one for each kind of layer.
#include "model_config_hf_internal.h"

#include <math.h>
#include <string.h>

enum { MAX_CONTEXT = 1 << 24 };

typedef struct RopeReader {
    JsonReader scaling; // the object with the type and its parameters; object NULL: none
    const JsonReader *config;
    const HfRope *family;
    const ModelConfig *c;
    bool local; // of the sliding layers
} RopeReader;

static int read_type(RopeScaling *type, const RopeReader *r) {
    static const struct {
        const char *name;
        RopeScaling scaling;
        bool phi3_only;
    } types[] = {
        {"default", ROPE_PLAIN, false},     {"linear", ROPE_LINEAR, false},   {"llama3", ROPE_LLAMA3, false},
        {"longrope", ROPE_LONGROPE, false}, {"su", ROPE_LONGROPE, true},      {"yarn", ROPE_LONGROPE, true},
        {"yarn", ROPE_YARN, false},         {"dynamic", ROPE_DYNAMIC, false},
    };
    const JsonReader *j = &r->scaling;
    const char *key = json_given(j->object, "rope_type") ? "rope_type" : "type", *name;
    if (json_read_string(j, key, "default", &name)) return -1;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(name, types[i].name) != 0 || (types[i].phi3_only && !r->family->phi3)) continue;
        *type = types[i].scaling;
        if (r->family->growth && *type != ROPE_YARN) break;
        if (r->family->phi3 ? *type == ROPE_PLAIN || *type == ROPE_LONGROPE : !r->local || *type != ROPE_DYNAMIC)
            return 0;
    }
    return json_refuse(j, key, NULL, "%s",
                       r->family->growth ? "yarn"
                       : r->family->phi3 ? "default or longrope"
                       : r->local        ? "default, linear, llama3, yarn or longrope"
                                         : "default, linear, dynamic, llama3, yarn or longrope");
}

// In other families than those with HfRope.part and Phi-3 transformers ignores the key or fails.
static int read_rotated(RopeConfig *rope, const RopeReader *r) {
    const JsonReader *j = json_given(r->scaling.object, "partial_rotary_factor") ? &r->scaling : r->config;
    const Json *v = json_get(j->object, "partial_rotary_factor");
    float part, usual = r->family->part > 0 ? r->family->part : 1;
    bool partial = r->family->phi3 || r->family->part > 0;
    if (json_read_positive(j, &(JsonPositiveRule){"partial_rotary_factor", usual, usual}, &part)) return -1;
    if (part > 1 || (part < 1 && !partial))
        return json_refuse(j, "partial_rotary_factor", v, "%s", partial ? "at most 1" : "1");
    double share = v && v->type != JSON_NULL ? v->number : (double)usual;
    rope->rotated = (int64_t)((double)r->c->head_size * share);
    if (rope->rotated < 2 || rope->rotated % 2)
        return err_input(j->err, "%ld of %ld dimension%s of a head are rotated; expected an even number from 2",
                         rope->rotated, r->c->head_size, plural(r->c->head_size));
    return 0;
}

static int require(const RopeReader *r, const char *key) {
    if (json_given(r->scaling.object, key)) return 0;
    return json_refuse(&r->scaling, key, json_get(r->scaling.object, key), "a number, which this type of rope needs");
}

// Phi-3's class has another key (4096 by default), which overrides the one inside the object.
static int read_original_context(RopeConfig *rope, const RopeReader *r) {
    const JsonReader *j = r->family->phi3 ? r->config : &r->scaling;
    int64_t absent = r->family->phi3 ? 4096 : r->c->context;
    return json_read_int(
        j, &(JsonIntRule){"original_max_position_embeddings", NULL, absent, JSON_AS_ABSENT, 2, MAX_CONTEXT},
        &rope->original_context);
}

static int read_factor(RopeConfig *rope, const RopeReader *r, bool required) {
    double ratio = (double)r->c->context / (double)(rope->original_context ? rope->original_context : r->c->context);
    if (required && require(r, "factor")) return -1;
    return json_read_positive(&r->scaling, &(JsonPositiveRule){"factor", ratio, ratio}, &rope->factor);
}

static int read_dynamic(RopeConfig *rope, const RopeReader *r) {
    rope->original_context = r->c->context;
    if (read_factor(rope, r, true)) return -1;
    if (rope->factor >= 1) return 0;
    return json_refuse(&r->scaling, "factor", json_get(r->scaling.object, "factor"), "at least 1 for dynamic");
}

static int read_llama3(RopeConfig *rope, const RopeReader *r) {
    const JsonReader *j = &r->scaling;
    if (read_original_context(rope, r) || read_factor(rope, r, true) || require(r, "low_freq_factor") ||
        require(r, "high_freq_factor") ||
        json_read_positive(j, &(JsonPositiveRule){"low_freq_factor", 0, 0}, &rope->low_freq_factor) ||
        json_read_positive(j, &(JsonPositiveRule){"high_freq_factor", 0, 0}, &rope->high_freq_factor))
        return -1;
    if (!(rope->low_freq_factor > 0) || !(rope->high_freq_factor > rope->low_freq_factor))
        return json_refuse(j, "high_freq_factor", NULL, "a number above low_freq_factor, which is above 0");
    return 0;
}

static int read_yarn(RopeConfig *rope, const RopeReader *r) {
    const JsonReader *j = &r->scaling;
    bool truncate;
    if (read_original_context(rope, r) || read_factor(rope, r, true) ||
        json_read_positive(j, &(JsonPositiveRule){"attention_factor", 0, 0}, &rope->attention_factor) ||
        json_read_positive(j, &(JsonPositiveRule){"beta_fast", 32, 32}, &rope->beta_fast) ||
        json_read_positive(j, &(JsonPositiveRule){"beta_slow", 1, 1}, &rope->beta_slow) ||
        json_read_positive(j, &(JsonPositiveRule){"mscale", 0, 0}, &rope->mscale) ||
        json_read_positive(j, &(JsonPositiveRule){"mscale_all_dim", 0, 0}, &rope->mscale_all_dim) ||
        json_read_flag(j, "truncate", true, &truncate))
        return -1;
    rope->keep_range = !truncate;
    if (!r->family->growth) return 0;
    if (require(r, "llama_4_scaling_beta") || require(r, "original_max_position_embeddings")) return -1;
    return json_read_positive(j, &(JsonPositiveRule){"llama_4_scaling_beta", 0, 0}, &rope->query_growth);
}

// One divisor for each rotated pair of dimensions.
static int read_divisors(float *out, const RopeConfig *rope, const RopeReader *r, const char *key) {
    const JsonReader *j = &r->scaling;
    const Json *list;
    int64_t pairs = rope->rotated / 2;
    if (json_read_array(j, key, &list)) return -1;
    if (!list) return json_refuse(j, key, NULL, "an array of %ld numbers", pairs);
    if (list->count != (size_t)pairs || pairs > ROPE_MAX_PAIRS)
        return err_input(j->err, "%s%s has %zu number%s; expected %ld, one for two rotated dimensions", j->prefix, key,
                         list->count, plural(list->count), pairs);
    for (int64_t i = 0; i < pairs; i++) {
        const Json *v = &list->items[i];
        out[i] = v->type == JSON_INT || v->type == JSON_FLOAT ? (float)v->number : 0;
        if (!(out[i] > 0) || !isfinite(out[i])) return json_refuse(j, key, v, "finite numbers above 0 (number %ld)", i);
    }
    return 0;
}

static int read_longrope(RopeConfig *rope, const RopeReader *r) {
    rope->has_divisor = true;
    if (read_original_context(rope, r) || read_factor(rope, r, false) ||
        json_read_positive(&r->scaling, &(JsonPositiveRule){"attention_factor", 0, 0}, &rope->attention_factor) ||
        read_divisors(rope->short_divisor, rope, r, "short_factor") ||
        read_divisors(rope->long_divisor, rope, r, "long_factor"))
        return -1;
    return 0;
}

// As the class of gpt-oss in transformers.
static int assume_yarn(RopeConfig *rope) {
    rope->scaling = ROPE_YARN;
    rope->factor = rope->beta_fast = 32;
    rope->beta_slow = 1;
    rope->keep_range = true;
    rope->original_context = 4096;
    return 0;
}

static int read_one(RopeConfig *rope, const RopeReader *r, const char *theta_key, float theta) {
    const JsonReader *j = json_given(r->scaling.object, "rope_theta") ? &r->scaling : r->config;
    const char *key = j == &r->scaling ? "rope_theta" : theta_key;
    *rope = (RopeConfig){0};
    if (read_type(&rope->scaling, r) || read_rotated(rope, r) ||
        json_read_positive(j, &(JsonPositiveRule){key, theta, theta}, &rope->base))
        return -1;
    switch (rope->scaling) {
    case ROPE_LINEAR: return read_factor(rope, r, true);
    case ROPE_DYNAMIC: return read_dynamic(rope, r);
    case ROPE_LLAMA3: return read_llama3(rope, r);
    case ROPE_YARN: return read_yarn(rope, r);
    case ROPE_LONGROPE: return read_longrope(rope, r);
    case ROPE_PLAIN:
        if (r->family->yarn && !r->scaling.object) return assume_yarn(rope);
        return r->family->phi3 ? read_original_context(rope, r) : 0;      // a GGUF file names it
    default: return r->family->phi3 ? read_original_context(rope, r) : 0; // a GGUF file names it
    }
}

// ---- choice of the object ----

static int get_object(const JsonReader *j, const char *key, const char *prefix, JsonReader *out) {
    *out = (JsonReader){NULL, NULL, prefix, j->err};
    return json_read_object(j, key, &out->object);
}

static int read_flat(ModelConfig *c, const JsonReader *j, const HfRope *family) {
    JsonReader scaling, parameters;
    if (get_object(j, "rope_scaling", "rope_scaling.", &scaling) ||
        get_object(j, "rope_parameters", "rope_parameters.", &parameters))
        return -1;
    if (!scaling.object || !scaling.object->count) scaling = parameters;
    static const char *const kinds[] = {"full_attention", "sliding_attention"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (json_given(scaling.object, kinds[i]))
            return json_refuse(&scaling, kinds[i], NULL, "one set of parameters for all layers of this model_type");
    return read_one(&c->rope, &(RopeReader){scaling, j, family, c, false}, "rope_theta", family->base);
}

// Gemma 3: rope_parameters {full_attention: {}, sliding_attention: {}}, or the older rope_theta, rope_scaling (of the
// full layers) and rope_local_base_freq.
static int read_two_kinds(ModelConfig *c, const JsonReader *j, const HfRope *family) {
    JsonReader scaling, parameters, full, sliding;
    if (get_object(j, "rope_scaling", "rope_scaling.", &scaling) ||
        get_object(j, "rope_parameters", "rope_parameters.", &parameters) ||
        get_object(&parameters, "full_attention", "rope_parameters.full_attention.", &full) ||
        get_object(&parameters, "sliding_attention", "rope_parameters.sliding_attention.", &sliding))
        return -1;
    if (parameters.object && !full.object && !sliding.object)
        return json_refuse(&parameters, "full_attention", NULL, "an object for each kind of layer");
    if (parameters.object && scaling.object)
        return json_refuse(j, "rope_scaling", scaling.object, "none in addition to rope_parameters");
    if (scaling.object) full = scaling;
    const char *key = family->key ? family->key : "rope_theta";
    const char *local = family->local_key ? family->local_key : "rope_local_base_freq";
    if (family->key && scaling.object) return json_refuse(j, "rope_scaling", scaling.object, "none");
    if (read_one(&c->rope, &(RopeReader){full, j, family, c, false}, key, family->base) ||
        read_one(&c->rope_local, &(RopeReader){sliding, j, family, c, true}, local, family->local_base))
        return -1;
    return 0;
}

// Dynamic scaling is for rows longer than max_position_embeddings, up to `factor` times as long (as in vLLM;
// transformers sets no limit).
int model_config_hf_read_rope(ModelConfig *c, const JsonReader *j, const HfRope *family) {
    if (family->local_base > 0 ? read_two_kinds(c, j, family) : read_flat(c, j, family)) return -1;
    double context = floor((double)c->context * (double)c->rope.factor);
    if (c->rope.scaling != ROPE_DYNAMIC) return 0;
    if (context > MAX_CONTEXT)
        return err_input(j->err, "max_position_embeddings %ld times the factor %g of dynamic RoPE; expected at most %d",
                         c->context, (double)c->rope.factor, MAX_CONTEXT);
    c->context = (int64_t)context;
    return 0;
}
