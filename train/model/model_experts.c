// model_experts: the slots of a layer's router and experts (see model_internal.h). Files have three layouts of experts:
//   one by one       experts.7.w1, .w3, .w2 (Mixtral) or experts.7.gate_proj, .up_proj, .down_proj (Qwen3-MoE)
//   stacked          ffn_gate_exps [E, F, C], ffn_up_exps, ffn_down_exps [E, C, F] (GGUF)
//   stacked, fused   gate_up_proj [E, 2F, C], down_proj [E, C, F] (transformers 5), ffn_gate_up_exps (GGUF)
// In a fused matrix of an expert the gate's rows come first. In each layout an expert is three Weights over rows of the
// map. gpt-oss has another fused layout, of which the model has a copy in that order:
//   interleaved      gate_up_proj [E, C, 2F], gate and up by turns, down_proj [E, F, C]; in MXFP4 [E, 2F, C], [E, C, F]
//                    (quantized_mxfp4.c)
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model_experts.h"
#include "model_internal.h"
#include "quantize.h"
#include "quantized.h"

static const ExpertNames hf_layouts[] = {
    {.router = "block_sparse_moe.gate.weight",
     .gate = "block_sparse_moe.experts.%d.w1.weight",
     .up = "block_sparse_moe.experts.%d.w3.weight",
     .down = "block_sparse_moe.experts.%d.w2.weight"},
    {.router = "mlp.gate.weight",
     .gate = "mlp.experts.%d.gate_proj.weight",
     .up = "mlp.experts.%d.up_proj.weight",
     .down = "mlp.experts.%d.down_proj.weight"},
    {.router = "mlp.router.weight",
     .gate_ups = "mlp.experts.gate_up_proj",
     .downs = "mlp.experts.down_proj",
     .router_bias = "mlp.router.bias",
     .gate_up_biases = "mlp.experts.gate_up_proj_bias",
     .down_biases = "mlp.experts.down_proj_bias",
     .interleaved = true},
    {.router = "mlp.gate.weight", .gate_ups = "mlp.experts.gate_up_proj", .downs = "mlp.experts.down_proj"},
};
static const ExpertNames gguf_layouts[] = {
    {.router = "ffn_gate_inp.weight",
     .gates = "ffn_gate_exps.weight",
     .ups = "ffn_up_exps.weight",
     .downs = "ffn_down_exps.weight",
     .router_bias = "ffn_gate_inp.bias",
     .gate_biases = "ffn_gate_exps.bias",
     .up_biases = "ffn_up_exps.bias",
     .down_biases = "ffn_down_exps.bias"},
    {.router = "ffn_gate_inp.weight", .gate_ups = "ffn_gate_up_exps.weight", .downs = "ffn_down_exps.weight"},
};

// ---- one matrix for each expert ----

static void add_experts(Loader *l, Weight *w, int64_t rows, int64_t cols, const char *prefix, const char *pattern) {
    const char *number = strstr(pattern, "%d");
    for (int e = 0; e < (int)l->m->config.experts; e++) {
        Slot *s = slot_add(l, 2, (int64_t[]){rows, cols}, "%s%.*s%d%s", prefix, (int)(number - pattern), pattern, e,
                           number + 2);
        slot_add_part(s, w + e, rows, NULL);
        s->is_matrix = s->in_layer = true;
        s->quantize = l->options->quantize;
        s->take = model_take_matrix;
    }
}

// ---- all experts in one tensor: parts[i] is the first of E Weights ----

// A copy of the experts' matrices [in, out], whose parts take turns, as rows of one part after the other.
static int ordered_copy(Loader *l, const Slot *s, const void **data) {
    const SourceTensor *t = s->tensor;
    if (t->dtype > DTYPE_BF16)
        return err_input(l->err, "%s: %s has type %s; expected F32, F16 or BF16", l->m->path, s->name, t->dtype_name);
    int64_t ins = s->shape[1], outs = s->shape[2], rows = outs / s->n_parts;
    size_t size = t->dtype == DTYPE_F32 ? 4 : 2;
    char *copy = model_own_weights(l->m, t->bytes);
    const char *stored = *data;
#pragma omp parallel for
    for (int64_t i = 0; i < s->shape[0] * outs; i++) { // row i: row % rows of its part
        int64_t e = i / outs, row = i % outs, from = row % rows * s->n_parts + row / rows;
        for (int64_t k = 0; k < ins; k++)
            memcpy(copy + (size_t)(i * ins + k) * size, stored + (size_t)((e * ins + k) * outs + from) * size, size);
    }
    *data = copy;
    return 0;
}

static int take_stacked(Loader *l, const Slot *s) {
    WeightSegment stored;
    if (model_stored(&stored, l, s)) return -1;
    if (s->transposed && !l->options->outline && ordered_copy(l, s, &stored.data)) return -1;
    int64_t experts = s->shape[0], cols = s->shape[s->transposed ? 1 : 2], row = 0;
    bool quantize = s->quantize != QUANTIZE_NONE; // it refuses non-finite values itself
    Weight whole = weight_rows(s->tensor, &stored, 0, experts * s->shape[s->transposed ? 2 : 1], cols, NULL);
    if (!quantize && model_check_finite(l, &whole, s->name)) return -1;
    for (int64_t e = 0; e < experts; e++)
        for (int i = 0; i < s->n_parts; i++) {
            const float *bias = s->parts[i][e].bias;
            s->parts[i][e] = weight_rows(s->tensor, &stored, row, s->part_rows[i], cols, NULL);
            s->parts[i][e].bias = bias;
            if (quantize && model_quantize(l, &s->parts[i][e], s->quantize)) return -1;
            row += s->part_rows[i];
        }
    if (quantize) model_drop_stored(l, s, stored.data);
    return 0;
}

// parts matrices of `rows` rows for each expert, their Weights E apart from w on.
static Slot *add_stacked(Loader *l, Weight *w, int parts, int64_t rows, int64_t cols, const char *prefix,
                         const char *name) {
    int64_t experts = l->m->config.experts;
    Slot *s = slot_add(l, 3, (int64_t[]){experts, parts * rows, cols}, "%s%s", prefix, name);
    for (int i = 0; i < parts; i++) slot_add_part(s, w + i * experts, rows, NULL);
    s->is_matrix = s->in_layer = true;
    s->quantize = l->options->quantize;
    s->take = take_stacked;
    return s;
}

// Of [in, out] in the file, unless it is packed.
static void set_order(Loader *l, Slot *s) {
    const WeightSource *source = l->m->file->source;
    const SourceTensor *t = weight_source_get(source, s->name);
    s->packed = t ? t->quantized != NULL : source->quantized && source->quantized->type == DTYPE_MXFP4;
    if (s->packed) return;
    int64_t rows = s->shape[1];
    s->shape[1] = s->shape[2];
    s->shape[2] = rows;
    s->transposed = true;
}

// ---- biases of all experts: [E, rows of each part], parts by turns; of parts, or a vector of the layer ----

static int take_biases(Loader *l, const Slot *s) {
    int64_t experts = s->shape[0], parts = s->n_parts ? s->n_parts : 1, rows = s->shape[1] / parts;
    size_t n = (size_t)(experts * s->shape[1]);
    float *all = model_own_weights(l->m, n * sizeof *all);
    if (s->vector) *s->vector = all;
    for (int64_t i = 0; i < s->n_parts * experts; i++) s->parts[i % parts][i / parts].bias = all + i * rows;
    if (l->options->outline) return 0;
    AUTO_FREE float *stored = mem_alloc(n, sizeof *stored);
    dtype_expand(s->tensor->dtype, stored, weight_source_aligned(l->m->file->source, s->tensor), n);
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(stored[i])) return model_refuse_values(l, s->name);
        int64_t e = (int64_t)i / s->shape[1], at = (int64_t)i % s->shape[1];
        all[(e * parts + at % parts) * rows + at / parts] = stored[i];
    }
    return 0;
}

static Slot *add_biases(Loader *l, Weight *w, int parts, int64_t rows, const char *prefix, const char *name) {
    int64_t experts = l->m->config.experts;
    Slot *s = slot_add(l, 2, (int64_t[]){experts, max64(parts, 1) * rows}, "%s%s", prefix, name);
    for (int i = 0; i < parts; i++) slot_add_part(s, w + i * experts, rows, NULL);
    s->take = take_biases;
    return s;
}

static void list_biases(Loader *l, ModelLayer *layer, const ExpertNames *names, const char *prefix) {
    const ModelConfig *c = &l->m->config;
    int64_t f = c->expert_ffn;
    Slot *router = slot_add(l, 1, &c->experts, "%s%s", prefix, names->router_bias);
    slot_add_part(router, &layer->router, c->experts, NULL);
    router->take = model_take_bias;
    if (names->gate_up_biases) {
        add_biases(l, layer->experts, 2, f, prefix, names->gate_up_biases);
    } else {
        add_biases(l, layer->experts, 1, f, prefix, names->gate_biases);
        add_biases(l, layer->experts + c->experts, 1, f, prefix, names->up_biases);
    }
    add_biases(l, NULL, 0, c->hidden, prefix, names->down_biases)->vector = &layer->down_bias;
}

// ---- a layer ----

static bool has_tensor(const WeightSource *source, const char *prefix, const char *name) {
    const char *number = strstr(name, "%d");
    AUTO_FREE char *full = number ? mem_printf("%s%.*s0%s", prefix, (int)(number - name), name, number + 2)
                                  : mem_printf("%s%s", prefix, name);
    return weight_source_get(source, full) != NULL;
}

const ExpertNames *model_expert_names(const WeightSource *source, const char *router, const char *prefix) {
    bool gguf = source->gguf;
    const ExpertNames *layouts = gguf ? gguf_layouts : hf_layouts, *usual = NULL;
    int n = gguf ? sizeof gguf_layouts / sizeof *gguf_layouts : sizeof hf_layouts / sizeof *hf_layouts;
    for (int i = 0; i < n; i++) {
        const ExpertNames *names = &layouts[i];
        if (names->interleaved && !starts_with(names->router, router)) continue;
        if (has_tensor(source, prefix, names->gate ? names->gate : names->gates ? names->gates : names->gate_ups))
            return names;
        if (!usual && starts_with(names->router, router)) usual = names;
    }
    return usual;
}

// The gate is a vector in older GGUF files.
static int take_gate(Loader *l, const Slot *s) {
    WeightSegment stored;
    if (model_stored(&stored, l, s)) return -1;
    Weight w = weight_rows(s->tensor, &stored, 0, 1, s->shape[s->n_dims - 1], NULL);
    if (model_check_finite(l, &w, s->name)) return -1;
    *s->parts[0] = w;
    return 0;
}

static void list_shared_gate(Loader *l, ModelLayer *layer, const char *prefix) {
    const TensorNames *n = l->names;
    AUTO_FREE char *gate = mem_printf("%s%s%s.weight", l->prefix, prefix, n->shared_gate);
    const SourceTensor *t = weight_source_get(l->m->file->source, gate);
    bool vector = l->m->is_gguf && t && t->n_dims == 1;
    const int64_t shape[] = {1, l->m->config.hidden};
    Slot *s = slot_add(l, vector ? 1 : 2, shape + vector, "%s%s.weight", prefix, n->shared_gate);
    slot_add_part(s, &layer->shared_gate, 1, NULL);
    s->is_matrix = true;
    s->take = take_gate;
}

void model_list_experts(Loader *l, ModelLayer *layer, const char *prefix) {
    const ModelConfig *c = &l->m->config;
    AUTO_FREE char *whole_prefix = mem_printf("%s%s", l->prefix, prefix);
    const ExpertNames *names = model_expert_names(l->m->file->source, l->names->router, whole_prefix);
    l->m->fused_experts |= l->m->is_gguf && names->gate_ups;
    int64_t experts = c->experts, f = c->expert_ffn, hidden = c->hidden;
    Weight *gates = model_own(l->m, (size_t)(3 * experts) * sizeof *gates), *ups = gates + experts;
    Weight *downs = ups + experts;
    memset(gates, 0, (size_t)(3 * experts) * sizeof *gates);
    layer->experts = gates;
    Slot *s = slot_add(l, 2, (int64_t[]){experts, hidden}, "%s%s", prefix, names->router);
    slot_add_part(s, &layer->router, experts, NULL);
    s->is_matrix = true;
    s->take = model_take_matrix;
    if (c->shared_ffn) list_shared_gate(l, layer, prefix);
    if (c->arch->expert_biases) list_biases(l, layer, names, prefix);
    if (names->gate) {
        add_experts(l, gates, f, hidden, prefix, names->gate);
        add_experts(l, ups, f, hidden, prefix, names->up);
        add_experts(l, downs, hidden, f, prefix, names->down);
        return;
    }
    if (names->gates) {
        add_stacked(l, gates, 1, f, hidden, prefix, names->gates);
        add_stacked(l, ups, 1, f, hidden, prefix, names->ups);
    } else {
        Slot *gate_up = add_stacked(l, gates, 2, f, hidden, prefix, names->gate_ups);
        if (names->interleaved) set_order(l, gate_up);
    }
    Slot *down = add_stacked(l, downs, 1, hidden, f, prefix, names->downs);
    if (names->interleaved) set_order(l, down);
}
