// model_config: see model_config.h. Keys are those of llama.cpp's GGUF metadata; names of projections are given once
// here for both worlds, Hugging Face and GGUF.
#include "model_config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *hf, *gguf, *module;
} projections[PROJ_COUNT] = {
    [PROJ_Q] = {"q_proj", "attn_q", "self_attn.q_proj"},      [PROJ_K] = {"k_proj", "attn_k", "self_attn.k_proj"},
    [PROJ_V] = {"v_proj", "attn_v", "self_attn.v_proj"},      [PROJ_O] = {"o_proj", "attn_output", "self_attn.o_proj"},
    [PROJ_GATE] = {"gate_proj", "ffn_gate", "mlp.gate_proj"}, [PROJ_UP] = {"up_proj", "ffn_up", "mlp.up_proj"},
    [PROJ_DOWN] = {"down_proj", "ffn_down", "mlp.down_proj"},
};

Projection projection_from_name(const char *name) {
    Projection p = 0;
    while (p < PROJ_COUNT && strcmp(name, projections[p].hf) != 0) p++;
    return p;
}

const char *projection_gguf_name(Projection p) {
    return projections[p].gguf;
}

const char *projection_hf_module(Projection p) {
    return projections[p].module;
}

bool model_has_projection(const ModelConfig *c, Projection p) {
    bool mlp = p == PROJ_GATE || p == PROJ_UP || p == PROJ_DOWN;
    if (p == PROJ_GATE && !c->has_glu) return false;
    if (!mlp || c->experts == 0) return true;
    for (int64_t i = 0; i < c->layers; i++)
        if (c->layer_dense[i]) return true;
    return false;
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

void model_config_init(ModelConfig *c, const Architecture *a) {
    *c = (ModelConfig){.arch = a, .architecture = a->gguf, .has_glu = !a->plain_mlp, .embed_scale = 1.0f};
}

// --- typed reading of "<architecture>.<key>" ---

typedef struct Reader {
    const Gguf *g;
    const char *architecture;
    Err *err;
} Reader;

enum { KEY_MAX = 96 };
static void full_key(char buf[KEY_MAX], const Reader *r, const char *key) {
    snprintf(buf, KEY_MAX, "%s.%s", r->architecture, key);
}

// An integer in [min, max]; fallback < 0: the key is required.
static int read_int(const Reader *r, const char *key, int64_t fallback, int64_t min, int64_t max, int64_t *out) {
    char name[KEY_MAX];
    full_key(name, r, key);
    uint64_t value = 0;
    int rc = gguf_u64(r->g, name, fallback < 0, &value, r->err);
    if (rc < 0) return err_context(r->err, "%s", gguf_path(r->g));
    if (rc > 0) value = (uint64_t)fallback;
    if (value < (uint64_t)min || value > (uint64_t)max)
        return err_input(r->err, "%s: %s is %llu; expected %lld to %lld", gguf_path(r->g), name,
                         (unsigned long long)value, (long long)min, (long long)max);
    *out = (int64_t)value;
    return 0;
}

// A finite number above 0; fallback 0: the key is required.
static int read_positive(const Reader *r, const char *key, float fallback, float *out) {
    char name[KEY_MAX];
    full_key(name, r, key);
    *out = fallback;
    if (gguf_f32(r->g, name, fallback == 0, out, r->err) < 0) return err_context(r->err, "%s", gguf_path(r->g));
    if (!(*out > 0) || !isfinite(*out))
        return err_input(r->err, "%s: %s is %g; expected a finite number above 0", gguf_path(r->g), name, (double)*out);
    return 0;
}

// --- the parts of the configuration ---

static int read_heads(ModelConfig *c, const Reader *r) {
    int64_t value_size;
    if (read_int(r, "attention.head_count", -1, 1, 1024, &c->heads) ||
        read_int(r, "attention.head_count_kv", c->heads, 1, 1024, &c->kv_heads) ||
        read_int(r, "attention.key_length", c->hidden / c->heads, 2, 1024, &c->head_size) ||
        read_int(r, "attention.value_length", c->hidden / c->heads, 2, 1024, &value_size))
        return -1;
    if (c->heads % c->kv_heads != 0)
        return err_input(r->err, "%s: %lld attention heads over %lld key/value heads; expected a multiple",
                         gguf_path(r->g), (long long)c->heads, (long long)c->kv_heads);
    if (value_size != c->head_size || c->head_size % 2 != 0)
        return err_input(r->err, "%s: heads of %lld (keys) and %lld (values); expected the same even size",
                         gguf_path(r->g), (long long)c->head_size, (long long)value_size);
    return 0;
}

static int read_rope(ModelConfig *c, const Reader *r) {
    int64_t rotated;
    if (read_positive(r, "rope.freq_base", 10000.0f, &c->rope.base) ||
        read_int(r, "rope.dimension_count", c->head_size, 1, 1024, &rotated))
        return -1;
    if (rotated != c->head_size)
        return err_input(r->err, "%s: rope.dimension_count is %lld; expected the head size %lld", gguf_path(r->g),
                         (long long)rotated, (long long)c->head_size);
    c->rope.scaling = ROPE_PLAIN;
    c->rope.rotated = rotated;
    char name[KEY_MAX];
    full_key(name, r, "rope.scaling.type");
    GgufStr type;
    int rc = gguf_string(r->g, name, false, &type, r->err);
    if (rc < 0) return err_context(r->err, "%s", gguf_path(r->g));
    if (rc > 0 || (type.len == 4 && memcmp(type.data, "none", 4) == 0)) return 0;
    if (type.len != 6 || memcmp(type.data, "linear", 6) != 0)
        return err_input(r->err, "%s: %s is \"%.*s\"; expected none or linear (others are not in this version)",
                         gguf_path(r->g), name, (int)(type.len < 64 ? type.len : 64), type.data);
    c->rope.scaling = ROPE_LINEAR;
    return read_positive(r, "rope.scaling.factor", 0, &c->rope.factor);
}

static int refuse_experts(const Reader *r) {
    int64_t experts;
    if (read_int(r, "expert_count", 0, 0, INT32_MAX, &experts)) return -1;
    if (experts > 0)
        return err_input(r->err, "%s: a mixture of %lld experts; not in this version", gguf_path(r->g),
                         (long long)experts);
    return 0;
}

static int read_vocab(ModelConfig *c, const Reader *r) {
    const GgufTensor *embedding = gguf_tensor(r->g, "token_embd.weight");
    if (!embedding)
        return err_input(r->err, "%s: no tensor token_embd.weight; expected a whole model", gguf_path(r->g));
    if (embedding->n_dims != 2 || embedding->shape[1] < 1 || embedding->shape[1] > 1 << 24)
        return err_input(r->err, "%s: token_embd.weight has %lld rows; expected a matrix of 1 to 2^24", gguf_path(r->g),
                         (long long)embedding->shape[1]);
    if (read_int(r, "vocab_size", embedding->shape[1], 1, 1 << 24, &c->vocab)) return -1;
    c->tied_head = !gguf_tensor(r->g, "output.weight");
    return 0;
}

int model_config_read_gguf(ModelConfig *c, const Gguf *g, Err *err) {
    GgufStr name;
    if (gguf_string(g, "general.architecture", true, &name, err) < 0) return err_context(err, "%s", gguf_path(g));
    const Architecture *a = architecture_by_gguf(name.data, name.len, false);
    if (!a || strcmp(a->gguf, "llama") != 0)
        return err_input(err, "%s: architecture \"%.*s\"; expected llama (others are not in this version)",
                         gguf_path(g), (int)(name.len < 64 ? name.len : 64), name.data);
    model_config_init(c, a);
    c->permuted_qk = a->gguf_permuted_qk;
    Reader r = {g, a->gguf, err};
    if (refuse_experts(&r) || read_int(&r, "block_count", -1, 1, 1024, &c->layers) ||
        read_int(&r, "embedding_length", -1, 2, 1 << 18, &c->hidden) ||
        read_int(&r, "feed_forward_length", -1, 1, 1 << 18, &c->ffn) ||
        read_int(&r, "context_length", -1, 1, 1 << 24, &c->context) ||
        read_positive(&r, "attention.layer_norm_rms_epsilon", 0, &c->norm_eps))
        return -1;
    if (read_heads(c, &r) || read_rope(c, &r) || read_vocab(c, &r)) return -1;
    c->query_scale = 1.0f / sqrtf((float)c->head_size);
    return 0;
}
