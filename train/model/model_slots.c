// model_slots: lists the tensors of a model, from the table of architectures, and checks that the files hold them (see
// model_internal.h). Files with a tensor missing, or with one more (a bias, an expert, a norm), are refused: the graph
// would compute another model.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_internal.h"
#include "quantized.h"

// ---- listing ----

Slot *slot_add(Loader *l, int n_dims, const int64_t *shape, const char *fmt, ...) {
    MEM_GROW(l->slots, l->capacity, l->n_slots + 1);
    Slot *s = &l->slots[l->n_slots++];
    *s = (Slot){.n_dims = n_dims, .elsewhere = l->elsewhere};
    for (int d = 0; d < n_dims; d++) s->shape[d] = shape[d];
    int n = snprintf(s->name, sizeof s->name, "%s", l->prefix);
    va_list args;
    va_start(args, fmt);
    vsnprintf(s->name + n, sizeof s->name - (size_t)n, fmt, args);
    va_end(args);
    return s;
}

void slot_add_part(Slot *s, Weight *w, int64_t rows, const int32_t *row_map) {
    s->parts[s->n_parts] = w;
    s->row_map[s->n_parts] = row_map;
    s->part_rows[s->n_parts++] = rows;
}

static Slot *add_matrix(Loader *l, Weight *w, int64_t rows, int64_t cols, const char *name) {
    Slot *s = slot_add(l, 2, (int64_t[]){rows, cols}, "%s.weight", name);
    s->is_matrix = true;
    s->take = model_take_matrix;
    slot_add_part(s, w, rows, NULL);
    return s;
}

static Slot *add_bias(Loader *l, Weight *w, int64_t rows, const char *name) {
    Slot *s = slot_add(l, 1, &rows, "%s.bias", name);
    s->take = model_take_bias;
    slot_add_part(s, w, rows, NULL);
    return s;
}

static void add_vector(Loader *l, const float **vector, int64_t n, bool plus_one, const char *layer, const char *name,
                       const char *end) {
    Slot *s = slot_add(l, 1, &n, "%s%s.%s", layer, name, end);
    s->vector = vector;
    s->plus_one = plus_one;
    s->take = model_take_vector;
}

static void add_norm(Loader *l, Norm *n, int64_t size, const char *layer, const char *name) {
    const Architecture *a = l->m->config.arch;
    add_vector(l, &n->weight, size, a->hf_norm_plus_one && !l->m->is_gguf, layer, name, "weight");
    if (a->norm == NORM_KIND_LAYER && !l->m->config.no_norm_bias)
        add_vector(l, &n->bias, size, false, layer, name, "bias");
}

static bool has_bias(const ModelConfig *c, Projection p) {
    if (p >= PROJ_GATE) return projection_is_mlp(p) && c->mlp_bias;
    return p <= PROJ_V ? c->qkv_bias : c->o_bias;
}

// A linear layer, whole or with several parts stacked in it, and its bias.
static void add_module(Loader *l, ModelLayer *layer, const Module *module, const char *prefix) {
    const Model *m = l->m;
    const ModelConfig *c = &m->config;
    Slot parts = {.shape = {0}};
    int64_t total = 0;
    bool bias = false;
    for (Projection p = 0; p < PROJ_COUNT; p++) {
        if (!(module->parts & PROJ_BIT(p))) continue;
        int64_t rows;
        model_projection_shape(c, p, &rows, &parts.shape[1]);
        slot_add_part(&parts, &layer->w[p], rows, p == PROJ_Q ? m->file->q_rows : p == PROJ_K ? m->file->k_rows : NULL);
        total += rows;
        bias = has_bias(c, p);
    }
    bool transposed = c->arch->hf_conv1d && !m->is_gguf;
    int64_t shape[2] = {transposed ? parts.shape[1] : total, transposed ? total : parts.shape[1]};
    for (int is_bias = 0; is_bias <= bias; is_bias++) {
        Slot *s = slot_add(l, is_bias ? 1 : 2, is_bias ? &total : shape, "%s%s.%s", prefix, module->name,
                           is_bias ? "bias" : "weight");
        memcpy(s->parts, parts.parts, sizeof s->parts);
        memcpy(s->row_map, parts.row_map, sizeof s->row_map);
        memcpy(s->part_rows, parts.part_rows, sizeof s->part_rows);
        s->n_parts = parts.n_parts;
        s->is_matrix = s->in_layer = !is_bias;
        if (!is_bias) s->quantize = l->options->quantize;
        s->transposed = transposed && !is_bias;
        s->take = is_bias ? model_take_bias : model_take_matrix;
    }
}

static bool layer_has(const ModelConfig *c, int64_t layer, const Module *module) {
    for (Projection p = 0; p < PROJ_COUNT; p++)
        if (module->parts & PROJ_BIT(p) && model_layer_has(c, layer, p)) return true;
    return false;
}

// Each column's taps: [C, 1, taps], in GGUF [C, taps].
static void add_conv(Loader *l, const float **weight, const char *layer) {
    const ModelConfig *c = &l->m->config;
    bool gguf = l->m->is_gguf;
    int64_t shape[] = {c->hidden, gguf ? c->conv_taps : 1, c->conv_taps};
    Slot *s = slot_add(l, gguf ? 2 : 3, shape, "%s%s.weight", layer, l->names->conv);
    s->vector = weight;
    s->take = model_take_vector;
}

static void list_layer(Loader *l, int index) {
    Model *m = l->m;
    const ModelConfig *c = &m->config;
    ModelLayer *layer = &m->layers[index];
    char prefix[48];
    architecture_layer_prefix(prefix, sizeof prefix, l->names, index);
    for (NormSite n = 0; n < NORM_SITES; n++) {
        bool bare = n == NORM_ATTN ? index == 0 && c->arch->bare_first : c->layer_conv[index] && n >= NORM_Q;
        if (c->arch->norms & PROJ_BIT(n) && !bare)
            add_norm(l, &layer->norms[n], model_norm_size(c, n), prefix, l->names->norms[n]);
    }
    const Module *modules = m->is_gguf ? m->gguf_modules : c->arch->hf.modules;
    for (const Module *module = modules; module->name; module++)
        if (!module_is_expert(module) && layer_has(c, index, module)) add_module(l, layer, module, prefix);
    if (c->experts && !c->layer_dense[index]) model_list_experts(l, layer, prefix);
    if (c->layer_conv[index]) add_conv(l, &layer->conv, prefix);
    if (!l->names->sinks) return;
    Slot *s = slot_add(l, 1, &c->heads, "%s%s", prefix, l->names->sinks);
    s->vector = &layer->sinks;
    s->take = model_take_vector;
}

static void list_tables(Loader *l) {
    Model *m = l->m;
    const ModelConfig *c = &m->config;
    const TensorNames *n = l->names;
    l->elsewhere = !model_is_first(m) && !(c->tied_head && model_is_last(m));
    add_matrix(l, &m->embedding, c->vocab, c->hidden, n->embedding)->quantize = l->options->quantize_head;
    l->elsewhere = !model_is_first(m);
    if (c->positions_table) {
        Slot *s = add_matrix(l, &m->position_embedding, c->positions_table, c->hidden, n->positions);
        s->first_row = c->first_position;
        s->part_rows[0] -= s->first_row;
    }
    if (c->token_types) add_matrix(l, &m->type_embedding, c->token_types, c->hidden, n->token_types);
    if (n->embed_norm) add_norm(l, &m->embed_norm, c->hidden, "", n->embed_norm);
    l->elsewhere = !model_is_last(m);
    if (n->final_norm) add_norm(l, &m->final_norm, c->hidden, "", n->final_norm);
    if (n->pooler) {
        add_matrix(l, &m->pooler, c->hidden, c->hidden, n->pooler)->optional = true;
        add_bias(l, &m->pooler, c->hidden, n->pooler)->optional = true;
    }
}

// Of a file with this weight; else NULL.
static const SourceTensor *class_weight(const Model *m, const char *name) {
    AUTO_FREE char *weight = mem_printf("%s.weight", name);
    return m->is_gguf ? NULL : weight_source_get(m->file->source, weight);
}

// The head of a ...ForSequenceClassification or ...ForTokenClassification: any number of classes. False where the file
// has none. adapter_head.c reads it.
static bool list_class_head(Loader *l) {
    Model *m = l->m;
    const char *name = architecture_class_head(m->config.arch, false), *dense = l->names->class_dense;
    const SourceTensor *t = class_weight(m, name);
    if (!t) t = class_weight(m, name = architecture_class_head(m->config.arch, true));
    if (!t) return false;
    if (dense && class_weight(m, dense)) {
        add_matrix(l, &m->class_dense, m->config.hidden, m->config.hidden, dense)->dense = true;
        add_bias(l, &m->class_dense, m->config.hidden, dense);
    }
    int64_t classes = t->n_dims == 2 && t->shape[0] > 0 ? t->shape[0] : 1;
    add_matrix(l, &m->class_head, classes, m->config.hidden, name)->dense = true;
    AUTO_FREE char *bias = mem_printf("%s.bias", name); // a decoder's has one in ...ForTokenClassification alone
    if (m->config.arch->encoder || weight_source_get(m->file->source, bias)) add_bias(l, &m->class_head, classes, name);
    return true;
}

// Where the files have it.
static void list_masked_head(Loader *l) {
    Model *m = l->m;
    const MaskedHeadNames *n = &l->names->masked;
    int64_t hidden = m->config.hidden;
    bool pools = l->options->classifier && m->config.arch->masked_pooler;
    if (!(l->options->masked_lm || pools) || !model_has_masked_head(m)) return;
    add_matrix(l, &m->masked_dense, hidden, hidden, n->dense);
    if (m->config.masked_dense_bias) add_bias(l, &m->masked_dense, hidden, n->dense);
    add_norm(l, &m->masked_norm, hidden, "", n->norm);
    if (!l->options->masked_lm) return;
    AUTO_FREE char *bias = mem_printf("%s.bias", n->decoder), *decoder = mem_printf("%s.weight", n->decoder);
    if (!m->config.tied_head || weight_source_get(m->file->source, decoder))
        add_matrix(l, &m->head, m->config.vocab, hidden, n->decoder)->quantize = l->options->quantize_head;
    if (!m->config.masked_bias) return;
    add_bias(l, &m->head, m->config.vocab, weight_source_get(m->file->source, bias) ? n->decoder : n->bias);
}

bool model_has_masked_head(const Model *m) {
    const char *dense = m->is_gguf ? NULL : m->config.arch->hf.masked.dense;
    AUTO_FREE char *name = mem_printf("%s.weight", dense ? dense : "");
    return dense && (m->lacks_weights || weight_source_get(m->file->source, name));
}

void model_list_slots(Loader *l) {
    Model *m = l->m;
    list_tables(l);
    for (int i = 0; i < (int)m->config.layers; i++) {
        l->elsewhere = i < m->first_layer || i >= m->end_layer;
        list_layer(l, i);
    }
    l->elsewhere = !model_is_last(m);
    const char *head = m->is_gguf ? l->names->head : m->hf_prefix->head, *prefix = l->prefix;
    l->prefix = "";
    bool classifies = list_class_head(l) || l->options->embedder;
    list_masked_head(l);
    if (l->names->head && !m->config.tied_head) {
        if (!*head) head = l->names->head;
        Slot *s = add_matrix(l, &m->head, m->config.vocab, m->config.hidden, head);
        s->optional = classifies;
        s->quantize = l->options->quantize_head;
        if (m->config.arch->head_bias) add_bias(l, &m->head, m->config.vocab, head)->optional = classifies;
    }
    if (m->is_gguf) { // model_config_gguf.c has read them
        static const char *const names[] = {"rope_freqs.weight", "rope_factors_short.weight",
                                            "rope_factors_long.weight"};
        for (int i = 0; i < 3; i++)
            slot_add(l, 1, &(int64_t){m->config.rope.rotated / 2}, "%s", names[i])->optional = true;
    }
    l->prefix = prefix;
}

// ---- checking ----

static void print_shape(StrBuf *out, int n_dims, const int64_t *shape) {
    for (int d = 0; d < n_dims; d++) str_printf(out, "%s%ld", d ? ", " : "[", shape[d]);
    str_puts(out, n_dims ? "]" : "[]");
}

static void wrong_shape(Loader *l, const Slot *s) {
    AUTO_STR StrBuf found = {0}, expected = {0};
    print_shape(&found, s->tensor->n_dims, s->tensor->shape);
    print_shape(&expected, s->n_dims, s->shape);
    problem_add(&l->problems, "%s has shape %s; expected %s", s->name, found.data, expected.data);
}

static bool same_shape(const Slot *s) {
    bool same = s->tensor->n_dims == s->n_dims;
    for (int d = 0; d < s->n_dims && same; d++) same = s->tensor->shape[d] == s->shape[d];
    return same;
}

// In old TensorFlow checkpoints (BERT) a norm's weight is called gamma and its bias beta.
static const SourceTensor *find_tensor(const Loader *l, const char *name) {
    const SourceTensor *t = weight_source_get(l->m->file->source, name);
    const char *end = strrchr(name, '.');
    if (t || !l->m->config.arch->encoder || !end || !strstr(name, "LayerNorm.")) return t;
    AUTO_FREE char *old =
        mem_printf("%.*s.%s", (int)(end - name), name, strcmp(end, ".weight") == 0 ? "gamma" : "beta");
    return weight_source_get(l->m->file->source, old);
}

// Of an outline of a folder without weights; BERT's pooler is optional there.
static bool is_assumed(const Loader *l, const Slot *s) {
    return l->m->lacks_weights && !l->m->is_gguf && (!s->optional || l->m->config.arch->encoder);
}

static void check_slot(Loader *l, Slot *s) {
    const SourceTensor *t = s->tensor = find_tensor(l, s->name);
    if (!t && is_assumed(l, s)) {
        DType type = s->packed ? DTYPE_MXFP4 : l->m->assumed_dtype;
        if (s->in_layer && s->n_dims == 2) t = quantized_assume(l->m->file->source, s->name, s->shape[0], s->shape[1]);
        if (!t) t = weight_source_assume(l->m->file->source, s->name, type, s->n_dims, s->shape);
        s->tensor = t;
        if (!t) problem_add(&l->problems, "%s is too large", s->name);
        if (t && !s->elsewhere) l->m->weight_bytes += t->bytes;
        return;
    }
    if (!t) {
        if (!s->optional) problem_add(&l->problems, "%s is missing", s->name);
    } else if (!same_shape(s)) {
        wrong_shape(l, s);
    } else if (t->dtype == DTYPE_COUNT || !dtype_is_weight(t->dtype) ||
               ((!s->is_matrix || s->dense) && t->dtype > DTYPE_BF16)) {
        problem_add(&l->problems, "%s has type %s; expected %s", s->name, t->dtype_name,
                    s->is_matrix && !s->dense ? "a type of weights" : "F32, F16 or BF16");
    } else if (!s->elsewhere) {
        l->m->weight_bytes += t->bytes;
    }
}

// Buffers and parts of a Hugging Face checkpoint that the graph does not need.
static bool is_ignored(const Loader *l, const char *name) {
    const Architecture *a = l->m->config.arch;
    if (l->m->is_gguf) return false;
    for (const char *const *end = a->hf_ignored; *end; end++)
        if (ends_with(name, *end)) return true;
    for (const char *const *start = a->hf_other; *start; start++)
        if (starts_with(name, *start)) return true;
    return false;
}

// AutoGPTQ writes zeros as the bias of each matrix that has none.
static bool is_zero_bias(const Loader *l, const SourceTensor *t) {
    const uint8_t *bytes = t->data;
    if (!l->m->file->source->quantized || t->is_absent || !ends_with(t->name, ".bias")) return false;
    for (size_t i = 0; i < t->bytes; i++)
        if (bytes[i]) return false;
    return true;
}

static int compare_pointers(const void *a, const void *b) {
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;
    return (x > y) - (x < y);
}

// Refuses tensors without a slot.
static void check_unused(Loader *l) {
    const WeightSource *source = l->m->file->source;
    AUTO_FREE const SourceTensor **used = mem_alloc(l->n_slots + 1, sizeof *used);
    size_t n = 0;
    for (size_t i = 0; i < l->n_slots; i++)
        if (l->slots[i].tensor) used[n++] = l->slots[i].tensor;
    qsort(used, n, sizeof *used, compare_pointers);
    for (size_t i = 0; i < source->n_tensors; i++) {
        const SourceTensor *t = &source->tensors[i];
        if (t->is_part || bsearch(&t, used, n, sizeof *used, compare_pointers)) continue;
        if (!is_ignored(l, t->name) && !is_zero_bias(l, t))
            problem_add(&l->problems, "%s is not part of the %s graph", t->name, l->m->config.arch->model_types[0]);
    }
}

int model_check_slots(Loader *l) {
    for (size_t i = 0; i < l->n_slots; i++) check_slot(l, &l->slots[i]);
    check_unused(l);
    return problem_end(&l->problems, l->m->path, "tensors do not fit its configuration", l->err);
}
