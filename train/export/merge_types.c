// merge_types: the type of each tensor of a merged GGUF file: the mixtures of llama.cpp's llama-quantize without an
// importance matrix (its function llama_tensor_get_type), so that "q4_k_m" means what it means there.
#include <stdlib.h>
#include <string.h>

#include "merge_internal.h"

// Matrices that llama.cpp always keeps as float32.
static bool stays(const char *name) {
    static const char *const parts[] = {"position_embd.", "token_types.", "ffn_gate_inp.",
                                        "rope_factors_",  "_norm.",       "shortconv.conv."};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(name, parts[i])) return true;
    return false;
}

static bool is_matrix(const MergeTensor *t) {
    return t->n_dims >= 2 && t->shape[t->n_dims - 2] > 1 && dtype_is_weight(t->source->dtype) && !stays(t->name);
}

// The first and the last eighth of the layers, and every third one between.
static bool is_sensitive(int64_t layer, int64_t layers) {
    return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

// Values are counted over the layers that have attention.
static bool is_sensitive_value(const ModelConfig *c, int64_t layer) {
    int64_t at = 0, all = 0;
    for (int64_t i = 0; i < c->layers; i++) {
        all += !c->layer_conv[i];
        at += !c->layer_conv[i] && i < layer;
    }
    return is_sensitive(at, all);
}

// Llama 2 70B and the like: few values for many queries.
static bool is_70b(const ModelConfig *c) { return c->layers == 80 && c->hidden == 8192 && c->heads != c->kv_heads; }

static DType larger(DType t) { return t == DTYPE_Q4_K ? DTYPE_Q5_K : DTYPE_Q6_K; }

// What the mixture gives to a tensor of a layer; main: DTYPE_Q4_K or DTYPE_Q5_K, whose mixtures are Q4_K_M and Q5_K_M.
static DType mixed_type(const ModelConfig *c, const char *name, int64_t layer, DType main) {
    bool value = strstr(name, ".attn_v.weight"), down = strstr(name, ".ffn_down");
    if (strstr(name, ".attn_qkv.weight")) return larger(main);
    if (strstr(name, ".attn_output.weight")) return c->experts == 8 && main == DTYPE_Q4_K ? DTYPE_Q5_K : main;
    if (value ? is_sensitive_value(c, layer) : down && is_sensitive(layer, c->layers)) return DTYPE_Q6_K;
    return value && is_70b(c) && main == DTYPE_Q4_K ? DTYPE_Q5_K : main;
}

// Where rows are not whole blocks.
static DType that_fits(DType t, int64_t cols) {
    static const DType smaller[DTYPE_COUNT] = {
        [DTYPE_Q4_K] = DTYPE_Q5_0, [DTYPE_Q5_K] = DTYPE_Q5_1, [DTYPE_Q6_K] = DTYPE_Q8_0};
    if (cols % dtype_info(t)->block && smaller[t]) t = smaller[t];
    return cols % dtype_info(t)->block ? DTYPE_F16 : t;
}

static DType quantised_type(const Merge *g, const MergeTensor *t) {
    const ModelConfig *c = &g->m->config;
    int64_t cols = t->shape[t->n_dims - 1];
    char *end = NULL;
    long layer = strncmp(t->name, "blk.", 4) == 0 ? strtol(t->name + 4, &end, 10) : -1;
    bool is_head = strcmp(t->name, c->tied_head ? "token_embd.weight" : "output.weight") == 0;
    if (is_head && (g->dtype == DTYPE_Q8_0 || cols % dtype_info(g->dtype)->block)) return that_fits(DTYPE_Q8_0, cols);
    if (is_head) return that_fits(DTYPE_Q6_K, cols);
    if (!end || *end != '.' || layer < 0) return that_fits(g->dtype, cols);
    bool is_key = strstr(t->name, ".attn_k.weight") || strstr(t->name, ".attn_v.weight");
    if (c->experts == 8 && is_key) return that_fits(DTYPE_Q8_0, cols);
    if (g->dtype == DTYPE_Q4_K || g->dtype == DTYPE_Q5_K)
        return that_fits(mixed_type(c, t->name, layer, g->dtype), cols);
    return that_fits(g->dtype, cols);
}

// Vectors of a GGUF file keep their type; those of a folder become float32, as in llama.cpp's converter.
static DType type_of(const Merge *g, const MergeTensor *t) {
    if (t->values || !is_matrix(t)) return t->converted ? DTYPE_F32 : t->source->dtype;
    if (g->dtype == DTYPE_COUNT) return t->source->dtype > DTYPE_BF16 ? DTYPE_F16 : t->source->dtype;
    return g->dtype > DTYPE_BF16 ? quantised_type(g, t) : g->dtype;
}

// Numbers of general.file_type.
static uint32_t file_type(DType t) {
    static const uint32_t numbers[DTYPE_COUNT] = {
        [DTYPE_F16] = 1,  [DTYPE_BF16] = 32, [DTYPE_Q8_0] = 7,  [DTYPE_Q4_0] = 2,  [DTYPE_Q4_1] = 3,
        [DTYPE_Q5_0] = 8, [DTYPE_Q5_1] = 9,  [DTYPE_Q4_K] = 15, [DTYPE_Q5_K] = 17, [DTYPE_Q6_K] = 18};
    return numbers[t];
}

uint32_t merge_choose_types(Merge *g) {
    size_t bytes[DTYPE_COUNT] = {0};
    DType main = DTYPE_F32; // the one with most bytes
    for (size_t i = 0; i < g->n; i++) {
        MergeTensor *t = &g->tensors[i];
        t->dtype = type_of(g, t);
        if (t->values || !is_matrix(t)) continue;
        bytes[t->dtype] += merge_bytes(t);
        if (bytes[t->dtype] > bytes[main]) main = t->dtype;
    }
    return file_type(g->dtype == DTYPE_COUNT ? main : g->dtype);
}
