// merge_convert: the tensors of a GGUF file with the weights of a Hugging Face folder, as llama.cpp's converter names
// and shapes them: by the two sets of names in the table of architectures. The loader has checked that the folder has
// all tensors of the graph, and no other.
#include <stdio.h>
#include <string.h>

#include "merge_internal.h"
#include "model_experts.h"

static void *own(Merge *g, void *memory) {
    MEM_GROW(g->owned, g->owned_capacity, g->n_owned + 1);
    return g->owned[g->n_owned++] = memory;
}

// The new tensor has the name and shape of the old one until the caller changes them.
static MergeTensor *add(Merge *g, const SourceTensor *s, char *name) {
    MEM_GROW(g->tensors, g->capacity, g->n + 1);
    MergeTensor *t = &g->tensors[g->n++];
    *t = (MergeTensor){.source = s, .name = own(g, name), .converted = true};
    if (!s) return t;
    t->n_dims = s->n_dims;
    memcpy(t->shape, s->shape, sizeof t->shape);
    return t;
}

// NULL when the folder has none.
static MergeTensor *add_named(Merge *g, const char *from, const char *to, const char *end) {
    AUTO_FREE char *name = mem_printf("%s%s", from, end);
    const SourceTensor *s = weight_source_get(g->files, name);
    return s ? add(g, s, mem_printf("%s%s", to, end)) : NULL;
}

static void add_table(Merge *g, const char *from, const char *to) {
    if (!from) return;
    AUTO_FREE char *name = mem_printf("%s%s", g->m->hf_prefix->file, from);
    add_named(g, name, to, ".weight");
}

static void add_norm(Merge *g, const char *from, const char *to) {
    MergeTensor *t = add_named(g, from, to, ".weight");
    if (t) t->plus_one = g->m->config.arch->hf_norm_plus_one;
    if (g->m->config.arch->norm == NORM_KIND_LAYER) add_named(g, from, to, ".bias");
}

static const Module *same_parts(const Module *modules, uint32_t parts) {
    while (modules->name && modules->parts != parts) modules++;
    CHECK(modules->name, "the families have the same modules in both kinds of files");
    return modules;
}

static void add_module(Merge *g, int64_t layer, const Module *module, const char *from, const char *to) {
    const Architecture *a = g->m->config.arch;
    bool rotated = module->parts == PROJ_BIT(PROJ_Q) || module->parts == PROJ_BIT(PROJ_K);
    int64_t permuted = a->gguf_permuted_qk && rotated ? g->m->config.head_size : 0;
    const Module *gguf = same_parts(a->gguf_names.modules, module->parts);
    AUTO_FREE char *old = mem_printf("%s%s", from, module->name), *new = mem_printf("%s%s", to, gguf->name);
    MergeTensor *t = add_named(g, old, new, ".weight");
    if (!t) return; // the layer has none: an MLP in a mixture of experts, a shared expert
    t->permuted = permuted;
    t->module = merge_has_adapter(g, layer, gguf) ? gguf : NULL;
    t->layer = layer;
    t->transposed = a->hf_conv1d;
    if (t->transposed) {
        t->shape[0] = t->source->shape[1];
        t->shape[1] = t->source->shape[0];
    }
    t = add_named(g, old, new, ".bias");
    if (t) t->permuted = permuted;
}

// [C, 1, taps] as [C, taps].
static void add_conv(Merge *g, const char *from, const char *to) {
    const Architecture *a = g->m->config.arch;
    AUTO_FREE char *old = mem_printf("%s%s", from, a->hf.conv), *new = mem_printf("%s%s", to, a->gguf_names.conv);
    MergeTensor *t = add_named(g, old, new, ".weight");
    CHECK(t && t->n_dims == 3, "%s.weight is in the model and not in its files", old);
    t->n_dims = 2;
    t->shape[1] = t->shape[2];
}

// ---- experts ----

typedef struct ExpertRows { // which rows of experts a tensor has
    int64_t layer;
    Projection projection;
} ExpertRows;

// Stacks the tensors of all experts.
static int add_expert_list(Merge *g, const char *from, const char *pattern, char *to, ExpertRows rows, Err *err) {
    int64_t experts = g->m->config.experts;
    const char *number = strstr(pattern, "%d");
    const SourceTensor **list = own(g, mem_calloc((size_t)experts, sizeof *list));
    for (int64_t e = 0; e < experts; e++) {
        AUTO_FREE char *name = mem_printf("%s%.*s%ld%s", from, (int)(number - pattern), pattern, e, number + 2);
        list[e] = weight_source_get(g->files, name);
        CHECK(list[e], "%s is in the model and not in its files", name);
        if (list[e]->dtype != list[0]->dtype) {
            mem_free(to);
            return err_input(err, "%s has type %s; expected %s, as the first expert", name, list[e]->dtype_name,
                             list[0]->dtype_name);
        }
    }
    MergeTensor *t = add(g, list[0], to);
    t->experts = list;
    t->rows = t->shape[0];
    t->n_dims = 3;
    t->shape[2] = list[0]->shape[1];
    t->shape[1] = t->rows;
    t->shape[0] = experts;
    merge_mark_experts(g, t, rows.layer, PROJ_BIT(rows.projection), -1);
    return 0;
}

// Rows [part * F, (part + 1) * F) of each expert of a stacked tensor that has `parts` of them.
static void add_expert_part(Merge *g, const char *from, const char *name, char *to, ExpertRows rows) {
    int64_t parts = rows.projection == PROJ_EXPERT_DOWN ? 1 : 2, part = rows.projection == PROJ_EXPERT_UP;
    AUTO_FREE char *whole = mem_printf("%s%s", from, name);
    const SourceTensor *s = weight_source_get(g->files, whole);
    CHECK(s, "%s is in the model and not in its files", whole);
    MergeTensor *t = add(g, s, to);
    t->stride = s->shape[1];
    t->rows = t->shape[1] = t->stride / parts;
    t->first = part * t->rows;
    merge_mark_experts(g, t, rows.layer, PROJ_BIT(rows.projection), -1);
}

static int add_experts(Merge *g, int64_t layer, const char *from, const char *to, Err *err) {
    const ExpertNames *n = model_expert_names(g->files, g->m->config.arch->hf.router, from);
    AUTO_FREE char *router = mem_printf("%s%s", from, n->router);
    add_named(g, router, "", "");
    MergeTensor *t = &g->tensors[g->n - 1];
    t->name = own(g, mem_printf("%s%s.weight", to, g->m->config.arch->gguf_names.router));
    if (g->m->config.shared_ffn) {
        const TensorNames *hf = &g->m->config.arch->hf, *gguf = &g->m->config.arch->gguf_names;
        AUTO_FREE char *old = mem_printf("%s%s", from, hf->shared_gate),
                       *new = mem_printf("%s%s", to, gguf->shared_gate);
        add_named(g, old, new, ".weight");
    }
    const char *const lists[] = {n->gate, n->up, n->down}, *const stacks[] = {n->gate_ups, n->gate_ups, n->downs};
    static const char *const names[] = {"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"};
    for (int i = 0; i < 3; i++) {
        ExpertRows rows = {layer, PROJ_EXPERT_GATE + (Projection)i};
        char *name = mem_printf("%s%s.weight", to, names[i]);
        if (n->gate && add_expert_list(g, from, lists[i], name, rows, err)) return -1;
        if (!n->gate) add_expert_part(g, from, stacks[i], name, rows);
    }
    return 0;
}

// ---- RoPE ----

static void add_divisors(Merge *g, const float *values, const char *name) {
    MergeTensor *t = add(g, NULL, mem_strdup(name));
    t->values = values;
    t->n_dims = 1;
    t->shape[0] = g->m->config.rope.rotated / 2;
}

static void add_rope(Merge *g) {
    const RopeConfig *r = &g->m->config.rope;
    if (r->scaling == ROPE_LLAMA3) {
        float *divisors = own(g, mem_alloc((size_t)r->rotated / 2, sizeof *divisors));
        rope_llama3_divisors(divisors, r);
        add_divisors(g, divisors, "rope_freqs.weight");
    } else if (r->scaling == ROPE_LONGROPE) {
        add_divisors(g, r->long_divisor, "rope_factors_long.weight");
        add_divisors(g, r->short_divisor, "rope_factors_short.weight");
    }
}

// ---- the model ----

static int add_layer(Merge *g, int64_t layer, Err *err) {
    const ModelConfig *c = &g->m->config;
    const TensorNames *hf = &c->arch->hf, *gguf = &c->arch->gguf_names;
    char inner[64], to[64];
    architecture_layer_prefix(inner, sizeof inner, hf, layer);
    architecture_layer_prefix(to, sizeof to, gguf, layer);
    AUTO_FREE char *from = mem_printf("%s%s", g->m->hf_prefix->file, inner);
    for (NormSite n = 0; n < NORM_SITES; n++) {
        if (!(c->arch->norms & PROJ_BIT(n))) continue;
        AUTO_FREE char *old = mem_printf("%s%s", from, hf->norms[n]), *new = mem_printf("%s%s", to, gguf->norms[n]);
        add_norm(g, old, new);
    }
    for (const Module *module = hf->modules; module->name; module++)
        if (!module_is_expert(module)) add_module(g, layer, module, from, to);
    if (c->layer_conv[layer]) add_conv(g, from, to);
    return c->experts ? add_experts(g, layer, from, to, err) : 0;
}

// Vision towers: llama.cpp has them in files of their own.
static void warn_of_towers(const Merge *g) {
    int64_t n = 0;
    for (size_t i = 0; i < g->files->n_tensors; i++)
        for (const char *const *start = g->m->config.arch->hf_other; *start; start++)
            n += starts_with(g->files->tensors[i].name, *start);
    if (n)
        log_warn("%s: %ld tensor%s of other parts than the language model are not written (a vision tower is a file of "
                 "its own in llama.cpp)",
                 g->m->path, n, plural(n));
}

static void warn_of_window(const ModelConfig *c) {
    int64_t context = model_config_gguf_context(c);
    if (context < c->context)
        log_warn("llama.cpp computes no sliding window for %s: the context is written as %ld, the window, not %ld",
                 c->arch->model_types[0], context, c->context);
    if (strcmp(c->architecture, "phi3") == 0 && c->window && c->window < c->context)
        log_warn("llama.cpp ignores Phi-3's sliding window: texts of more than %ld tokens become other ones",
                 c->window);
}

int merge_list_converted(Merge *g, Err *err) {
    const Model *m = g->m;
    warn_of_towers(g);
    warn_of_window(&m->config);
    const TensorNames *hf = &m->config.arch->hf, *gguf = &m->config.arch->gguf_names;
    add_table(g, hf->embedding, gguf->embedding);
    add_table(g, hf->positions, gguf->positions);
    AUTO_FREE char *norm = mem_printf("%s%s", m->hf_prefix->file, hf->final_norm);
    add_norm(g, norm, gguf->final_norm);
    const char *head = *m->hf_prefix->head ? m->hf_prefix->head : hf->head;
    if (!m->config.tied_head) add_named(g, head, gguf->head, ".weight");
    if (m->config.arch->head_bias) add_named(g, head, gguf->head, ".bias");
    add_rope(g);
    for (int64_t i = 0; i < m->config.layers; i++)
        if (add_layer(g, i, err)) return err_context(err, "%s", m->path);
    return 0;
}
