// adapter: layout, initialisation and checks of the flat buffer of LoRA parameters.
#include "adapter.h"

#include <math.h>
#include <string.h>

#include "adapter_internal.h"
#include "hub_cache.h"
#include "path.h"

// Input size of a module, and the rows of some of its parts.
static void module_shape(const ModelConfig *c, uint32_t parts, int64_t *rows, int64_t *cols) {
    *rows = 0;
    for (Projection p = 0; p < PROJ_COUNT; p++) {
        int64_t part;
        if (!(parts & PROJ_BIT(p))) continue;
        model_projection_shape(c, p, &part, cols);
        *rows += part;
    }
}

// ---- layout ----

static void add_segment(Adapter *a, const Model *m, AdapterSegment s, SegmentKind kind, int64_t rows, int64_t cols) {
    char layer[48];
    s.kind = kind;
    s.rows = rows;
    s.cols = cols;
    architecture_layer_prefix(layer, sizeof layer, &m->config.arch->hf, s.layer);
    static const char *const ends[] = {"lora_A.weight", "lora_B.weight", "lora_magnitude_vector"};
    AUTO_FREE char *module = module_name(s.module, s.expert);
    s.name = mem_printf("base_model.model.%s%s%s.%s", m->hf_prefix->module, layer, module, ends[kind]);
    s.offset = a->count;
    a->segments[a->n_segments++] = s;
    a->count += s.rows * s.cols;
}

int64_t adapter_module_count(const ModelConfig *c, const Module *m) { return module_is_expert(m) ? c->experts : 1; }

static void add_module(Adapter *a, const Model *m, int64_t layer, const Module *module) {
    AdapterSegment s = {.layer = layer, .module = module};
    AdapterRank rank = {0};
    for (Projection p = 0; p < PROJ_COUNT; p++) { // all parts of a module have the same rank
        AdapterRank r = module->parts & PROJ_BIT(p) ? adapter_rank_at(&a->config, layer, p) : (AdapterRank){0};
        if (!r.rank || !model_layer_has(&m->config, layer, p)) continue;
        s.parts |= PROJ_BIT(p);
        rank = r;
    }
    if (!s.parts) return;
    s.alpha = rank.alpha;
    s.scale = adapter_rank_scale(rank, a->config.rslora);
    int64_t rows, cols;
    module_shape(&m->config, s.parts, &rows, &cols);
    for (Projection p = 0; p < PROJ_COUNT; p++)
        if (s.parts & PROJ_BIT(p)) a->index[layer * PROJ_COUNT + p] = a->n_segments;
    for (int64_t n = adapter_module_count(&m->config, module); s.expert < n; s.expert++) {
        add_segment(a, m, s, SEGMENT_A, rank.rank, cols);
        add_segment(a, m, s, SEGMENT_B, rows, rank.rank);
    }
    s.expert = 0;
    if (!a->config.dora) return;
    s.norm = a->n_norms;
    a->n_norms += rows;
    add_segment(a, m, s, SEGMENT_MAGNITUDE, rows, 1);
}

static void lay_out(Adapter *a, const Model *m) {
    const AdapterConfig *c = &a->config;
    int64_t n_layers = c->layers ? c->n_layers : m->config.layers;
    a->model = &m->config;
    a->base = m;
    a->segments = mem_calloc((size_t)(n_layers * (PROJ_COUNT * 3 + 6 * m->config.experts) + 4), sizeof *a->segments);
    a->index = mem_alloc((size_t)m->config.layers * PROJ_COUNT, sizeof *a->index);
    for (int64_t i = 0; i < m->config.layers * PROJ_COUNT; i++) a->index[i] = -1;
    for (int64_t i = 0; i < n_layers; i++)
        for (const Module *module = m->config.arch->hf.modules; module->name; module++)
            add_module(a, m, c->layers ? c->layers[i] : i, module);
    a->config.projections = 0; // those that its layers have
    for (int64_t i = 0; i < a->n_segments; i++) a->config.projections |= a->segments[i].parts;
    if (c->labels) adapter_head_lay_out(a, m);
}

int adapter_outline(Adapter **out, const Model *m, const AdapterConfig *c, Err *err) {
    if (adapter_config_check(c, m, err)) return -1;
    Adapter *a = mem_calloc(1, sizeof *a);
    adapter_config_copy(&a->config, c);
    a->backend = m->backend;
    lay_out(a, m);
    if (!a->n_segments || !a->segments[0].module) {
        adapter_free(a);
        err_input(err, "no layer of the adapter has its target modules; expected other layers or modules");
        return -1;
    }
    *out = a;
    return 0;
}

void adapter_reserve(Adapter *a, bool with_grad) {
    Backend *b = a->backend;
    size_t bytes = (size_t)a->count * sizeof(float);
    a->params = b->k->alloc(b, bytes);
    if (with_grad) a->grad = b->k->alloc(b, bytes);
    if (adapter_takes_part(&a->config)) a->start = b->k->alloc(b, bytes);
    adapter_dora_reserve(a);
    if (a->config.labels) adapter_head_point(a);
}

int64_t adapter_count_for(const Model *m, const AdapterConfig *c) {
    AUTO(adapter_free) Adapter *a = NULL;
    return adapter_outline(&a, m, c, NULL) ? 0 : a->count;
}

void adapter_free_grad(Adapter *a) {
    if (a->grad) a->backend->k->free(a->backend, a->grad, (size_t)a->count * sizeof(float));
    a->grad = NULL;
}

void adapter_free(Adapter *a) {
    if (!a) return;
    if (a->params) a->backend->k->free(a->backend, a->params, (size_t)a->count * sizeof(float));
    if (a->start) a->backend->k->free(a->backend, a->start, (size_t)a->count * sizeof(float));
    adapter_free_grad(a);
    adapter_dora_release(a);
    adapter_config_clear(&a->config);
    for (int64_t i = 0; i < a->n_segments; i++) mem_free((char *)a->segments[i].name);
    mem_free(a->segments);
    mem_free(a->index);
    label_list_clear(&a->labels);
    mem_free(a->chat_template);
    mem_free(a);
}

void adapter_set_chat_template(Adapter *a, const char *text) {
    char *copy = text ? mem_strdup(text) : NULL;
    mem_free(a->chat_template);
    a->chat_template = copy;
}

int64_t adapter_part_row(const ModelConfig *c, uint32_t parts, Projection p) {
    int64_t rows, cols;
    module_shape(c, parts & (PROJ_BIT(p) - 1), &rows, &cols);
    return rows;
}

bool adapter_pair(const Adapter *a, int64_t layer, Projection p, AdapterPair *pair) {
    int64_t i = a->index[layer * PROJ_COUNT + p], cols;
    if (i < 0) return false;
    *pair = (AdapterPair){.a = &a->segments[i], .b = &a->segments[i + 1]};
    model_projection_shape(a->model, p, &pair->rows, &cols);
    int64_t row = adapter_part_row(a->model, pair->b->parts, p);
    pair->b_offset = pair->b->offset + row * pair->b->cols;
    if (!a->config.dora) return true;
    pair->magnitude = &a->segments[i + 2];
    pair->magnitude_offset = pair->magnitude->offset + row;
    pair->norm_offset = pair->magnitude->norm + row;
    return true;
}

bool adapter_expert_pair(const Adapter *a, int64_t layer, Projection p, int64_t expert, AdapterPair *pair) {
    if (!adapter_pair(a, layer, p, pair)) return false;
    pair->a += 2 * expert;
    pair->b += 2 * expert;
    if (expert) pair->b_offset = pair->b->offset;
    return true;
}

// ---- values ----

// A ~ U(-1/sqrt(in), 1/sqrt(in)), the bounds of PEFT's kaiming_uniform_(a = sqrt 5); B stays 0.
static void init_uniform(const AdapterSegment *s, uint64_t seed, float *host) {
    RngKey key = {.seed = seed, .module = rng_module(s->name)};
    float bound = 1.0f / sqrtf((float)s->cols);
    for (int64_t r = 0; r < s->rows; r++)
        for (int64_t c = 0; c < s->cols; c += 4) {
            uint32_t word[4];
            rng_philox(key, (uint32_t)r, (uint32_t)(c / 4), word);
            for (int64_t i = 0; i < 4 && c + i < s->cols; i++)
                host[r * s->cols + c + i] = bound * rng_symmetric(word[i]);
        }
}

int adapter_new(Adapter **out, const Model *m, const AdapterConfig *c, uint64_t seed, bool with_grad, Err *err) {
    Adapter *a;
    if (adapter_outline(&a, m, c, err)) return -1;
    adapter_reserve(a, with_grad);
    size_t bytes = (size_t)a->count * sizeof(float);
    AUTO_FREE float *host = mem_calloc((size_t)a->count, sizeof *host);
    for (const AdapterSegment *s = a->segments; s < a->segments + a->n_segments; s++) {
        if (s->kind == SEGMENT_A && c->init == ADAPTER_GAUSSIAN)
            adapter_init_normal(s, seed, 1.0 / (double)s->rows, host + s->offset); // as PEFT's "gaussian"
        if (s->kind == SEGMENT_A && c->init == ADAPTER_UNIFORM) init_uniform(s, seed, host + s->offset);
    }
    if (a->start && adapter_start_new(a, seed, host, err)) {
        adapter_free(a);
        return -1;
    }
    if (c->labels) adapter_head_start(a, m, seed, host);
    a->backend->k->upload(a->backend, a->params, host, bytes);
    if (a->start) a->backend->k->copy(a->backend, a->start, a->params, bytes);
    adapter_start_magnitudes(a);
    *out = a;
    return 0;
}

static float *download(const Adapter *a, const float *x, int64_t n) {
    float *host = mem_alloc((size_t)n, sizeof *host);
    a->backend->k->download(a->backend, host, x, (size_t)n * sizeof *host);
    a->backend->k->sync(a->backend);
    return host;
}

float *adapter_download(const Adapter *a) { return download(a, a->params, a->count); }

float *adapter_download_norms(const Adapter *a) { return a->norms ? download(a, a->norms, a->n_norms) : NULL; }

const float *adapter_on_host(const Adapter *a, const float *x, float **copy) {
    *copy = a->backend->host_memory ? NULL : download(a, x, a->count);
    return *copy ? *copy : x;
}

// First segment with a value that is not finite, or NULL.
static const AdapterSegment *find_nonfinite(const Adapter *a, const float *host) {
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdapterSegment *s = &a->segments[i];
        for (int64_t j = 0; j < s->rows * s->cols; j++)
            if (!isfinite(host[s->offset + j])) return s;
    }
    return NULL;
}

int adapter_upload(Adapter *a, const float *host, const char *path, Err *err) {
    const AdapterSegment *bad = find_nonfinite(a, host);
    if (bad) return err_input(err, "%s: %s holds a value that is not finite; expected finite weights", path, bad->name);
    a->backend->k->upload(a->backend, a->params, host, (size_t)a->count * sizeof *host);
    adapter_update_norms(a);
    return 0;
}

// Adds nothing to W.
static bool is_zero(const Adapter *a, const float *host) {
    AUTO_FREE float *copy = NULL;
    if (a->start) return memcmp(adapter_on_host(a, a->start, &copy), host, (size_t)a->count * sizeof *host) == 0;
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdapterSegment *s = &a->segments[i];
        for (int64_t j = 0; s->kind == SEGMENT_B && j < s->rows * s->cols; j++)
            if (host[s->offset + j] != 0) return false;
    }
    return true;
}

// A magnitude differs from the length of its row.
static bool moves_magnitudes(const Adapter *a, const float *host) {
    AUTO_FREE float *norms = adapter_download_norms(a);
    for (const AdapterSegment *s = a->segments; s < a->segments + a->n_segments; s++)
        if (norms && s->kind == SEGMENT_MAGNITUDE &&
            memcmp(norms + s->norm, host + s->offset, (size_t)s->rows * sizeof *norms) != 0)
            return true;
    return false;
}

int adapter_check(const Adapter *a, Err *err) {
    AUTO_FREE float *copy = NULL;
    const float *host = adapter_on_host(a, a->params, &copy);
    const AdapterSegment *bad = find_nonfinite(a, host);
    if (bad) return err_runtime(err, "the adapter's %s holds a value that is not finite", bad->name);
    if (is_zero(a, host) && !moves_magnitudes(a, host))
        return err_runtime(err, a->start ? "A and B of the adapter are as they began; it has no effect"
                                         : "every B of the adapter is zero; it has no effect");
    return 0;
}

// ---- printing ----

void adapter_print_range(StrBuf *out, const Adapter *a, AdapterValue which) {
    double least = INFINITY, most = 0;
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdapterSegment *s = &a->segments[i];
        if (s->kind != SEGMENT_A) continue;
        double v = which == ADAPTER_RANK ? (double)s->rows : (double)(which == ADAPTER_ALPHA ? s->alpha : s->scale);
        least = fmin(least, v);
        most = fmax(most, v);
    }
    str_printf(out, least == most ? "%.7g" : "%.7g to %.7g", least, most);
}

bool adapter_has_patterns(const Adapter *a) {
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdapterSegment *s = &a->segments[i];
        if (s->kind == SEGMENT_A && (s->rows != a->config.rank || s->alpha != a->config.alpha)) return true;
    }
    return false;
}

// ---- whole modules and their parts ----

void adapter_b_to_module(const ModelConfig *c, const AdapterSegment *b, const float *from, float *to) {
    int64_t row = 0;
    for (Projection p = 0; p < PROJ_COUNT; p++) {
        int64_t rows, cols;
        if (!(b->module->parts & PROJ_BIT(p))) continue;
        model_projection_shape(c, p, &rows, &cols);
        size_t n = (size_t)(rows * b->cols);
        if (b->parts & PROJ_BIT(p))
            memcpy(to + row * b->cols, from + adapter_part_row(c, b->parts, p) * b->cols, n * sizeof *to);
        else
            memset(to + row * b->cols, 0, n * sizeof *to);
        row += rows;
    }
}

int64_t adapter_module_rows(const ModelConfig *c, const AdapterSegment *s) {
    int64_t rows, cols;
    if (s->kind != SEGMENT_B) return s->rows;
    module_shape(c, s->module->parts, &rows, &cols);
    return rows;
}

// Copies the segments that two layouts of the same modules share; false if rows of `from` that `to` lacks are not zero.
static bool copy_parts(const Adapter *to, float *out, const Adapter *from, const float *in) {
    for (int64_t i = 0; i < from->n_segments; i++) {
        const AdapterSegment *s = &from->segments[i], *d = &to->segments[i];
        if (s->kind != SEGMENT_B || s->parts == d->parts) {
            memcpy(out + d->offset, in + s->offset, (size_t)(s->rows * s->cols) * sizeof *out);
            continue;
        }
        for (Projection p = 0; p < PROJ_COUNT; p++) {
            AdapterPair a, b;
            if (!(s->parts & PROJ_BIT(p)) || !adapter_pair(from, s->layer, p, &a)) continue;
            bool kept = adapter_pair(to, s->layer, p, &b);
            for (int64_t k = 0; k < a.rows * s->cols; k++) {
                if (kept)
                    out[b.b_offset + k] = in[a.b_offset + k];
                else if (in[a.b_offset + k] != 0)
                    return false;
            }
        }
    }
    return true;
}

int adapter_narrow(Adapter **adapter, const Model *m, uint32_t projections) {
    AUTO(adapter_free) Adapter *to = NULL;
    Adapter *from = *adapter;
    AdapterConfig c = from->config;
    c.projections = projections;
    if (adapter_outline(&to, m, &c, NULL) || (to->config.projections & ~from->config.projections)) return 1;
    adapter_reserve(to, from->grad != NULL);
    AUTO_FREE float *in = adapter_download(from), *out = mem_calloc((size_t)to->count, sizeof *out);
    if (to->n_segments != from->n_segments || !copy_parts(to, out, from, in)) return 1; // a module keeps no part
    to->backend->k->upload(to->backend, to->params, out, (size_t)to->count * sizeof *out);
    adapter_update_norms(to);
    if (from->labels.count) adapter_name_labels(to, &from->labels);
    adapter_set_chat_template(to, from->chat_template);
    adapter_free(from);
    *adapter = mem_take(&to);
    return 0;
}

// The path of a file in a PEFT folder instead of the folder.
static int refuse_peft_file(const char *path, Err *err) {
    static const char *const names[] = {"adapter_model.safetensors", "adapter_model.bin", "adapter_config.json"};
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return err_input(err, "%s: a file of a PEFT folder; expected the folder, or a GGUF adapter", path);
    return 0;
}

int adapter_load(Adapter **a, const Model *m, const char *path, bool with_grad, Err *err) {
    AUTO_FREE char *hint = hub_hint(path, HUB_MODEL);
    if (!path_exists(path)) return err_input(err, "%s: no such file or folder%s; expected an adapter", path, hint);
    if (!path_is_dir(path) && refuse_peft_file(path, err)) return -1;
    int rc = path_is_dir(path) ? adapter_load_peft(a, m, path, with_grad, err)
                               : adapter_load_gguf(a, m, path, with_grad, err);
    if (rc || m->backend->k->status(m->backend, err) == 0) return rc;
    adapter_free(mem_take(a)); // out of device memory
    return -1;
}
