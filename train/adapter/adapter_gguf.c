// adapter_gguf: an adapter as llama.cpp reads it. "<base tensor>.lora_a" and ".lora_b" hold the same bytes as PEFT's A
// and B; only B's rows of a rotated projection stand in llama.cpp's interleaved order, like the base's (its row map).
// Keys and checks: llama.cpp, src/llama-adapter.cpp.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "adapter_files.h"
#include "gguf.h"
#include "problem_list.h"

static const int32_t *base_row_map(const Model *m, const AdapterSegment *s) {
    return s->is_b ? m->layers[s->layer].w[s->projection].segments[0].row_map : NULL;
}

static void gguf_name(const AdapterSegment *s, char *buf, size_t size) {
    snprintf(buf, size, "blk.%lld.%s.weight.lora_%c", (long long)s->layer, projection_gguf_name(s->projection),
             s->is_b ? 'b' : 'a');
}

// --- reading ---

static int check_string(const Gguf *g, const char *key, const char *want, Err *err) {
    GgufStr s;
    if (gguf_string(g, key, true, &s, err) < 0) return err_context(err, "%s", gguf_path(g));
    if (s.len == strlen(want) && memcmp(s.data, want, s.len) == 0) return 0;
    return err_input(err, "%s: %s is \"%.*s\"; expected \"%s\"", gguf_path(g), key, (int)(s.len < 64 ? s.len : 64),
                     s.data, want);
}

// Which layer and projection a tensor belongs to; false when its name is none of ours.
static bool parse_name(const char *name, int64_t layers, int64_t *layer, Projection *projection, bool *is_b) {
    char want[64];
    for (*layer = 0; *layer < layers; ++*layer) { // names are few; what matters is that only exact names pass
        snprintf(want, sizeof want, "blk.%lld.", (long long)*layer);
        if (strncmp(name, want, strlen(want)) != 0) continue;
        for (*projection = 0; *projection < PROJ_COUNT; ++*projection)
            for (int b = 0; b < 2; b++) {
                AdapterSegment s = {.layer = *layer, .projection = *projection, .is_b = b};
                gguf_name(&s, want, sizeof want);
                *is_b = b;
                if (strcmp(name, want) == 0) return true;
            }
        return false;
    }
    return false;
}

// Layers, projections and rank from the names and shapes of the tensors.
static int read_layout(AdapterConfig *c, const Gguf *g, const Model *m, Err *err) {
    bool *used = mem_calloc((size_t)m->config.layers, sizeof *used);
    ProblemList problems = {0};
    for (int64_t i = 0; i < gguf_tensor_count(g); i++) {
        const GgufTensor *t = gguf_tensor_at(g, i);
        int64_t layer;
        Projection p;
        bool is_b;
        if (!parse_name(t->name, m->config.layers, &layer, &p, &is_b)) {
            problem_add(&problems, "%s is not a LoRA tensor of the base model", t->name);
            continue;
        }
        used[layer] = true;
        c->projections |= 1u << p;
        if (!is_b && !c->rank) c->rank = t->shape[1];
    }
    c->layers = mem_alloc((size_t)m->config.layers, sizeof *c->layers);
    for (int64_t i = 0; i < m->config.layers; i++)
        if (used[i]) c->layers[c->n_layers++] = i;
    mem_free(used);
    if (c->n_layers == m->config.layers) { // all: as PEFT writes it
        mem_free(c->layers);
        c->layers = NULL;
        c->n_layers = 0;
    }
    return problem_end(&problems, gguf_path(g), "tensors are strange", err);
}

static void take_tensor(const Gguf *g, const Model *m, const AdapterSegment *s, float *host, ProblemList *problems) {
    char name[64];
    gguf_name(s, name, sizeof name);
    const GgufTensor *t = gguf_tensor(g, name);
    if (!t) {
        problem_add(problems, "%s is missing", name);
        return;
    }
    if (t->n_dims != 2 || t->shape[0] != s->cols || t->shape[1] != s->rows || !dtype_is_weight(t->dtype)) {
        problem_add(problems, "%s is %s [%lld, %lld]; expected weights [%lld, %lld]", name, dtype_info(t->dtype)->name,
                    (long long)t->shape[0], (long long)t->shape[1], (long long)s->cols, (long long)s->rows);
        return;
    }
    const int32_t *map = base_row_map(m, s);
    size_t row_bytes = t->bytes / (size_t)s->rows;
    for (int64_t r = 0; r < s->rows; r++)
        dtype_expand(t->dtype, host + s->offset + r * s->cols,
                     (const char *)t->data + (size_t)(map ? map[r] : r) * row_bytes, (size_t)s->cols);
}

static int fill(Adapter *a, const Gguf *g, const Model *m, Err *err) {
    float *host = mem_calloc((size_t)a->count, sizeof *host);
    ProblemList problems = {0};
    for (int64_t i = 0; i < a->n_segments; i++) take_tensor(g, m, &a->segments[i], host, &problems);
    int rc = problem_end(&problems, gguf_path(g), "tensors do not fit the base model", err);
    if (rc == 0) rc = adapter_upload(a, host, gguf_path(g), err);
    mem_free(host);
    return rc;
}

static int load(Adapter **a, const Gguf *g, const Model *m, bool with_grad, Err *err) {
    AdapterConfig c = {0};
    if (check_string(g, "general.type", "adapter", err) || check_string(g, "adapter.type", "lora", err) ||
        check_string(g, "general.architecture", m->config.architecture, err))
        return -1;
    if (gguf_f32(g, "adapter.lora.alpha", true, &c.alpha, err) < 0) return err_context(err, "%s", gguf_path(g));
    int rc = read_layout(&c, g, m, err);
    if (rc == 0 && (rc = adapter_alloc(a, m, &c, with_grad, err)) != 0) err_context(err, "%s", gguf_path(g));
    adapter_config_clear(&c);
    if (rc) return -1;
    if (fill(*a, g, m, err) == 0) return 0;
    adapter_free(*a);
    return -1;
}

int adapter_load_gguf(Adapter **out, const Model *m, const char *file, bool with_grad, Err *err) {
    Gguf *g;
    if (gguf_open(&g, file, err)) return -1;
    Adapter *a;
    int rc = load(&a, g, m, with_grad, err);
    gguf_close(g);
    if (rc == 0) *out = a;
    return rc;
}

// --- writing ---

// A copy of all parameters with B's rows where llama.cpp looks for them.
static float *permuted_copy(const Adapter *a, const Model *m) {
    float *host = adapter_download(a), *out = mem_alloc((size_t)a->count, sizeof *out);
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdapterSegment *s = &a->segments[i];
        const int32_t *map = base_row_map(m, s);
        for (int64_t r = 0; r < s->rows; r++)
            memcpy(out + s->offset + (map ? map[r] : r) * s->cols, host + s->offset + r * s->cols,
                   (size_t)s->cols * sizeof *out);
    }
    mem_free(host);
    return out;
}

static void add_keys(GgufWriter *w, const Adapter *a, const Model *m, const char *name) {
    const AdapterConfig *c = &a->config;
    gguf_writer_string(w, "general.type", "adapter");
    gguf_writer_string(w, "general.architecture", m->config.architecture);
    gguf_writer_string(w, "general.name", name);
    gguf_writer_u32(w, "general.file_type", 0); // all F32
    gguf_writer_u32(w, "general.quantization_version", 2);
    gguf_writer_string(w, "adapter.type", "lora");
    // llama.cpp always divides by the rank; rank-stabilised scaling is folded into alpha.
    float alpha = c->rslora ? (float)((double)c->alpha * sqrt((double)c->rank)) : c->alpha;
    gguf_writer_f32(w, "adapter.lora.alpha", alpha);
}

int adapter_save_gguf(const Adapter *a, const Model *m, const char *file, const char *name, Err *err) {
    if (adapter_check(a, err)) return -1;
    float *host = permuted_copy(a, m);
    GgufWriter *w = gguf_writer_new();
    add_keys(w, a, m, name);
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdapterSegment *s = &a->segments[i];
        char tensor[64];
        gguf_name(s, tensor, sizeof tensor);
        gguf_writer_tensor(w, tensor, DTYPE_F32, 2, (int64_t[]){s->cols, s->rows}, host + s->offset);
    }
    int rc = gguf_writer_save(w, file, err);
    gguf_writer_free(w);
    mem_free(host);
    return rc;
}
