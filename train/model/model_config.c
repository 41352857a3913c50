#include "model_config.h"

#include <math.h>

void model_config_init(ModelConfig *c, const Architecture *a) {
    *c = (ModelConfig){.arch = a,
                       .architecture = a->gguf,
                       .has_glu = !a->plain_mlp,
                       .glu = a->glu,
                       .activation = a->activation,
                       .embed_scale = 1.0f};
}

// Dense layers of a mixture have an MLP too, but PEFT (0.21, with transformers 5) resolves the names of an MLP there to
// the experts in every layer: it would load an adapter of a dense layer as something else.
bool model_has_projection(const ModelConfig *c, Projection p) {
    if (p == PROJ_GATE && !c->has_glu) return false;
    return p < PROJ_GATE || c->experts == 0;
}

void model_projection_shape(const ModelConfig *c, Projection p, int64_t *rows, int64_t *cols) {
    int64_t q = c->heads * c->head_size, kv = c->kv_heads * c->head_size;
    const int64_t shapes[PROJ_COUNT][2] = {
        [PROJ_Q] = {q, c->hidden},         [PROJ_K] = {kv, c->hidden},        [PROJ_V] = {kv, c->hidden},
        [PROJ_O] = {c->hidden, q},         [PROJ_GATE] = {c->ffn, c->hidden}, [PROJ_UP] = {c->ffn, c->hidden},
        [PROJ_DOWN] = {c->hidden, c->ffn},
    };
    *rows = shapes[p][0];
    *cols = shapes[p][1];
}

// Replaces the model's own scaling whole; local layers (Gemma 3) keep theirs.
int model_config_scale_rope(ModelConfig *c, RopeScaling scaling, float factor, Err *err) {
    if (c->rope.scaling == ROPE_NONE)
        return err_input(err, "rope_scaling_type: this model has learned positions; expected a model with RoPE");
    if (!(factor >= 1) || !isfinite(factor))
        return err_input(err, "rope_scaling_factor is %g; expected a finite number of at least 1", (double)factor);
    RopeConfig r = {.scaling = scaling,
                    .base = c->rope.base,
                    .rotated = c->rope.rotated,
                    .factor = factor,
                    .original_context = c->context};
    if (r.scaling == ROPE_YARN) {
        r.beta_fast = 32;
        r.beta_slow = 1;
    }
    c->rope = r;
    c->context = (int64_t)floor((double)c->context * (double)factor);
    return 0;
}
