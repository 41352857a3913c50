// adapter: layout, initialisation and checks of the flat buffer of LoRA parameters.
#include "adapter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "adapter_files.h"
#include "fileio.h"

void adapter_config_clear(AdapterConfig *c) {
    mem_free(c->layers);
    *c = (AdapterConfig){0};
}

float adapter_scale(const AdapterConfig *c) {
    double rank = (double)c->rank;
    return (float)((double)c->alpha / (c->rslora ? sqrt(rank) : rank));
}

void adapter_tensor_name(const AdapterSegment *s, char *buf, size_t size) {
    snprintf(buf, size, "base_model.model.model.layers.%lld.%s.lora_%c.weight", (long long)s->layer,
             projection_hf_module(s->projection), s->is_b ? 'B' : 'A');
}

// --- checks of what is asked for ---

static int check_layers(const AdapterConfig *c, const Model *m, Err *err) {
    for (int64_t i = 0; c->layers && i < c->n_layers; i++) {
        if (c->layers[i] < 0 || c->layers[i] >= m->config.layers)
            return err_input(err, "layer %lld for the adapter; expected 0 to %lld, the layers of %s",
                             (long long)c->layers[i], (long long)m->config.layers - 1, m->path);
        if (i > 0 && c->layers[i] <= c->layers[i - 1])
            return err_input(err, "layer %lld after layer %lld for the adapter; expected each once, in ascending order",
                             (long long)c->layers[i], (long long)c->layers[i - 1]);
    }
    return c->layers && !c->n_layers ? err_input(err, "no layers for the adapter; expected at least one") : 0;
}

static int check_rank(const AdapterConfig *c, const Model *m, Err *err) {
    for (Projection p = 0; p < PROJ_COUNT; p++) {
        int64_t rows, cols;
        model_projection_shape(&m->config, p, &rows, &cols);
        int64_t most = rows < cols ? rows : cols;
        if (c->projections >> p & 1 && (c->rank < 1 || c->rank > most))
            return err_input(err, "lora_r is %lld; expected 1 to %lld, the smaller side of %s", (long long)c->rank,
                             (long long)most, projection_name(p));
    }
    return 0;
}

static int check_config(const AdapterConfig *c, const Model *m, Err *err) {
    if (!c->projections || c->projections >> PROJ_COUNT)
        return err_input(err, "no target modules for the adapter; expected some of q_proj, k_proj, v_proj, o_proj, "
                              "gate_proj, up_proj, down_proj");
    if (!(c->alpha > 0) || !isfinite(c->alpha))
        return err_input(err, "lora_alpha is %g; expected a finite number above 0", (double)c->alpha);
    if (!(c->dropout >= 0 && c->dropout < 1))
        return err_input(err, "lora_dropout is %g; expected 0 <= dropout < 1", (double)c->dropout);
    return check_rank(c, m, err) || check_layers(c, m, err) ? -1 : 0;
}

// --- layout ---

static void add_segment(Adapter *a, AdapterSegment s) {
    s.offset = a->count;
    a->segments[a->n_segments++] = s;
    a->count += s.rows * s.cols;
}

static void lay_out(Adapter *a, const ModelConfig *mc) {
    const AdapterConfig *c = &a->config;
    int64_t n_layers = c->layers ? c->n_layers : mc->layers;
    a->segments = mem_calloc((size_t)n_layers * PROJ_COUNT * 2, sizeof *a->segments);
    a->index = mem_alloc((size_t)mc->layers * PROJ_COUNT, sizeof *a->index);
    for (int64_t i = 0; i < mc->layers * PROJ_COUNT; i++) a->index[i] = -1;
    for (int64_t i = 0; i < n_layers; i++) {
        int64_t layer = c->layers ? c->layers[i] : i;
        for (Projection p = 0; p < PROJ_COUNT; p++) {
            if (!(c->projections >> p & 1)) continue;
            int64_t rows, cols;
            model_projection_shape(mc, p, &rows, &cols);
            a->index[layer * PROJ_COUNT + p] = a->n_segments;
            add_segment(a, (AdapterSegment){layer, p, false, c->rank, cols, 0});
            add_segment(a, (AdapterSegment){layer, p, true, rows, c->rank, 0});
        }
    }
}

static void copy_config(AdapterConfig *to, const AdapterConfig *from) {
    *to = *from;
    if (!from->layers) return;
    to->layers = mem_alloc((size_t)from->n_layers, sizeof *to->layers);
    memcpy(to->layers, from->layers, (size_t)from->n_layers * sizeof *to->layers);
}

int adapter_alloc(Adapter **out, const Model *m, const AdapterConfig *c, bool with_grad, Err *err) {
    if (check_config(c, m, err)) return -1;
    Adapter *a = mem_calloc(1, sizeof *a);
    copy_config(&a->config, c);
    a->backend = m->backend;
    lay_out(a, &m->config);
    size_t bytes = (size_t)a->count * sizeof(float);
    a->params = m->backend->k->alloc(m->backend, bytes);
    if (with_grad) a->grad = m->backend->k->alloc(m->backend, bytes);
    *out = a;
    return 0;
}

void adapter_free(Adapter *a) {
    if (!a) return;
    size_t bytes = (size_t)a->count * sizeof(float);
    a->backend->k->free(a->backend, a->params, bytes);
    if (a->grad) a->backend->k->free(a->backend, a->grad, bytes);
    adapter_config_clear(&a->config);
    mem_free(a->segments);
    mem_free(a->index);
    mem_free(a);
}

const AdapterSegment *adapter_segment(const Adapter *a, int64_t layer, Projection p) {
    int64_t i = a->index[layer * PROJ_COUNT + p];
    return i < 0 ? NULL : &a->segments[i];
}

// --- values ---

// A ~ U(-1/sqrt(in), 1/sqrt(in)), the bounds of PEFT's kaiming_uniform with a = sqrt 5; B stays 0.
static void init_a(const AdapterSegment *s, uint64_t seed, float *host) {
    char name[128];
    adapter_tensor_name(s, name, sizeof name);
    RngKey key = {.seed = seed, .module = rng_module(name)};
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
    if (adapter_alloc(&a, m, c, with_grad, err)) return -1;
    size_t bytes = (size_t)a->count * sizeof(float);
    float *host = mem_calloc((size_t)a->count, sizeof *host);
    for (int64_t i = 0; i < a->n_segments; i++)
        if (!a->segments[i].is_b) init_a(&a->segments[i], seed, host + a->segments[i].offset);
    a->backend->k->upload(a->backend, a->params, host, bytes);
    mem_free(host);
    *out = a;
    return 0;
}

float *adapter_download(const Adapter *a) {
    float *host = mem_alloc((size_t)a->count, sizeof *host);
    a->backend->k->download(a->backend, host, a->params, (size_t)a->count * sizeof *host);
    a->backend->k->sync(a->backend);
    return host;
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
    if (bad) {
        char name[128];
        adapter_tensor_name(bad, name, sizeof name);
        return err_input(err, "%s: %s holds a value that is not finite; expected finite weights", path, name);
    }
    a->backend->k->upload(a->backend, a->params, host, (size_t)a->count * sizeof *host);
    return 0;
}

static bool all_b_zero(const Adapter *a, const float *host) {
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdapterSegment *s = &a->segments[i];
        for (int64_t j = 0; s->is_b && j < s->rows * s->cols; j++)
            if (host[s->offset + j] != 0) return false;
    }
    return true;
}

int adapter_check(const Adapter *a, Err *err) {
    float *host = adapter_download(a);
    const AdapterSegment *bad = find_nonfinite(a, host);
    bool zero = all_b_zero(a, host);
    mem_free(host);
    if (bad) {
        char name[128];
        adapter_tensor_name(bad, name, sizeof name);
        return err_runtime(err, "the adapter's %s holds a value that is not finite", name);
    }
    if (zero) return err_runtime(err, "every B of the adapter is zero, it would change nothing");
    return 0;
}

int adapter_load(Adapter **a, const Model *m, const char *path, bool with_grad, Err *err) {
    return path_is_dir(path) ? adapter_load_peft(a, m, path, with_grad, err)
                             : adapter_load_gguf(a, m, path, with_grad, err);
}
