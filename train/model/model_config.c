#include "model_config.h"

#include <math.h>

void model_config_init(ModelConfig *c, const Architecture *a) {
    *c = (ModelConfig){.arch = a,
                       .architecture = a->gguf,
                       .has_glu = !a->plain_mlp,
                       .glu = a->glu,
                       .activation = a->activation,
                       .no_norm_bias = a->bare_norms,
                       .masked_dense_bias = true,
                       .masked_bias = true,
                       .embed_scale = 1.0f,
                       .residual_scale = 1.0f,
                       .logit_scale = 1.0f};
}

bool model_layer_has(const ModelConfig *c, int64_t layer, Projection p) {
    bool dense = !c->experts || c->layer_dense[layer];
    if (p >= PROJ_EXPERT_GATE) return !dense && !c->arch->expert_biases; // not in this version
    if (p >= PROJ_DENSE) return !dense && c->shared_ffn;
    if (projection_is_mlp(p)) return dense && (p != PROJ_GATE || c->has_glu);
    return projection_is_conv(p) == c->layer_conv[layer];
}

// Dense layers of a mixture have an MLP too, but PEFT (0.21, with transformers 5) resolves the names of an MLP there to
// the experts in every layer: it would load an adapter of a dense layer as something else.
bool model_has_projection(const ModelConfig *c, Projection p) {
    if (p == PROJ_GATE && !c->has_glu) return false;
    if (projection_is_conv(p)) return c->conv_taps > 0;
    if (p >= PROJ_EXPERT_GATE) return c->experts > 0 && !c->arch->expert_biases;
    if (p >= PROJ_DENSE) return c->shared_ffn > 0;
    return !projection_is_mlp(p) || c->experts == 0;
}

void model_projection_shape(const ModelConfig *c, Projection p, int64_t *rows, int64_t *cols) {
    int64_t q = c->heads * c->head_size, kv = c->kv_heads * c->head_size;
    const int64_t shapes[PROJ_COUNT][2] = {
        [PROJ_Q] = {q, c->hidden},
        [PROJ_K] = {kv, c->hidden},
        [PROJ_V] = {kv, c->hidden},
        [PROJ_O] = {c->hidden, q},
        [PROJ_GATE] = {c->ffn, c->hidden},
        [PROJ_UP] = {c->ffn, c->hidden},
        [PROJ_DOWN] = {c->hidden, c->ffn},
        [PROJ_CONV_B] = {c->hidden, c->hidden},
        [PROJ_CONV_C] = {c->hidden, c->hidden},
        [PROJ_CONV_X] = {c->hidden, c->hidden},
        [PROJ_CONV_OUT] = {c->hidden, c->hidden},
        [PROJ_SHARED_GATE] = {c->shared_ffn, c->hidden},
        [PROJ_SHARED_UP] = {c->shared_ffn, c->hidden},
        [PROJ_SHARED_DOWN] = {c->hidden, c->shared_ffn},
        [PROJ_EXPERT_GATE] = {c->expert_ffn, c->hidden},
        [PROJ_EXPERT_UP] = {c->expert_ffn, c->hidden},
        [PROJ_EXPERT_DOWN] = {c->hidden, c->expert_ffn},
    };
    *rows = shapes[p][0];
    *cols = shapes[p][1];
}

void model_config_unrotate_full(ModelConfig *c) {
    for (int64_t i = 0; i < c->layers; i++) c->layer_unrotated[i] = !c->layer_sliding[i];
}

int64_t model_norm_size(const ModelConfig *c, NormSite site) {
    if (site != NORM_Q && site != NORM_K) return c->hidden;
    int64_t heads = !c->arch->wide_qk_norms ? 1 : site == NORM_Q ? c->heads : c->kv_heads;
    return heads * c->head_size;
}

// Replaces the model's own scaling whole; local layers (Gemma 3) keep theirs.
int model_config_scale_rope(ModelConfig *c, RopeScaling scaling, float factor, Err *err) {
    if (c->rope.scaling == ROPE_NONE)
        return err_input(err, "rope_scaling_type: this model has learned positions; expected a model with RoPE");
    if (!(factor >= 1) || !isfinite(factor))
        return err_input(err, "rope_scaling_factor is %g; expected a finite number of at least 1", (double)factor);
    if (c->rope.query_growth != 0)
        return err_input(err, "rope_scaling_type: this model's queries grow with their position by its own scaling "
                              "(llama_4_scaling_beta); expected none");
    RopeConfig r = {.scaling = scaling,
                    .base = c->rope.base,
                    .rotated = c->rope.rotated,
                    .factor = factor,
                    .original_context = c->context,
                    .of_run = true};
    if (r.scaling == ROPE_LLAMA3) r.low_freq_factor = 1, r.high_freq_factor = 4;
    if (r.scaling == ROPE_YARN) r.beta_fast = 32, r.beta_slow = 1;
    c->rope = r;
    c->context = (int64_t)floor((double)c->context * (double)factor);
    return 0;
}

// ---- cosines and sines of a RopeConfig ----

static const double PI = 3.14159265358979323846;

// 1 / base^(2i/D), before any scaling.
static float plain_frequency(const RopeConfig *r, int64_t i) {
    return 1.0f / powf(r->base, (float)(2 * i) / (float)r->rotated);
}

// Llama 3: short waves are kept, long ones are stretched, those between are interpolated.
static float llama3_frequency(const RopeConfig *r, float f) {
    double original = (double)r->original_context;
    double low = original / (double)r->low_freq_factor, high = original / (double)r->high_freq_factor;
    float wave = 2.0f * (float)PI / f;
    if ((double)wave < high) return f;
    if ((double)wave > low) return f / r->factor;
    float smooth = ((float)original / wave - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
    return (1 - smooth) * f / r->factor + smooth * f;
}

// As a tensor of llama.cpp's converter: not derived from the frequency above, whose rounding is another.
void rope_llama3_divisors(float *out, const RopeConfig *r) {
    float original = (float)r->original_context, span = r->high_freq_factor - r->low_freq_factor;
    for (int64_t i = 0; i < r->rotated / 2; i++) {
        float wave = 2.0f * (float)PI / plain_frequency(r, i);
        float smooth = (original / wave - r->low_freq_factor) / span;
        bool is_short = wave<original / r->high_freq_factor, is_long = wave> original / r->low_freq_factor;
        out[i] = is_short ? 1 : is_long ? r->factor : 1 / ((1 - smooth) / r->factor + smooth);
    }
}

// YaRN (Peng et al. 2023): the dimension that rotates `turns` times within the original context.
static double yarn_dimension(const RopeConfig *r, double turns) {
    return (double)r->rotated * log((double)r->original_context / (turns * 2 * PI)) / (2 * log((double)r->base));
}

static float yarn_frequency(const RopeConfig *r, int64_t i) {
    double low = yarn_dimension(r, (double)r->beta_fast), high = yarn_dimension(r, (double)r->beta_slow);
    if (!r->keep_range) low = floor(low), high = ceil(high);
    low = fmax(low, 0);
    high = fmin(high, (double)(r->rotated - 1));
    if (low == high) high += 0.001;
    float ramp = ((float)i - (float)low) / (float)(high - low);
    float stays = 1.0f - fminf(fmaxf(ramp, 0), 1); // share of the unscaled frequency
    float wave = powf(r->base, (float)(2 * i) / (float)r->rotated);
    return 1.0f / (r->factor * wave) * (1.0f - stays) + 1.0f / wave * stays;
}

// Dynamic NTK: beyond the original context the base grows with the length.
static float dynamic_frequency(const RopeConfig *r, int64_t i, int64_t length) {
    RopeConfig stretched = *r;
    float ratio = r->factor * (float)length / (float)r->original_context - (float)((double)r->factor - 1);
    if (length > r->original_context)
        stretched.base *= powf(ratio, (float)((double)r->rotated / (double)(r->rotated - 2)));
    return plain_frequency(&stretched, i);
}

// Of a sequence of `length` tokens.
static float frequency(const RopeConfig *r, int64_t i, int64_t length) {
    float f = plain_frequency(r, i);
    switch (r->scaling) {
    case ROPE_DYNAMIC: return dynamic_frequency(r, i, length);
    case ROPE_LLAMA3: return llama3_frequency(r, f);
    case ROPE_YARN: return yarn_frequency(r, i);
    case ROPE_LONGROPE: {
        float wave = powf(r->base, (float)(2 * i) / (float)r->rotated);
        return 1.0f / ((length > r->original_context ? r->long_divisor : r->short_divisor)[i] * wave);
    }
    default:
        if (r->scaling == ROPE_LINEAR) f /= r->factor;
        return r->has_divisor ? f / r->short_divisor[i] : f;
    }
}

static double yarn_mscale(double factor, double mscale) { return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1; }

float rope_attention_factor(const RopeConfig *r) {
    if (r->attention_factor != 0) return r->attention_factor;
    double factor = (double)r->factor;
    if (r->scaling == ROPE_YARN && r->mscale != 0 && r->mscale_all_dim != 0)
        return (float)(yarn_mscale(factor, (double)r->mscale) / yarn_mscale(factor, (double)r->mscale_all_dim));
    if (r->scaling == ROPE_YARN) return (float)yarn_mscale(factor, 1);
    if (r->scaling == ROPE_LONGROPE && factor > 1)
        return (float)sqrt(1 + log(factor) / log((double)r->original_context));
    return 1;
}

float rope_query_scale(const RopeConfig *r, int64_t position) {
    return 1.0f + r->query_growth * logf(1.0f + floorf((float)position / (float)r->original_context));
}

void rope_rows(float *out, const RopeConfig *r, int64_t first, int64_t n, int64_t length) {
    int64_t half = r->rotated / 2;
    float freq[ROPE_MAX_PAIRS], scale = rope_attention_factor(r);
    for (int64_t i = 0; i < half; i++) freq[i] = frequency(r, i, length);
#pragma omp parallel for
    for (int64_t p = 0; p < n; p++)
        for (int64_t i = 0; i < half; i++) {
            float angle = (float)(first + p) * freq[i];
            out[p * r->rotated + i] = cosf(angle) * scale;
            out[p * r->rotated + half + i] = sinf(angle) * scale;
        }
}

// With ROPE_DYNAMIC the longest sequence has the lowest frequencies.
int rope_check(const RopeConfig *r, int64_t positions, Err *err) {
    enum { MAX_TABLE_BYTES = 1 << 30 };
    CHECK(r->rotated > 0 && r->rotated / 2 <= ROPE_MAX_PAIRS && positions > 0);
    if ((size_t)positions > MAX_TABLE_BYTES / ((size_t)r->rotated * sizeof(float)))
        return err_input(err, "a RoPE table of %ld position%s; expected one of at most 1 GiB", positions,
                         plural(positions));
    double scale = (double)rope_attention_factor(r);
    if (!isfinite(scale)) return err_input(err, "RoPE attention factor is %g; expected a finite number", scale);
    for (int64_t i = 0; i < r->rotated / 2; i++) {
        float f = frequency(r, i, positions);
        if (!(f > 0) || !isfinite(f))
            return err_input(err, "RoPE frequency %ld is %g; expected a finite number above 0", i, (double)f);
    }
    return 0;
}

int rope_table(float **table, const RopeConfig *r, int64_t positions, Err *err) {
    if (rope_check(r, positions, err)) return -1;
    *table = mem_alloc((size_t)(positions * r->rotated), sizeof **table);
    rope_rows(*table, r, 0, positions, positions);
    return 0;
}
