// model_experts: the slots of a layer's router and experts (see model_internal.h). Files have three layouts of experts:
//   one by one       experts.7.w1, .w3, .w2 (Mixtral) or experts.7.gate_proj, .up_proj, .down_proj (Qwen3-MoE)
//   stacked          ffn_gate_exps [E, F, C], ffn_up_exps, ffn_down_exps [E, C, F] (GGUF)
//   stacked, fused   gate_up_proj [E, 2F, C], down_proj [E, C, F] (transformers 5), ffn_gate_up_exps (GGUF)
// In a fused matrix of an expert the gate's rows come first. In each layout an expert is three Weights over rows of the
// map.
#include <stdio.h>
#include <string.h>

#include "model_experts.h"
#include "model_internal.h"
#include "quantize.h"

static const ExpertNames hf_layouts[] = {
    {.router = "block_sparse_moe.gate.weight",
     .gate = "block_sparse_moe.experts.%d.w1.weight",
     .up = "block_sparse_moe.experts.%d.w3.weight",
     .down = "block_sparse_moe.experts.%d.w2.weight"},
    {.router = "mlp.gate.weight",
     .gate = "mlp.experts.%d.gate_proj.weight",
     .up = "mlp.experts.%d.up_proj.weight",
     .down = "mlp.experts.%d.down_proj.weight"},
    {.router = "mlp.gate.weight", .gate_ups = "mlp.experts.gate_up_proj", .downs = "mlp.experts.down_proj"},
};
static const ExpertNames gguf_layouts[] = {
    {.router = "ffn_gate_inp.weight",
     .gates = "ffn_gate_exps.weight",
     .ups = "ffn_up_exps.weight",
     .downs = "ffn_down_exps.weight"},
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

static int take_stacked(Loader *l, const Slot *s) {
    WeightSegment stored;
    if (model_stored(&stored, l, s)) return -1;
    int64_t experts = s->shape[0], cols = s->shape[2], row = 0;
    bool quantize = s->quantize != QUANTIZE_NONE; // it refuses non-finite values itself
    Weight whole = weight_rows(s->tensor, &stored, 0, experts * s->shape[1], cols, NULL);
    if (!quantize && model_check_finite(l, &whole, s->name)) return -1;
    for (int64_t e = 0; e < experts; e++)
        for (int i = 0; i < s->n_parts; i++) {
            s->parts[i][e] = weight_rows(s->tensor, &stored, row, s->part_rows[i], cols, NULL);
            if (quantize && model_quantize(l, &s->parts[i][e], s->quantize)) return -1;
            row += s->part_rows[i];
        }
    if (quantize) model_drop_stored(l, s, stored.data);
    return 0;
}

// parts matrices of `rows` rows for each expert, their Weights E apart from w on.
static void add_stacked(Loader *l, Weight *w, int parts, int64_t rows, int64_t cols, const char *prefix,
                        const char *name) {
    int64_t experts = l->m->config.experts;
    Slot *s = slot_add(l, 3, (int64_t[]){experts, parts * rows, cols}, "%s%s", prefix, name);
    for (int i = 0; i < parts; i++) slot_add_part(s, w + i * experts, rows, NULL);
    s->is_matrix = s->in_layer = true;
    s->quantize = l->options->quantize;
    s->take = take_stacked;
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
        add_stacked(l, gates, 2, f, hidden, prefix, names->gate_ups);
    }
    add_stacked(l, downs, 1, hidden, f, prefix, names->downs);
}
